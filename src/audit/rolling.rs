//! Files that follow one another: one is written, and the next is begun when it is time.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use crate::audit::log_files;
use crate::audit::segment::{AppendError, Segment};

/// The current one of a row of files.
pub(super) struct Rolling {
    pub(super) folder: PathBuf,
    pub(super) current: Option<Segment>,
    pub(super) opened: Instant,
    /// Whether the last attempt to begin a new file failed.
    is_stuck: bool,
}

impl Rolling {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            current: None,
            opened: Instant::now(),
            is_stuck: false,
        }
    }

    /// Begins the file of this index. One that has its name and is not written any more is set aside.
    pub(super) fn begin(&mut self, first: u64) -> io::Result<&mut Segment> {
        log_files::create_folder(&self.folder)?;
        let created = match Segment::create(&self.folder, first) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let path = self.folder.join(log_files::name(first));
                let aside = self
                    .folder
                    .join(format!("{}.damaged", log_files::name(first)));
                fs::rename(path, aside)?;
                Segment::create(&self.folder, first)?
            }
            other => other?,
        };
        self.opened = Instant::now();
        Ok(self.current.insert(created))
    }

    /// Begins the next file. If that fails, the current one goes on.
    pub(super) fn roll(&mut self, first: u64) {
        match Segment::create(&self.folder, first) {
            Ok(next) => {
                self.current = Some(next);
                self.opened = Instant::now();
                self.is_stuck = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_stuck, true) {
                    tracing::error!(%error, "no new file of the decision log can be begun; the last one goes on");
                }
            }
        }
    }
}

/// Appends frames, and makes them survive a loss of power if they have to.
pub(super) fn append_and_sync(
    file: &mut Segment,
    frames: &[u8],
    is_synced: bool,
) -> Result<(), AppendError> {
    file.append(frames)?;
    if is_synced { file.sync() } else { Ok(()) }
}

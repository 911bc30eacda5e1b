//! Files that follow one another: one is written, and the next is begun when it is time.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use crate::audit::frame::Contents;
use crate::audit::log_files;
use crate::audit::segment::{AppendError, Segment};
use crate::audit::steady_clock::SteadyClock;

/// The current one of a row of files.
pub(super) struct Rolling {
    pub(super) folder: PathBuf,
    contents: Contents,
    pub(super) current: Option<Segment>,
    pub(super) opened: Instant,
    clock: SteadyClock,
    /// Whether the last attempt to begin a new file failed.
    is_stuck: bool,
}

impl Rolling {
    pub(super) fn new(folder: PathBuf, contents: Contents) -> Self {
        Self::with_clock(folder, contents, SteadyClock::start())
    }

    fn with_clock(folder: PathBuf, contents: Contents, clock: SteadyClock) -> Self {
        Self {
            clock,
            contents,
            folder,
            current: None,
            opened: Instant::now(),
            is_stuck: false,
        }
    }

    /// Begins the file of this index. One that has its name and is not written any more is set aside.
    pub(super) fn begin(&mut self, first: u64) -> io::Result<&mut Segment> {
        log_files::create_folder(&self.folder)?;
        let created = match Segment::create(&self.folder, self.contents, first) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let path = self.folder.join(log_files::name(first));
                let aside = self
                    .folder
                    .join(format!("{}.damaged", log_files::name(first)));
                fs::rename(path, aside)?;
                Segment::create(&self.folder, self.contents, first)?
            }
            other => other?,
        };
        self.opened = Instant::now();
        Ok(self.current.insert(created))
    }

    /// Begins the next file. If that fails, the current one goes on.
    pub(super) fn roll(&mut self, first: u64) {
        match Segment::create(&self.folder, self.contents, first) {
            Ok(next) => {
                // A wall clock that was set back would make it look old, and it would be removed too soon.
                if let Some(Err(error)) = self.current.as_ref().map(|it| it.close(self.clock.now()))
                {
                    tracing::warn!(%error, "a closed file of the decision log ages by the wall clock");
                }
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_closed_file_ages_by_the_clock_that_does_not_jump() {
        let folder = tempfile::tempdir().unwrap();
        let hour = Duration::from_secs(3_600);
        let long_ago = SystemTime::now() - 1_000 * hour;
        let clock = SteadyClock::start_at(long_ago);
        let mut rolling = Rolling::with_clock(folder.path().to_owned(), Contents::Records, clock);
        let path = rolling.begin(0).unwrap().path().to_owned();
        rolling.roll(10);
        let modified = path.metadata().unwrap().modified().unwrap();
        let off = modified.duration_since(long_ago - hour).unwrap();
        assert!(
            off >= hour - Duration::from_secs(1) && off < 2 * hour,
            "{off:?}"
        );
    }
}

//! Reads the capsules of a log in the order of its records, each file once.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::audit::capsule::{CapsuleError, SealedCapsules};
use crate::audit::frame::{self, Contents, FrameReader, HEADER, MAX_CAPSULES, Step};
use crate::audit::log_files::{self, CAPSULES, LogFile};

/// The capsules of a log, still encrypted.
pub struct CapsuleReader {
    files: VecDeque<LogFile>,
    current: Option<CapsuleFile>,
    /// Those of the record that was asked for last, and of records after it.
    held: Vec<Arc<SealedCapsules>>,
    /// Those of later records alone.
    ahead: Option<Arc<SealedCapsules>>,
}

struct CapsuleFile {
    path: PathBuf,
    contents: Contents,
    frames: FrameReader<Box<dyn Read + Send>>,
}

impl CapsuleReader {
    /// The capsules of records from an index on.
    ///
    /// # Errors
    ///
    /// [`CapsuleError::Io`] if the folder cannot be read; one that is not there is empty.
    pub fn open(directory: &Path, from: u64) -> Result<Self, CapsuleError> {
        let folder = directory.join(CAPSULES);
        let files = log_files::list(&folder).map_err(|error| at(&folder, error))?;
        // The last file that begins before, and all after it.
        let start = files.partition_point(|file| file.first <= from);
        let files = files.into_iter().skip(start.saturating_sub(1)).collect();
        Ok(Self {
            files,
            current: None,
            held: Vec::new(),
            ahead: None,
        })
    }

    /// Where the capsule of one record may be: in more than one place if a write was repeated. Records are asked for in
    /// ascending order.
    ///
    /// # Errors
    ///
    /// [`CapsuleError::Io`].
    pub fn groups_of(&mut self, index: u64) -> Result<Vec<Arc<SealedCapsules>>, CapsuleError> {
        self.held.retain(|group| group.indices().end > index);
        while let Some(group) = self.next()? {
            let indices = group.indices();
            if indices.start > index {
                self.ahead = Some(group);
                break;
            }
            if indices.contains(&index) {
                self.held.push(group);
            }
        }
        Ok(self.held.clone())
    }

    fn next(&mut self) -> Result<Option<Arc<SealedCapsules>>, CapsuleError> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        loop {
            let Some(file) = &mut self.current else {
                let Some(next) = self.files.pop_front() else {
                    return Ok(None);
                };
                match open(&next) {
                    Ok(opened) => self.current = opened,
                    // Removed since it was listed, as capsules are after a while; or shorter than a header.
                    Err(error)
                        if matches!(
                            error.kind(),
                            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof
                        ) => {}
                    Err(error) => return Err(at(&next.path, error)),
                }
                continue;
            };
            match file.frames.step().map_err(|error| at(&file.path, error))? {
                Step::Skipped(_) => {}
                Step::End(_) => self.current = None,
                Step::Frame(payload) => {
                    if let Some(group) = SealedCapsules::new(file.contents, payload) {
                        return Ok(Some(Arc::new(group)));
                    }
                }
            }
        }
    }
}

/// `None` if its header is damaged: then nothing says what its frames are.
fn open(file: &LogFile) -> io::Result<Option<CapsuleFile>> {
    let plain = File::open(&file.path)?;
    let mut input: Box<dyn Read + Send> = match file.is_compressed {
        true => Box::new(zstd::stream::read::Decoder::new(plain)?),
        false => Box::new(plain),
    };
    let mut header = [0; HEADER];
    input.read_exact(&mut header)?;
    Ok(
        frame::parse_header(&header).map(|(contents, _)| CapsuleFile {
            path: file.path.clone(),
            contents,
            frames: FrameReader::new(input, HEADER as u64, MAX_CAPSULES),
        }),
    )
}

fn at(path: &Path, error: io::Error) -> CapsuleError {
    CapsuleError::Io {
        path: path.to_owned(),
        error,
    }
}

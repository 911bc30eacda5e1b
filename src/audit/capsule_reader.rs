//! Reads the capsules of a log in the order of its records, each file once.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::audit::capsule::{CapsuleError, capsule_index};
use crate::audit::frame::{FrameReader, HEADER, MAX_CAPSULE, Step};
use crate::audit::log_files::{self, CAPSULES, LogFile};

/// The capsules of a log, still encrypted.
pub struct CapsuleReader {
    files: VecDeque<LogFile>,
    current: Option<(PathBuf, FrameReader<Box<dyn Read + Send>>)>,
    /// A frame of a later record than was asked for.
    ahead: Option<(u64, Vec<u8>)>,
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
            ahead: None,
        })
    }

    /// The frames of one record: more than one if a write was repeated. Records are asked for in ascending order.
    ///
    /// # Errors
    ///
    /// [`CapsuleError::Io`].
    pub fn frames_of(&mut self, index: u64) -> Result<Vec<Vec<u8>>, CapsuleError> {
        let mut frames = Vec::new();
        loop {
            let Some((found, frame)) = self.next()? else {
                return Ok(frames);
            };
            if found > index {
                self.ahead = Some((found, frame));
                return Ok(frames);
            }
            if found == index {
                frames.push(frame);
            }
        }
    }

    fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, CapsuleError> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        loop {
            let Some((path, frames)) = &mut self.current else {
                let Some(file) = self.files.pop_front() else {
                    return Ok(None);
                };
                match open(&file) {
                    Ok(frames) => self.current = Some((file.path, frames)),
                    // Removed since it was listed, as capsules are after a while; or shorter than a header.
                    Err(error)
                        if matches!(
                            error.kind(),
                            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof
                        ) => {}
                    Err(error) => return Err(at(&file.path, error)),
                }
                continue;
            };
            match frames.step().map_err(|error| at(path, error))? {
                Step::Skipped(_) => {}
                Step::End(_) => self.current = None,
                Step::Frame(payload) => {
                    if let Some(index) = capsule_index(&payload) {
                        return Ok(Some((index, payload)));
                    }
                }
            }
        }
    }
}

fn open(file: &LogFile) -> io::Result<FrameReader<Box<dyn Read + Send>>> {
    let plain = File::open(&file.path)?;
    let mut input: Box<dyn Read + Send> = match file.is_compressed {
        true => Box::new(zstd::stream::read::Decoder::new(plain)?),
        false => Box::new(plain),
    };
    input.read_exact(&mut [0; HEADER])?;
    Ok(FrameReader::new(input, HEADER as u64, MAX_CAPSULE))
}

fn at(path: &Path, error: io::Error) -> CapsuleError {
    CapsuleError::Io {
        path: path.to_owned(),
        error,
    }
}

//! Reads a decision log, also while it is written.
//!
//! Start at [`LogReader`]. An incomplete frame at the end is not there yet; anything else that is missing or damaged is an
//! item of the iteration, and reading goes on after it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::audit::frame::{self, Contents, FRAME_HEADER, FrameReader, HEADER, MAX_RECORD, Step};
use crate::audit::log_files::{self, LogFile, MAX_GAP, SEGMENTS};
use crate::audit::record::{RecordError, StoredRecord};

/// How often a file is looked for that is compressed or removed meanwhile.
const ATTEMPTS: usize = 3;

/// What is wrong with a log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The folder cannot be read. Reading cannot go on.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// A file of the log cannot be read, or not further. Reading goes on with the next one.
    #[error("{path}: {error}; what follows in this file is not read", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// Records are missing: their file is gone, or their bytes are damaged.
    #[error("records {first} to {last} are missing or damaged")]
    Lost {
        /// The first one.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// A file does not begin with the header that its name demands.
    #[error("{}: the header is not that of a log", .0.display())]
    Header(PathBuf),
    /// Bytes that are no record, where none is missing, or a record with the index of another.
    #[error("{path}: {bytes} bytes are no record", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How many bytes.
        bytes: u64,
    },
    /// An intact frame that is no record.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// A decision log, to be read.
#[derive(Debug, Clone)]
pub struct LogReader {
    segments: PathBuf,
}

impl LogReader {
    /// A log in a directory. Nothing is kept open.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`] if there is no log in the directory.
    pub fn open(directory: &Path) -> Result<Self, LogError> {
        let segments = directory.join(SEGMENTS);
        let found = std::fs::read_dir(&segments);
        found.map_err(|error| at(&segments, error))?;
        Ok(Self { segments })
    }

    /// The index of the first record that is still there; 0 in an empty log.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`].
    pub fn first_index(&self) -> Result<u64, LogError> {
        Ok(self.files()?.first().map_or(0, |file| file.first))
    }

    /// The records from an index on, in order. After `None` it can be asked again for what was written meanwhile.
    /// Records before [`LogReader::first_index`] that were removed are no error: iteration begins there.
    pub fn iter_from(&self, index: u64) -> Records {
        Records {
            log: self.clone(),
            next: index,
            current: None,
            ahead: None,
        }
    }

    /// The record with an index; `None` if it was removed or is not there yet.
    ///
    /// # Errors
    ///
    /// Any [`LogError`] on the way to it.
    pub fn get(&self, index: u64) -> Result<Option<StoredRecord>, LogError> {
        if index < self.first_index()? {
            return Ok(None);
        }
        match self.iter_from(index).next() {
            Some(Ok(record)) => Ok((record.index == index).then_some(record)),
            Some(Err(error)) => Err(error),
            None => Ok(None),
        }
    }

    fn files(&self) -> Result<Vec<LogFile>, LogError> {
        log_files::list(&self.segments).map_err(|error| at(&self.segments, error))
    }
}

/// The records of a log, in order.
pub struct Records {
    log: LogReader,
    /// The index of the next record.
    next: u64,
    current: Option<OpenSegment>,
    /// A record that was read and comes after what is missing.
    ahead: Option<StoredRecord>,
}

struct OpenSegment {
    file: LogFile,
    frames: FrameReader<Box<dyn Read + Send>>,
    /// Bytes that are no frame, since the last record.
    skipped: u64,
    /// Bytes at the end that are no frame.
    tail: usize,
}

impl Iterator for Records {
    type Item = Result<StoredRecord, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.ahead.take() {
                return Some(Ok(record));
            }
            let goes_on = match self.current {
                None => self.open_next(),
                Some(_) => match self.read() {
                    Some(item) => return Some(item),
                    None => self.advance(),
                },
            };
            match goes_on {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Records {
    /// The next record of the current file; `None` at its end.
    fn read(&mut self) -> Option<Result<StoredRecord, LogError>> {
        loop {
            let open = self.current.as_mut()?;
            let record = match open.frames.step() {
                Ok(Step::End(bytes)) => {
                    open.tail = bytes;
                    return None;
                }
                Ok(Step::Skipped(bytes)) => {
                    open.skipped += bytes;
                    continue;
                }
                Ok(Step::Frame(bytes)) => match StoredRecord::from_bytes(bytes) {
                    Ok(record) => record,
                    Err(error) => return Some(Err(error.into())),
                },
                Err(error) => {
                    // Nothing more comes of this file.
                    open.frames = nothing();
                    let path = open.file.path.clone();
                    return Some(Err(LogError::File { path, error }));
                }
            };
            let skipped = std::mem::take(&mut open.skipped);
            let path = &open.file.path;
            if let Some(item) = accept(&mut self.next, &mut self.ahead, path, skipped, record) {
                return Some(item);
            }
        }
    }

    /// Opens the file that the next record is in, or the first one after it. `false` if there is none.
    fn open_next(&mut self) -> Result<bool, LogError> {
        for attempt in 1.. {
            let files = self.log.files()?;
            let after = files.partition_point(|file| file.first <= self.next);
            let Some(file) = files.get(after.saturating_sub(1)) else {
                return Ok(false);
            };
            let (segment, has_header) = match open(file) {
                Ok(opened) => opened,
                // Compressed or removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                    continue;
                }
                Err(error) => {
                    let path = file.path.clone();
                    self.next = self.next.max(file.first);
                    self.current = Some(OpenSegment {
                        file: file.clone(),
                        frames: nothing(),
                        skipped: 0,
                        tail: 0,
                    });
                    return Err(LogError::File { path, error });
                }
            };
            self.next = self.next.max(file.first);
            self.current = Some(segment);
            return match has_header {
                true => Ok(true),
                false => Err(LogError::Header(file.path.clone())),
            };
        }
        Ok(false)
    }

    /// At the end of a file: goes on to the next one. `false` if there is none.
    fn advance(&mut self) -> Result<bool, LogError> {
        let Some(open) = &self.current else {
            return Ok(false);
        };
        let files = self.log.files()?;
        let Some(after) = files.iter().find(|file| file.first > open.file.first) else {
            return Ok(false);
        };
        // What was written between the end that was seen and the new file.
        if let Some(item) = self.read() {
            self.ahead = Some(item?);
            return Ok(true);
        }
        let (expected, first) = (self.next, after.first);
        let ended = self.current.take();
        self.next = first.max(expected);
        if expected < first {
            let last = first - 1;
            return Err(LogError::Lost {
                first: expected,
                last,
            });
        }
        match ended {
            Some(open) if open.tail > 0 => Err(LogError::Damaged {
                path: open.file.path,
                bytes: open.tail as u64,
            }),
            _ => Ok(true),
        }
    }
}

/// Takes a record in its order; `None` for one before those that were asked for.
fn accept(
    next: &mut u64,
    ahead: &mut Option<StoredRecord>,
    path: &Path,
    skipped: u64,
    record: StoredRecord,
) -> Option<Result<StoredRecord, LogError>> {
    let (expected, index) = (*next, record.index);
    if index < expected {
        return None;
    }
    if index - expected > MAX_GAP {
        let path = path.to_owned();
        let bytes = skipped + (FRAME_HEADER + record.bytes.len()) as u64;
        return Some(Err(LogError::Damaged { path, bytes }));
    }
    *next = index.saturating_add(1);
    if index > expected {
        *ahead = Some(record);
        return Some(Err(LogError::Lost {
            first: expected,
            last: index - 1,
        }));
    }
    if skipped > 0 {
        *ahead = Some(record);
        let path = path.to_owned();
        return Some(Err(LogError::Damaged {
            path,
            bytes: skipped,
        }));
    }
    Some(Ok(record))
}

/// Opens a file, and says whether it has the header that its name demands. A file that is shorter than a header, as a new
/// one is for a moment, is an empty one.
fn open(file: &LogFile) -> io::Result<(OpenSegment, bool)> {
    let plain = File::open(&file.path)?;
    let mut input: Box<dyn Read + Send> = if file.is_compressed {
        Box::new(zstd::stream::read::Decoder::new(plain)?)
    } else {
        Box::new(plain)
    };
    let mut header = [0; HEADER];
    let (is_short, has_header) = match input.read_exact(&mut header) {
        Ok(()) => (
            false,
            frame::parse_header(&header) == Some((Contents::Records, file.first)),
        ),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => (true, true),
        Err(error) => return Err(error),
    };
    if is_short {
        input = Box::new(io::empty());
    }
    let segment = OpenSegment {
        file: file.clone(),
        frames: FrameReader::new(input, HEADER as u64, MAX_RECORD),
        skipped: 0,
        tail: 0,
    };
    Ok((segment, has_header))
}

/// Frames of a file of which nothing more comes.
fn nothing() -> FrameReader<Box<dyn Read + Send>> {
    FrameReader::new(Box::new(io::empty()), 0, MAX_RECORD)
}

/// The first record of a file that is intact, without reading more of it; `None` if that is not at its beginning.
pub fn first_record(file: &LogFile) -> Option<StoredRecord> {
    let (mut segment, _) = open(file).ok().filter(|(_, has_header)| *has_header)?;
    match segment.frames.step() {
        Ok(Step::Frame(bytes)) => StoredRecord::from_bytes(bytes).ok(),
        _ => None,
    }
}

fn at(path: &Path, error: io::Error) -> LogError {
    LogError::Io {
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;

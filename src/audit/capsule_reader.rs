//! Reads the capsules of a log in the order of its records, each file once.
//!
//! What cannot be read is passed over. A record that has a capsule, which is not found, tells of it: unless files of before
//! were removed, as they are after a while ([`CapsuleReader::was_removed`]), it was damaged or taken away.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::audit::capsule::{CapsuleError, CapsuleKey, SealedCapsules};
use crate::audit::frame::{self, Contents, FrameReader, HEADER, MAX_CAPSULES, Step};
use crate::audit::log_files::{self, CAPSULES, LogFile};

/// The capsules of a log, still encrypted.
pub struct CapsuleReader {
    folder: PathBuf,
    files: VecDeque<LogFile>,
    /// The first index of the oldest file; `None` if there are no files.
    oldest: Option<u64>,
    current: Option<CapsuleFile>,
    /// Those of the record that was asked for last, and of records after it.
    held: Vec<Arc<SealedCapsules>>,
    /// Those of later records alone.
    ahead: Option<Arc<SealedCapsules>>,
}

struct CapsuleFile {
    first: u64,
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
        let files = log_files::list(&folder).map_err(|error| CapsuleError::Io {
            path: folder.clone(),
            error,
        })?;
        let oldest = files.first().map(|file| file.first);
        // The last file that begins before, and all after it.
        let start = files.partition_point(|file| file.first <= from);
        let files = files.into_iter().skip(start.saturating_sub(1)).collect();
        Ok(Self {
            folder,
            files,
            oldest,
            current: None,
            held: Vec::new(),
            ahead: None,
        })
    }

    /// Where the capsule of one record may be: in more than one place if a write was repeated. Records are asked for in
    /// ascending order.
    pub fn groups_of(&mut self, index: u64) -> Vec<Arc<SealedCapsules>> {
        self.held.retain(|group| group.indices().end > index);
        while let Some(group) = self.next() {
            let indices = group.indices();
            if indices.start > index {
                self.ahead = Some(group);
                break;
            }
            if indices.contains(&index) {
                self.held.push(group);
            }
        }
        self.held.clone()
    }

    /// Whether the capsule of a record was in a file that is older than all that are there: those are removed, oldest first.
    pub fn was_removed(&self, index: u64) -> bool {
        self.oldest.is_none_or(|oldest| index < oldest)
    }

    fn next(&mut self) -> Option<Arc<SealedCapsules>> {
        if let Some(ahead) = self.ahead.take() {
            return Some(ahead);
        }
        loop {
            let Some(file) = &mut self.current else {
                let next = self.files.pop_front()?;
                match open(&next) {
                    Ok(opened) => self.current = opened,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => self.list_again(&next),
                    // Shorter than a header, or not to be read.
                    Err(_) => {}
                }
                continue;
            };
            match file.next() {
                Ok(Some(group)) => return Some(Arc::new(group)),
                Ok(None) if self.files.is_empty() => {
                    // The newest file may grow until it is asked again. It is asked once more if another was begun since.
                    let first = file.first;
                    self.files = self.listed(|file| file.first > first);
                    if self.files.is_empty() {
                        return None;
                    }
                }
                Ok(None) | Err(_) => self.current = None,
            }
        }
    }

    /// Lists what there is in the place of a file that is gone since it was listed: it was compressed, or removed.
    fn list_again(&mut self, gone: &LogFile) {
        let oldest = self.listed(|_| true).front().map(|file| file.first);
        self.oldest = oldest.or(self.oldest);
        self.files = self.listed(|file| file.first >= gone.first && file.path != gone.path);
    }

    fn listed(&self, is_wanted: impl Fn(&LogFile) -> bool) -> VecDeque<LogFile> {
        let files = log_files::list(&self.folder).unwrap_or_default();
        files.into_iter().filter(is_wanted).collect()
    }
}

impl CapsuleFile {
    /// The next group; `None` at the end. What is damaged is passed over.
    fn next(&mut self) -> io::Result<Option<SealedCapsules>> {
        loop {
            match self.frames.step()? {
                Step::Skipped(_) => {}
                Step::Frame(payload) => {
                    if let Some(group) = SealedCapsules::new(self.contents, payload) {
                        return Ok(Some(group));
                    }
                }
                Step::End(_) => return Ok(None),
            }
        }
    }

    /// The last group, as far as the file can be read.
    fn last(mut self) -> Option<SealedCapsules> {
        let mut last = None;
        while let Ok(Some(group)) = self.next() {
            last = Some(group);
        }
        last
    }
}

/// Whether a key opens the newest capsules of a log; `None` if there are none that can be read. The newest files may have none: after
/// a while another one is begun, also while nothing is decided.
pub fn newest_open_with(directory: &Path, key: &CapsuleKey) -> Option<bool> {
    let files = log_files::list(&directory.join(CAPSULES)).ok()?;
    let last = |file: &LogFile| open(file).ok().flatten()?.last();
    let newest = files.iter().rev().find_map(last)?;
    Some(newest.capsule(key, newest.indices().start).is_ok())
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
            first: file.first,
            contents,
            frames: FrameReader::new(input, HEADER as u64, MAX_CAPSULES),
        }),
    )
}

#[cfg(test)]
#[path = "capsule_reader_tests.rs"]
mod tests;

//! Reads the files of a log byte by byte, and holds each record against the tree.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use serde::Serialize;

use crate::audit::frame::{self, Contents, FrameReader, HEADER, MAX_RECORD, Step};
use crate::audit::log_files::{self, LogFile, SEGMENTS};
use crate::audit::record::schema::{Notice, notice};
use crate::audit::record::{StoredRecord, index_of};
use crate::audit::removals::Removals;
use crate::audit::tree::hash::TreeHash;
use crate::audit::tree::unsigned::UnsignedTiles;
use crate::audit::verify::authentic::AuthenticTree;
use crate::audit::verify::fault::{Fault, Faults, Place};

/// What was found beside faults.
#[derive(Debug, Default)]
pub struct Found {
    /// The index of the first record that is there.
    pub first: u64,
    /// The number of records before it that the log has noted to have removed, the oldest first.
    pub removed: u64,
    /// The index after the last record that was seen, in the range or not.
    pub seen: u64,
    /// The index after the last record.
    pub end: u64,
    /// Records that are the ones in the tree.
    pub proven: u64,
    /// Records that the tree has no authentic leaf for.
    pub unproven: Vec<Range<u64>>,
    /// Bytes at the end that are no complete record.
    pub torn_bytes: u64,
    /// Where the log says that the store held an older state than before.
    pub turned_back: Vec<TurnedBackNotice>,
    /// The earliest and the latest time of the records that the checkpoint does not cover, in nanoseconds since 1970.
    pub uncovered_times: Option<(u64, u64)>,
}

/// What the log says of a store that held an older state than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TurnedBackNotice {
    /// The index of the record that says so.
    pub record: u64,
    /// How it came to that.
    pub how: String,
    /// The revision that the state had.
    pub from: u64,
    /// The revision that it has from there on.
    pub revision: u64,
}

impl TurnedBackNotice {
    fn new(record: u64, notice: &Notice) -> Self {
        Self {
            record,
            how: notice.text.clone(),
            from: notice.first,
            revision: notice.last.saturating_add(1),
        }
    }
}

/// A scan of the files of a log, in order.
pub struct Scan<'a> {
    directory: &'a Path,
    tree: &'a mut AuthenticTree,
    /// The tiles that reach beyond it, and where the records are that they have hashes of.
    unsigned: UnsignedTiles,
    hashed: BTreeMap<u64, Place>,
    /// The last record to verify.
    to: Option<u64>,
    /// The index that the next record should have.
    expected: u64,
    /// Whether records are missing before the first one, so that what the log has noted is read to its end.
    reads_notices: bool,
    /// The first index of the last file, which may be a new one that has no whole header yet.
    last_file: Option<u64>,
    /// Bytes that are no record, seen since the last record.
    damage: Option<(Place, u64)>,
    /// Records that the log removed or lost, by its own notices.
    removals: Removals,
    lost: Vec<(u64, u64)>,
    /// Records that were removed by notices that nothing proves.
    unproven_removals: Removals,
    from: u64,
    found: Found,
}

impl<'a> Scan<'a> {
    /// A scan of the records from `from` to `to`.
    pub fn new(
        directory: &'a Path,
        tree: &'a mut AuthenticTree,
        unsigned: UnsignedTiles,
        (from, to): (u64, Option<u64>),
    ) -> Self {
        Self {
            directory,
            tree,
            unsigned,
            hashed: BTreeMap::new(),
            to,
            expected: from,
            reads_notices: false,
            last_file: None,
            damage: None,
            removals: Removals::default(),
            lost: Vec::new(),
            unproven_removals: Removals::default(),
            from,
            found: Found::default(),
        }
    }

    /// Reads all files that records of the range may be in.
    pub fn files(&mut self, files: &[LogFile], faults: &mut Faults) {
        self.found.first = files.first().map_or(0, |file| file.first);
        self.last_file = files.last().map(|file| file.first);
        self.reads_notices = self.found.first > self.from;
        self.expected = self.expected.max(self.found.first);
        let start = files.partition_point(|file| file.first <= self.expected);
        for file in &files[start.saturating_sub(1)..] {
            let is_beyond = self.is_over() || self.to.is_some_and(|to| file.first > to);
            if is_beyond && !self.reads_notices {
                return;
            }
            let opened = open_listed(file);
            let read = opened.and_then(|input| self.input(input, file, faults));
            if let Err(error) = read {
                let why = error.to_string();
                let file = self.name(file);
                faults.add(Fault::File { file, why });
            }
        }
    }

    /// Reads one file, from its header on.
    ///
    /// # Errors
    ///
    /// If reading fails, e.g. because it does not decompress.
    pub fn input(
        &mut self,
        mut input: impl Read,
        file: &LogFile,
        faults: &mut Faults,
    ) -> io::Result<()> {
        let name = self.name(file);
        let mut header = Vec::with_capacity(HEADER);
        input
            .by_ref()
            .take(HEADER as u64)
            .read_to_end(&mut header)?;
        match <&[u8; HEADER]>::try_from(&header[..]).map(frame::parse_header) {
            Ok(Some((Contents::Records, first))) if first == file.first => {}
            Ok(_) => faults.add(Fault::File {
                file: name.clone(),
                why: "the header is not that of a log whose first record its name says".to_owned(),
            }),
            // It is just being made, or that was interrupted: no record was in it.
            Err(_) if self.last_file == Some(file.first) && !file.is_compressed => {
                let place = Place {
                    file: name,
                    byte: 0,
                };
                self.damaged(place, header.len() as u64);
                return Ok(());
            }
            Err(_) => {
                faults.add(Fault::File {
                    file: name,
                    why: "it ends within its header".to_owned(),
                });
                return Ok(());
            }
        }
        let mut frames = FrameReader::new(input, HEADER as u64, MAX_RECORD);
        loop {
            let byte = frames.offset();
            let place = || Place {
                file: name.clone(),
                byte,
            };
            match frames.step()? {
                Step::Frame(payload) => self.payload(payload, place, faults),
                Step::Skipped(bytes) => self.damaged(place(), bytes),
                Step::End(0) => return Ok(()),
                Step::End(bytes) => {
                    self.damaged(place(), bytes as u64);
                    return Ok(());
                }
            }
            if self.is_over() && !self.reads_notices {
                return Ok(());
            }
        }
    }

    fn is_over(&self) -> bool {
        self.to.is_some_and(|to| self.expected > to)
    }

    fn damaged(&mut self, place: Place, bytes: u64) {
        if self.is_over() {
            return;
        }
        let (_, damaged) = self.damage.get_or_insert((place, 0));
        *damaged += bytes;
    }

    fn payload(&mut self, payload: Vec<u8>, place: impl Fn() -> Place, faults: &mut Faults) {
        let Some(index) = index_of(&payload) else {
            return self.damaged(place(), (frame::FRAME_HEADER + payload.len()) as u64);
        };
        self.found.seen = self.found.seen.max(index.saturating_add(1));
        if index < self.from {
            return;
        }
        if let Some(to) = self.to.filter(|to| index > *to) {
            if !self.is_over() {
                self.gap(to + 1, faults);
                self.expected = to + 1;
            }
            return self.notice(index, payload);
        }
        if index < self.expected {
            faults.add(Fault::Order {
                index,
                expected: self.expected,
                place: place(),
            });
            return;
        }
        self.gap(index, faults);
        self.expected = index.saturating_add(1);
        let leaf = TreeHash::leaf(&payload);
        if self.unsigned.note(index, leaf) {
            self.hashed.insert(index, place());
        }
        if index < self.tree.size() {
            match self.tree.leaf(index) {
                Some(wanted) if wanted == leaf => self.found.proven += 1,
                Some(_) => faults.add(Fault::Changed {
                    index,
                    place: place(),
                }),
                None => match self.found.unproven.last_mut() {
                    Some(last) if last.end == index => last.end += 1,
                    _ => self.found.unproven.push(index..index + 1),
                },
            }
        }
        self.notice(index, payload);
    }

    /// Tells of what lies between the last record and the one with this index.
    fn gap(&mut self, index: u64, faults: &mut Faults) {
        let missing = (self.expected < index).then(|| (self.expected, index - 1));
        match (self.damage.take(), missing) {
            (Some((place, _)), Some((first, last))) => {
                faults.add(Fault::Damaged { first, last, place });
            }
            (Some((place, bytes)), None) => faults.add(Fault::Extra { place, bytes }),
            (None, Some((first, last))) => faults.add(Fault::Missing {
                first,
                last,
                is_noted: false,
            }),
            (None, None) => {}
        }
    }

    /// Keeps what the log says of records that it removed or lost. Whoever can write a file can say so after the last checkpoint;
    /// only what the checkpoint proves accounts for records.
    fn notice(&mut self, index: u64, payload: Vec<u8>) {
        let is_covered = index < self.tree.size();
        let Ok(stored) = StoredRecord::from_bytes(payload) else {
            return;
        };
        if !is_covered && let Ok(record) = stored.decode() {
            let (earliest, latest) = self.found.uncovered_times.unwrap_or((record.at, record.at));
            self.found.uncovered_times = Some((earliest.min(record.at), latest.max(record.at)));
        }
        let Some(notice) = stored.notice() else {
            return;
        };
        if notice.kind() == notice::Kind::TurnedBack {
            self.found
                .turned_back
                .push(TurnedBackNotice::new(index, &notice));
        }
        let leaf = TreeHash::leaf(&stored.bytes);
        if !is_covered || self.tree.leaf(index) != Some(leaf) {
            self.unproven_removals.note(index, &notice);
            return;
        }
        self.removals.note(index, &notice);
        if notice.kind() == notice::Kind::Lost {
            self.lost.push((notice.first, notice.last));
        }
    }

    /// Ends the scan of a log whose last checkpoint is over `signed` records.
    pub fn finish(mut self, signed: u64, faults: &mut Faults) -> Found {
        let end = match self.to {
            Some(to) => signed.min(to.saturating_add(1)),
            // Every file is begun where the one before it ends.
            None => signed.max(self.last_file.unwrap_or_default()),
        };
        let is_short = self.expected < end;
        // Where the range ends within a file that is not there, later ones are.
        let is_cut = is_short && self.last_file.is_none_or(|last| last < end);
        match self.damage.take() {
            Some((place, _)) if is_short => faults.add(Fault::Damaged {
                first: self.expected,
                last: end - 1,
                place,
            }),
            None if is_short && !is_cut => faults.add(Fault::Missing {
                first: self.expected,
                last: end - 1,
                is_noted: false,
            }),
            None if is_cut => faults.add(Fault::Cut {
                first: self.expected,
                last: end - 1,
            }),
            Some((_, bytes)) => self.found.torn_bytes = bytes,
            None => {}
        }
        self.hold_against_unsigned(signed, faults);
        self.account_for_removed(faults);
        faults.note_lost(&self.lost);
        self.found.end = self.expected;
        self.found
    }

    /// Tells of the records before the first one that the log does not say it has removed.
    fn account_for_removed(&mut self, faults: &mut Faults) {
        let first = self.found.first;
        self.found.removed = self.removals.end().min(first);
        let said = self.removals.said().max(self.unproven_removals.said());
        let end = first.min(self.to.map_or(first, |to| to.saturating_add(1)));
        let unsigned = self.from.max(self.found.removed)..end.min(said);
        let missing = unsigned.start.max(said)..end;
        if !unsigned.is_empty() {
            faults.add(Fault::RemovedUnsigned {
                first: unsigned.start,
                last: unsigned.end - 1,
            });
        }
        if !missing.is_empty() {
            faults.add(Fault::Missing {
                first: missing.start,
                last: missing.end - 1,
                is_noted: false,
            });
        }
    }

    /// Tells of the records after the checkpoint that are not those whose hashes are in tiles.
    fn hold_against_unsigned(&mut self, signed: u64, faults: &mut Faults) {
        for index in self.unsigned.others() {
            if let Some(place) = self.hashed.remove(&index) {
                faults.add(Fault::Changed { index, place });
            }
        }
        let first = self.expected.max(signed);
        if self.to.is_none() && first < self.unsigned.size() {
            let last = self.unsigned.size() - 1;
            faults.add(Fault::Hashed { first, last });
        }
    }

    fn name(&self, file: &LogFile) -> String {
        let path = file.path.strip_prefix(self.directory);
        path.unwrap_or(&file.path).display().to_string()
    }
}

/// Opens a file, or its other form if it was compressed since it was listed.
fn open_listed(file: &LogFile) -> io::Result<Box<dyn Read>> {
    match open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !file.is_compressed => {
            let name = log_files::compressed_name(file.first);
            let compressed = LogFile {
                first: file.first,
                is_compressed: true,
                path: file.path.with_file_name(name),
            };
            // Whatever is wrong with that, the file is not there.
            open(&compressed).map_err(|_| error)
        }
        opened => opened,
    }
}

fn open(file: &LogFile) -> io::Result<Box<dyn Read>> {
    let plain = File::open(&file.path)?;
    Ok(match file.is_compressed {
        true => Box::new(zstd::stream::read::Decoder::new(plain)?),
        false => Box::new(plain),
    })
}

/// Passes the leaf hash of every record to `each`, with its index, until it returns `false`.
///
/// # Errors
///
/// If a file cannot be read, or does not begin as it should.
pub fn each_leaf(directory: &Path, each: &mut dyn FnMut(u64, TreeHash) -> bool) -> io::Result<()> {
    for file in log_files::list(&directory.join(SEGMENTS))? {
        let mut input = open_listed(&file)?;
        let mut header = [0; HEADER];
        input.read_exact(&mut header)?;
        let mut frames = FrameReader::new(input, HEADER as u64, MAX_RECORD);
        loop {
            match frames.step()? {
                Step::Frame(payload) => {
                    if let Some(index) = index_of(&payload)
                        && !each(index, TreeHash::leaf(&payload))
                    {
                        return Ok(());
                    }
                }
                Step::Skipped(_) => {}
                Step::End(_) => break,
            }
        }
    }
    Ok(())
}

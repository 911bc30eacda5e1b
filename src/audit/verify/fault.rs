//! What can be wrong with a decision log, and where.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// The most faults that are kept with their details.
pub const MAX_KEPT: usize = 1_000;

/// A place in a file of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The path of the file below the directory of the log.
    pub file: String,
    /// The byte, before compression.
    pub byte: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// The last checkpoint is missing, or is not by the key.
    Checkpoint {
        /// Why.
        why: String,
    },
    /// The last checkpoint is not the one that was signed last: the tree has grown beyond it.
    RolledBack {
        /// The size in the checkpoint.
        signed: u64,
        /// The size up to which `frontier` says that tiles are durable.
        durable: u64,
    },
    /// An older checkpoint that the log does not extend.
    Older {
        /// Which one.
        checkpoint: String,
        /// Why.
        why: String,
    },
    /// A file that cannot be read, or does not begin as it should.
    File {
        /// The path below the directory of the log.
        file: String,
        /// Why.
        why: String,
    },
    /// Records in whose place there are bytes that are none.
    Damaged {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
        /// Where.
        place: Place,
    },
    /// Bytes between records that are no record; no record is missing for them.
    Extra {
        /// Where.
        place: Place,
        /// How many.
        bytes: u64,
    },
    /// Records that are not there, although later ones are.
    Missing {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
        /// Whether the log itself has noted that it lost them.
        is_noted: bool,
    },
    /// Records that are not there, and were removed according to notices for which no signature vouched when they were.
    RemovedUnsigned {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// A record before which a later one stands: it is moved or repeated.
    Order {
        /// Its index.
        index: u64,
        /// The index that should stand here.
        expected: u64,
        /// Where.
        place: Place,
    },
    /// A record that is not the one that was logged.
    Changed {
        /// Its index.
        index: u64,
        /// Where.
        place: Place,
    },
    /// Records at the end that are not there, although a checkpoint covers them.
    Cut {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// Records after the checkpoint that are not there, although tiles have their hashes.
    Hashed {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// A tile that does not belong to the tree of the checkpoint.
    Tile {
        /// The path below the directory of the log.
        file: String,
        /// Why.
        why: String,
    },
    /// Records that no intact tile vouches for.
    Unproven {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, byte {}", self.file, self.byte)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint { why } => write!(f, "the last checkpoint is of no use: {why}"),
            Self::RolledBack { signed, durable } => write!(
                f,
                "the last checkpoint is over {signed} records, but the tree was durable up to {durable}: an older checkpoint was put in its place"
            ),
            Self::Older { checkpoint, why } => {
                write!(
                    f,
                    "the log does not extend the checkpoint {checkpoint}: {why}"
                )
            }
            Self::File { file, why } => write!(f, "{file}: {why}"),
            Self::Damaged { first, last, place } => {
                write!(f, "{} damaged ({place})", records(*first, *last))
            }
            Self::Extra { place, bytes } => {
                write!(f, "{bytes} bytes between records are no record ({place})")
            }
            Self::Missing {
                first,
                last,
                is_noted,
            } => {
                let noted = match is_noted {
                    true => "; the log has noted that they were lost",
                    false => "",
                };
                write!(f, "{} missing{noted}", records(*first, *last))
            }
            Self::RemovedUnsigned { first, last } => write!(
                f,
                "{} missing: that they were removed is said by a notice alone that was not signed before",
                records(*first, *last)
            ),
            Self::Order {
                index,
                expected,
                place,
            } => write!(
                f,
                "record {index} is moved or repeated: it stands where record {expected} belongs ({place})"
            ),
            Self::Changed { index, place } => write!(f, "record {index} was changed ({place})"),
            Self::Cut { first, last } => write!(
                f,
                "{} cut off: the last checkpoint covers more than is there",
                records(*first, *last)
            ),
            Self::Hashed { first, last } => write!(
                f,
                "{} cut off: the tree has hashes of more than is there",
                records(*first, *last)
            ),
            Self::Tile { file, why } => write!(f, "{file}: {why}"),
            Self::Unproven { first, last } => {
                write!(
                    f,
                    "{} not proven: no intact tile vouches for them",
                    records(*first, *last)
                )
            }
        }
    }
}

/// `record 7 is`, `records 7 to 9 are`.
fn records(first: u64, last: u64) -> String {
    match first == last {
        true => format!("record {first} is"),
        false => format!("records {first} to {last} are"),
    }
}

/// Faults as they are found.
#[derive(Debug, Default)]
pub struct Faults {
    kept: Vec<Fault>,
    count: u64,
}

impl Faults {
    /// Adds one.
    pub fn add(&mut self, fault: Fault) {
        self.count += 1;
        if self.kept.len() < MAX_KEPT {
            self.kept.push(fault);
        }
    }

    /// Adds those of tiles, and of the records they should have vouched for unless the records did so themselves.
    pub fn add_tiles(
        &mut self,
        tiles: Vec<(String, String)>,
        unproven: &[Range<u64>],
        are_records_proven: bool,
    ) {
        for (file, why) in tiles {
            self.add(Fault::Tile { file, why });
        }
        for range in unproven.iter().filter(|_| !are_records_proven) {
            self.add(Fault::Unproven {
                first: range.start,
                last: range.end - 1,
            });
        }
    }

    /// The notes of the log about what it lost make a gap no smaller, but explain it.
    pub fn note_lost(&mut self, lost: &[(u64, u64)]) {
        for fault in &mut self.kept {
            if let Fault::Missing {
                first,
                last,
                is_noted,
            } = fault
            {
                *is_noted = lost.iter().any(|(from, to)| from <= first && to >= last);
            }
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Those that are kept.
    pub fn into_kept(self) -> Vec<Fault> {
        self.kept
    }
}

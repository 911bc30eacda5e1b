//! Verifies a decision log: every record against the tree, the tree against its checkpoint, and older checkpoints against
//! both.
//!
//! Start at [`verify`]. Nothing of the log is trusted but the key that is passed in. Whatever is changed, removed,
//! reordered or cut is a [`Fault`] with its place; records that were logged after the last checkpoint are counted, since no
//! signature covers them yet.

pub mod authentic;
pub mod coverage;
pub mod fault;
pub mod scan;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::audit::log_files::{self, LogFile, TREE};
use crate::audit::tree::checkpoint::Checkpoint;
use crate::audit::tree::frontier::Frontier;
use crate::audit::tree::hash::TreeHash;
use crate::audit::tree::merkle;
use crate::audit::tree::note::VerifyingKey;
use crate::audit::tree::tile::{TILE_WIDTH, TileId};
use crate::audit::tree::tile_dir::{FRONTIER_FILE, FrontierError, TileDir, TreeReader};
use crate::audit::tree::unsigned::UnsignedTiles;
use crate::audit::verify::authentic::AuthenticTree;
use crate::audit::verify::coverage::checkpoint;
pub use crate::audit::verify::coverage::{prove, signed};
use crate::audit::verify::fault::{Fault, Faults};
use crate::audit::verify::scan::{Found, Scan, TurnedBackNotice};

/// How often a log is verified that is not in order, and of which older files were removed meanwhile.
const ATTEMPTS: usize = 3;
/// How much time records may cover that no checkpoint does: one is signed every second.
const LONG_UNCOVERED: Duration = Duration::from_secs(60);

/// What to verify.
#[derive(Debug, Clone)]
pub struct Request {
    /// The directory of the log.
    pub directory: PathBuf,
    /// The key that signs its checkpoints.
    pub key: VerifyingKey,
    /// Older checkpoints of the log, each with a name for messages: the log must extend all of them.
    pub older: Vec<(String, String)>,
    /// The first record to verify.
    pub from: u64,
    /// The last record to verify; `None` for all, which also finds records that are cut off.
    pub to: Option<u64>,
}

/// The result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// The identity of the log, by its key.
    pub origin: String,
    /// The number of records in the last checkpoint.
    pub signed: u64,
    /// The root in the last checkpoint, in base64.
    pub root: String,
    /// The index of the first record that was read.
    pub first: u64,
    /// The number of records, the oldest, that the log has removed because of their age or size.
    pub removed: u64,
    /// The index after the last record that was read.
    pub end: u64,
    /// The number of records that are as they were logged, proven by the checkpoint.
    pub proven: u64,
    /// The number of records after the last checkpoint: nothing covers them yet.
    pub uncovered: u64,
    /// Bytes at the end of the last file that are no complete record, because it is just being written.
    pub torn_bytes: u64,
    /// Where the log says that the store held an older state than before. Nothing is wrong with the log there.
    pub turned_back: Vec<TurnedBackNotice>,
    /// The number of older checkpoints that the log extends.
    pub older_checkpoints: usize,
    /// What is wrong, in the order it was found; the first [`fault::MAX_KEPT`] are kept.
    pub faults: Vec<Fault>,
    /// The number of faults, with those not kept.
    pub fault_count: u64,
    /// What is no fault, and may be a sign of one.
    pub warnings: Vec<String>,
}

/// Verifies a log.
///
/// # Errors
///
/// If there is no log in the directory, or no such range in it. Everything else that is wrong is in the report.
pub fn verify(request: &Request) -> io::Result<Report> {
    check_request(request)?;
    let mut attempt = 1;
    loop {
        let files = log_files::list(&request.directory.join(log_files::SEGMENTS))?;
        let report = verify_once(request)?;
        if report.ok || attempt == ATTEMPTS || !is_outdated(request, &files, &report)? {
            return Ok(report);
        }
        attempt += 1;
    }
}

/// Whether faults may be there only since the log has removed its oldest files while it was read.
fn is_outdated(request: &Request, files: &[LogFile], report: &Report) -> io::Result<bool> {
    let now = log_files::list(&request.directory.join(log_files::SEGMENTS))?;
    let first = |files: &[LogFile]| files.first().map(|file| file.first);
    if first(&now) > first(files) {
        return Ok(true);
    }
    // What says so is signed before they are removed: the checkpoint that was read may have been the one before.
    let is_unsigned = |fault: &Fault| matches!(fault, Fault::RemovedUnsigned { .. });
    let dir = TileDir::new(request.directory.join(TREE));
    Ok(report.faults.iter().any(is_unsigned)
        && checkpoint(&dir, &request.key).is_ok_and(|last| last.size > report.signed))
}

fn verify_once(request: &Request) -> io::Result<Report> {
    let dir = TileDir::new(request.directory.join(TREE));
    // What is written last is read first, since the log may grow meanwhile: `frontier` follows the checkpoint, that follows its
    // tiles, and these follow their records.
    let durable = dir.read_frontier();
    let last = checkpoint(&dir, &request.key);
    let unsigned = match &last {
        Ok(last) => UnsignedTiles::read(&dir, last.size)?,
        Err(_) => UnsignedTiles::default(),
    };
    let files = log_files::list(&request.directory.join(log_files::SEGMENTS))?;
    if files.is_empty() && dir.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "there is no decision log in this directory",
        ));
    }
    let mut faults = Faults::default();
    let mut report = Report {
        origin: request.key.name().to_owned(),
        ..Report::default()
    };
    if let Err(why) = &last {
        faults.add(Fault::Checkpoint { why: why.clone() });
    }
    check_frontier(durable, last.as_ref().ok(), &mut report, &mut faults)?;
    let last = last.ok();
    // Damage of the files is told nevertheless.
    let checkpoint = last.clone().unwrap_or_else(|| Checkpoint {
        origin: report.origin.clone(),
        size: 0,
        root: TreeHash::empty_root(),
    });
    report.signed = checkpoint.size;
    report.root = checkpoint.root.to_base64();
    let mut tree = AuthenticTree::new(
        TreeReader::new(dir.clone(), checkpoint.size),
        checkpoint.root,
    );
    let range = (request.from, request.to);
    let mut scan = Scan::new(&request.directory, &mut tree, unsigned, range);
    scan.files(&files, &mut faults);
    let found = scan.finish(checkpoint.size, &mut faults);
    if request.to.is_none() && request.from == 0 {
        check_tiles_before(found.first, &mut tree);
    }
    let mut roots = OlderRoots::new(request, last, &dir, &mut faults);
    let is_whole = request.from == 0 && request.to.is_none() && found.first == 0;
    let unproven = tree.take_faults();
    if !unproven.is_empty() || roots.needs_records() {
        // Tiles do not prove the records; if all of them are there, their own root does.
        let by_records = is_whole && roots.read_records(&request.directory, &checkpoint);
        faults.add_tiles(unproven, &found.unproven, by_records);
        report.proven = match by_records {
            true => found.end.min(checkpoint.size),
            false => found.proven,
        };
    } else {
        report.proven = found.proven;
    }
    report.older_checkpoints = roots.finish(&mut faults);
    if faults.count() == 0 {
        check_range(request, found.removed..found.seen.max(checkpoint.size))?;
    }
    report.take(&found, request, &dir);
    report.fault_count = faults.count();
    report.faults = faults.into_kept();
    report.ok = report.fault_count == 0;
    Ok(report)
}

/// Holds the last checkpoint against how far tiles are said to be durable, which is written after it.
fn check_frontier(
    durable: Result<Option<Frontier>, FrontierError>,
    last: Option<&Checkpoint>,
    report: &mut Report,
    faults: &mut Faults,
) -> io::Result<()> {
    let signed = last.map_or(0, |last| last.size);
    match durable {
        Ok(Some(durable)) if last.is_some() && durable.size() > signed => {
            faults.add(Fault::RolledBack {
                signed,
                durable: durable.size(),
            });
        }
        Ok(None) if signed > 0 => report.warnings.push(format!(
            "{TREE}/{FRONTIER_FILE} is missing: unless the log is of before there was one, it was taken away, and the last checkpoint may be an older one"
        )),
        Ok(_) => {}
        Err(FrontierError::Io(error)) => return Err(error),
        Err(FrontierError::Damaged(_)) => faults.add(Fault::File {
            file: format!("{TREE}/{FRONTIER_FILE}"),
            why: "it is damaged, which says how far the tree was durable".to_owned(),
        }),
    }
    Ok(())
}

impl Report {
    /// Takes over what was found beside faults, and warns if the checkpoint ends long before the records.
    fn take(&mut self, found: &Found, request: &Request, dir: &TileDir) {
        self.first = found.first.max(request.from);
        self.removed = found.removed;
        self.turned_back.clone_from(&found.turned_back);
        self.end = found.end;
        self.uncovered = found.end.saturating_sub(self.signed.max(self.first));
        self.torn_bytes = found.torn_bytes;
        let times = found.uncovered_times;
        let took = times.map_or(0, |(earliest, latest)| latest.saturating_sub(earliest));
        let took = Duration::from_nanos(took);
        // On a server that runs, it has gone on while the records were read.
        let is_last = || checkpoint(dir, &request.key).is_ok_and(|it| it.size == self.signed);
        if took > LONG_UNCOVERED && is_last() {
            self.warnings.push(format!(
                "the records after the last checkpoint were logged over {} s, and one is signed every second: unless the log went on without its tree, or was copied meanwhile, an older one was put in its place",
                took.as_secs()
            ));
        }
    }
}

/// Refuses what is wrong whatever the log is.
fn check_request(request: &Request) -> io::Result<()> {
    if let Some(to) = request.to.filter(|to| *to < request.from) {
        let why = format!(
            "record {}, the first one to verify, comes after record {to}, the last",
            request.from
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    for (name, note) in &request.older {
        if let Err(error) = Checkpoint::open(note, &request.key)
            && error.is_form()
        {
            let why = format!("`{name}` is no checkpoint: {error}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
    }
    Ok(())
}

/// Refuses a range that begins or ends where a log without faults has no records: of those that it ever had, the oldest are
/// removed. Without a range all that is there is verified.
fn check_range(request: &Request, has: Range<u64>) -> io::Result<()> {
    let error = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    let is_removed = |index: &u64| *index < has.start;
    let from = Some(request.from).filter(|from| *from > 0);
    if let Some(index) = [from, request.to].into_iter().flatten().find(is_removed) {
        return error(format!(
            "the log has no record {index} any more: those before {} were removed by their age or size",
            has.start
        ));
    }
    let last = request.to.unwrap_or(request.from);
    // Of a log without records all is there.
    if last < has.end || (request.from == 0 && request.to.is_none()) {
        return Ok(());
    }
    let has = match has.end {
        0 => "it has none".to_owned(),
        end => format!("its last one is {}", end - 1),
    };
    error(format!("the log has no record {last}: {has}"))
}

/// Checks the tiles of leaves whose records were removed.
fn check_tiles_before(first: u64, tree: &mut AuthenticTree) {
    for index in 0..first.min(tree.size()).div_ceil(TILE_WIDTH as u64) {
        tree.check(TileId { level: 0, index });
    }
}

/// Older checkpoints, and the roots that the log has at their sizes.
struct OlderRoots {
    older: Vec<(String, Checkpoint)>,
    /// The root at the size of each, where it is known.
    roots: Vec<Option<TreeHash>>,
}

impl OlderRoots {
    /// Reads them. Where there is no last checkpoint, none is held against anything.
    fn new(
        request: &Request,
        last: Option<Checkpoint>,
        dir: &TileDir,
        faults: &mut Faults,
    ) -> Self {
        let mut known = Self {
            older: Vec::new(),
            roots: Vec::new(),
        };
        for (name, note) in &request.older {
            let Some(last) = &last else {
                faults.add(Fault::Older {
                    checkpoint: name.clone(),
                    why: "the last checkpoint is of no use".to_owned(),
                });
                continue;
            };
            match Checkpoint::open(note, &request.key) {
                Ok(older) if older.size > last.size => faults.add(Fault::Older {
                    checkpoint: name.clone(),
                    why: format!(
                        "it is over {} records, the last one over {}: records were cut off",
                        older.size, last.size
                    ),
                }),
                Ok(older) => {
                    known.roots.push(proven_root(&older, last, dir));
                    known.older.push((name.clone(), older));
                }
                Err(error) => faults.add(Fault::Older {
                    checkpoint: name.clone(),
                    why: error.to_string(),
                }),
            }
        }
        known
    }

    fn needs_records(&self) -> bool {
        self.roots.iter().any(Option::is_none)
    }

    /// Works out all roots from the records, and says whether that at the size of the last checkpoint is its root.
    fn read_records(&mut self, directory: &Path, last: &Checkpoint) -> bool {
        let mut tree = Frontier::default();
        let mut is_last = last.size == 0;
        let mut expected = 0;
        let all_read = scan::each_leaf(directory, &mut |index, leaf| {
            if index != expected {
                return false;
            }
            expected += 1;
            tree.push(leaf, |_, _| {});
            for ((_, older), root) in self.older.iter().zip(&mut self.roots) {
                if older.size == tree.size() && root.is_none() {
                    *root = Some(tree.root());
                }
            }
            if tree.size() == last.size {
                is_last = tree.root() == last.root;
            }
            tree.size() < last.size
        });
        all_read.is_ok() && is_last
    }

    /// Compares, and counts those that the log extends.
    fn finish(self, faults: &mut Faults) -> usize {
        let mut extended = 0;
        for ((name, older), root) in self.older.into_iter().zip(self.roots) {
            let why = match root {
                Some(root) if root == older.root => {
                    extended += 1;
                    continue;
                }
                Some(_) => "its root is another: the log was changed before this size",
                None => "neither tiles nor records lead to its root",
            };
            faults.add(Fault::Older {
                checkpoint: name,
                why: why.to_owned(),
            });
        }
        extended
    }
}

/// The older root, if tiles prove that the tree of the last checkpoint extends it. `None` if they do not: they may be
/// damaged.
fn proven_root(older: &Checkpoint, last: &Checkpoint, dir: &TileDir) -> Option<TreeHash> {
    let mut tiles = TreeReader::new(dir.clone(), last.size);
    let proof = merkle::consistency_proof(&mut tiles, older.size, last.size).ok()?;
    let verified =
        merkle::verify_consistency(&proof, (older.size, older.root), (last.size, last.root));
    verified.ok().map(|()| older.root)
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;

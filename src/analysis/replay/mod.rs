//! Replay: recorded decisions, made again with another bundle.
//!
//! Start at [`replay`]. A [`candidate::Candidate`] is the bundle; [`report`] groups what comes out differently;
//! [`log`] reads the decisions of a decision log, and `context_reads` says what policies read of the context; [`entries`] is about lists and searches; [`explained`] explains one decision; [`observed`] proposes what to register and permit for calls that were let through in observe mode.
//!
//! Invariant: nothing is guessed. A record whose capsule is gone, damaged, or without a fact that the candidate reads
//! is counted as such.

pub mod candidate;
mod context_reads;
pub mod entries;
pub mod explained;
pub mod log;
pub mod observed;
pub mod outcome;
pub mod report;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::SystemTime;

use smol_str::SmolStr;

use crate::analysis::replay::candidate::{Candidate, Obstacle, ReplayedAnswer, Replayer};
use crate::analysis::replay::entries::ReplayedEntry;
use crate::analysis::replay::report::{ReplayReport, Tally};
use crate::audit::capsule::{CapsuleError, CapsuleKey, CapsuleLink, SealedCapsules};
use crate::audit::capsule_content::Capsule;
use crate::domain::reason::ReasonCode;

/// Records handed to a worker at once.
const PIECE: usize = 256;
/// Stack of a worker: evaluating deeply nested policies exceeds the default.
const STACK_BYTES: usize = 8 << 20;

/// Which lists of a record may lack entries, since it was cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CutLists {
    /// The determining policies.
    pub policies: bool,
    /// The obligations.
    pub obligations: bool,
}

/// A recorded decision.
#[derive(Debug, Clone)]
pub struct RecordedDecision {
    /// Its place in the log.
    pub index: u64,
    /// Its id.
    pub decision_id: String,
    /// When it was made.
    pub at: SystemTime,
    /// Whether it allowed; for an observed one, whether it would have.
    pub is_allow: bool,
    /// Whether it was enforced. What observe mode let through was not.
    pub is_enforced: bool,
    /// Of a list that was not enforced: how many entries were shown that would have been hidden.
    pub shown: u64,
    /// The codes of its reasons, in order.
    pub codes: Vec<SmolStr>,
    /// The ids of its determining policies.
    pub policies: Vec<SmolStr>,
    /// The ids of its obligations.
    pub obligations: Vec<SmolStr>,
    /// Which of the two may lack entries.
    pub cut: CutLists,
    /// What it was made from.
    pub capsule: RecordedCapsule,
}

/// The capsule of a recorded decision.
#[derive(Debug, Clone)]
pub enum RecordedCapsule {
    /// The encoded capsule.
    Kept(Vec<u8>),
    /// The capsule as the decision log keeps it.
    Sealed(SealedCapsule),
    /// It is there, and there is no key for it.
    NoKey,
    /// There is none: none was written, or it was dropped.
    Gone,
    /// It was written and not dropped, and is not there.
    Lost,
    /// There is none, and it is about a list or a search: none was written for these before, and none is for large ones.
    List,
}

/// A capsule that is encrypted. It is opened where it is replayed, so that several are opened at once.
#[derive(Debug, Clone)]
pub struct SealedCapsule {
    /// The key of the log.
    pub key: Arc<CapsuleKey>,
    /// Where it may be; the one that the record means counts.
    pub groups: Vec<Arc<SealedCapsules>>,
    /// The index of the record.
    pub index: u64,
    /// By what the record knows it.
    pub link: CapsuleLink,
}

impl SealedCapsule {
    fn open(&self) -> Result<Option<Vec<u8>>, CapsuleError> {
        self.key.open_one_of(&self.groups, self.index, &self.link)
    }
}

impl RecordedDecision {
    /// Whether it was made from what its capsule holds.
    pub fn was_evaluated(&self) -> bool {
        let first = self.codes.first();
        let mut not_evaluated = ReasonCode::NOT_EVALUATED.iter();
        !first.is_some_and(|first| not_evaluated.any(|code| code.as_str() == first))
    }
}

/// Replays decisions on `workers` threads. `progress` is told the number of records done so far.
pub fn replay(
    candidate: &Candidate,
    records: impl Iterator<Item = RecordedDecision>,
    workers: usize,
    mut progress: impl FnMut(u64),
) -> ReplayReport {
    let mut done = 0;
    let mut tally = Tally::default();
    for_each(
        candidate,
        records,
        workers,
        |replayer, record, tally: &mut Tally| tally.add(record, replay_one(replayer, record)),
        &mut |piece| {
            done += piece;
            progress(done);
        },
        &mut tally,
        Tally::merge,
    );
    tally.into_report(candidate)
}

/// What replay makes of one record.
pub(in crate::analysis::replay) enum Replayed {
    /// Its capsule, and the answer of the candidate.
    Answer(Box<Capsule>, Box<ReplayedAnswer>),
    /// The capsule of a list or a search, and what the candidate makes of each entry.
    Entries(Box<Capsule>, Vec<ReplayedEntry>),
    /// It was not made from what a capsule holds.
    NotEvaluated,
    /// There is no capsule.
    Gone,
    /// It is about a list or a search, and there is no capsule.
    List,
    /// The capsule cannot be used.
    Obstacle(Obstacle),
}

/// Passes each record to `each`, with what replays it and a value of the worker's own.
pub(in crate::analysis::replay) fn for_each<T: Default + Send>(
    candidate: &Candidate,
    records: impl Iterator<Item = RecordedDecision>,
    workers: usize,
    each: impl Fn(&mut Replayer<'_>, &RecordedDecision, &mut T) + Sync,
    progress: &mut dyn FnMut(u64),
    all: &mut T,
    merge: impl Fn(&mut T, T),
) {
    let (send, receive) = mpsc::sync_channel::<Vec<RecordedDecision>>(2 * workers.max(1));
    let receive = Mutex::new(receive);
    let work = || {
        let mut own = T::default();
        let mut replayer = Replayer::new(candidate);
        loop {
            let next = receive
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .recv();
            let Ok(piece) = next else { return own };
            for record in &piece {
                each(&mut replayer, record, &mut own);
            }
        }
    };
    thread::scope(|scope| {
        let spawn = |_| {
            let worker = thread::Builder::new().stack_size(STACK_BYTES);
            worker.spawn_scoped(scope, work).ok()
        };
        let workers: Vec<_> = (0..workers.max(1)).filter_map(spawn).collect();
        let mut inline = Replayer::new(candidate);
        let mut records = records.peekable();
        while records.peek().is_some() {
            let piece: Vec<RecordedDecision> = records.by_ref().take(PIECE).collect();
            let count = piece.len() as u64;
            match workers.is_empty() {
                // Without a free thread the current one does the work.
                true => {
                    for record in &piece {
                        each(&mut inline, record, all);
                    }
                }
                // The receiver lives as long as this function.
                false => drop(send.send(piece)),
            }
            progress(count);
        }
        drop(send);
        for worker in workers {
            match worker.join() {
                Ok(own) => merge(all, own),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
}

/// Opens the capsule of a record; the error says why there is nothing to replay.
fn open_capsule(record: &RecordedDecision) -> Result<Capsule, Replayed> {
    if !record.was_evaluated() {
        return Err(Replayed::NotEvaluated);
    }
    let opened;
    let bytes = match &record.capsule {
        RecordedCapsule::Kept(bytes) => bytes,
        RecordedCapsule::Gone => return Err(Replayed::Gone),
        RecordedCapsule::NoKey => {
            let why = "there is no key that opens its capsule".to_owned();
            return Err(Replayed::Obstacle(Obstacle::Sealed(why)));
        }
        RecordedCapsule::Lost => return Err(Replayed::Obstacle(Obstacle::Lost)),
        RecordedCapsule::List => return Err(Replayed::List),
        RecordedCapsule::Sealed(sealed) => match sealed.open() {
            Ok(Some(bytes)) => {
                opened = bytes;
                &opened
            }
            Ok(None) => return Err(Replayed::Obstacle(Obstacle::Lost)),
            Err(error) => {
                return Err(Replayed::Obstacle(Obstacle::Sealed(error.to_string())));
            }
        },
    };
    Capsule::decode(bytes).map_err(|error| Replayed::Obstacle(Obstacle::Capsule(error)))
}

fn replay_one(replayer: &mut Replayer<'_>, record: &RecordedDecision) -> Replayed {
    let capsule = match open_capsule(record) {
        Ok(capsule) => capsule,
        Err(nothing) => return nothing,
    };
    // The service turns a panic into a deny; here it is one record that tells nothing.
    let replayed = catch_unwind(AssertUnwindSafe(|| decide_again(replayer, capsule)));
    replayed
        .unwrap_or(Err(Obstacle::Failed))
        .unwrap_or_else(Replayed::Obstacle)
}

fn decide_again(replayer: &mut Replayer<'_>, capsule: Capsule) -> Result<Replayed, Obstacle> {
    let capsule = Box::new(capsule);
    Ok(match replayer.replay_entries(&capsule)? {
        Some(entries) => Replayed::Entries(capsule, entries),
        None => {
            let answer = replayer.answer(&capsule)?;
            Replayed::Answer(capsule, Box::new(answer))
        }
    })
}

#[cfg(test)]
mod tests;

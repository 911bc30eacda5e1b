//! The tools and agents that are denied most, named in a fixed number of series.
//!
//! A Space-Saving sketch (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data
//! Streams, 2005) counts names in fixed memory: a name that finds no room takes the place of the one with the lowest count,
//! and goes on from that count. So counts are never too low, and too high by at most all denies divided by the size of the
//! sketch. Two sketches take turns, so what is shown is of the last five to ten minutes.
//!
//! Invariant: memory and series are bounded. Names that the directory does not know are one name, [`OTHER`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use callgate_engine::cedar::EntityUID;
use foldhash::fast::RandomState;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use smol_str::SmolStr;

use crate::audit::decision_record::{DecisionRecord, RecordedRequest};
use crate::domain::schema::{self, TYPES};
use crate::telemetry::record::bounded_names::OTHER;

/// How long denies are counted in one sketch.
const TURN: Duration = Duration::from_secs(300);
/// Names in a sketch for each one that is shown: the more, the closer the counts.
const SPARE: usize = 8;
/// The fewest names in a sketch.
const LEAST_NAMES: usize = 64;

type DenyCounts = hashbrown::HashMap<SmolStr, u64, RandomState>;

/// Denies by tool and by agent. Clones share the counts.
#[derive(Debug, Clone)]
pub(super) struct TopDenied {
    tools: Arc<RecentTop>,
    agents: Arc<RecentTop>,
}

impl TopDenied {
    /// Builds the instruments, which name this many tools and agents. `None` if there are to be none.
    pub(super) fn observe(top: u32, meter: &Meter) -> Option<Self> {
        let top = usize::try_from(top).ok().filter(|top| *top > 0)?;
        let denied = Self {
            tools: Arc::new(RecentTop::new(top, Instant::now())),
            agents: Arc::new(RecentTop::new(top, Instant::now())),
        };
        gauge(
            meter,
            "callgate.denied.tools",
            "callgate.tool",
            &denied.tools,
        );
        gauge(
            meter,
            "callgate.denied.agents",
            "callgate.agent",
            &denied.agents,
        );
        Some(denied)
    }

    /// Counts a denied call, list or question of Cedar's own. A dry run is no call.
    pub(super) fn note(&self, record: &DecisionRecord<'_>) {
        if record.decision.is_allow() || record.is_dry_run {
            return;
        }
        let now = Instant::now();
        let note = |counts: &RecentTop, uid: &EntityUID| {
            let is_known = record.snapshot.is_some_and(|it| it.contains(uid));
            counts.note(if is_known { uid.eid().as_ref() } else { OTHER }, now);
        };
        let subject = match record.question {
            RecordedRequest::Call(call) | RecordedRequest::Filter { call, .. } => {
                if let Some(tool) = call.operation.kind.tool_call() {
                    let uid = schema::tool_uid(&call.operation.server, &tool.tool);
                    note(&self.tools, &uid);
                }
                &call.subject.entity
            }
            RecordedRequest::Cedar {
                principal,
                resource,
                ..
            } => {
                if *resource.entity_type() == TYPES.tool {
                    note(&self.tools, resource);
                }
                principal
            }
            // What is not found is not denied.
            RecordedRequest::Search { .. } => return,
        };
        if *subject.entity_type() == TYPES.agent {
            note(&self.agents, subject);
        }
    }
}

fn gauge(meter: &Meter, name: &'static str, label: &'static str, counts: &Arc<RecentTop>) {
    let counts = Arc::clone(counts);
    meter
        .u64_observable_gauge(name)
        .with_unit("{decision}")
        .with_description("Denies of the last five to ten minutes, of those that are denied most")
        .with_callback(move |observer| {
            for (name, count) in counts.top(Instant::now()) {
                observer.observe(count, &[KeyValue::new(label, String::from(name))]);
            }
        })
        .build();
}

/// Two sketches that take turns.
#[derive(Debug)]
struct RecentTop {
    shown: usize,
    turns: Mutex<Turns>,
}

#[derive(Debug)]
struct Turns {
    started_at: Instant,
    current: Sketch,
    previous: Sketch,
}

impl RecentTop {
    fn new(shown: usize, now: Instant) -> Self {
        let room = (shown * SPARE).max(LEAST_NAMES);
        Self {
            shown,
            turns: Mutex::new(Turns {
                started_at: now,
                current: Sketch::new(room),
                previous: Sketch::new(room),
            }),
        }
    }

    fn note(&self, name: &str, now: Instant) {
        self.turns(now).current.add(name);
    }

    /// The names with the most denies, highest first; those with equal counts by name.
    fn top(&self, now: Instant) -> Vec<(SmolStr, u64)> {
        let mut sums = DenyCounts::default();
        {
            let turns = self.turns(now);
            for (name, count) in turns.current.counts.iter().chain(&turns.previous.counts) {
                *sums.entry(name.clone()).or_default() += count;
            }
        }
        let mut sorted: Vec<_> = sums.into_iter().collect();
        sorted.sort_by(|(a, more), (b, less)| less.cmp(more).then_with(|| a.cmp(b)));
        sorted.truncate(self.shown);
        sorted
    }

    fn turns(&self, now: Instant) -> MutexGuard<'_, Turns> {
        // The counts are valid also after a panic while they were locked.
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.saturating_duration_since(turns.started_at);
        if age >= TURN {
            let Turns {
                started_at,
                current,
                previous,
            } = &mut *turns;
            std::mem::swap(current, previous);
            current.counts.clear();
            if age >= 2 * TURN {
                previous.counts.clear();
            }
            *started_at = now;
        }
        turns
    }
}

/// Counts of at most `room` names.
#[derive(Debug)]
struct Sketch {
    room: usize,
    counts: DenyCounts,
}

impl Sketch {
    fn new(room: usize) -> Self {
        Self {
            room,
            counts: DenyCounts::with_capacity_and_hasher(room, RandomState::default()),
        }
    }

    fn add(&mut self, name: &str) {
        if let Some(count) = self.counts.get_mut(name) {
            *count += 1;
            return;
        }
        let mut count = 1;
        if self.counts.len() >= self.room {
            let lowest = self.counts.iter().min_by_key(|(_, count)| **count);
            if let Some((lowest, its)) = lowest.map(|(name, count)| (name.clone(), *count)) {
                self.counts.remove(&lowest);
                count += its;
            }
        }
        self.counts.insert(name.into(), count);
    }
}

#[cfg(test)]
#[path = "top_denied_tests.rs"]
mod tests;

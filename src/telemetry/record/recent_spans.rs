//! The spans of recent decisions and approvals, so that later spans can link to them.
//!
//! A link names a span by its trace and span id (OpenTelemetry, "Link"). Calls name a decision or an approval by its id, so the
//! spans of the last ones are kept by these ids, in fixed memory. Every decision is kept and hardly one is looked for: so those
//! of one millisecond are written one after the other into a few shards, which is cheap, and found by looking through all of one.
//! Approvals are in two halves, and when one is full the older one is forgotten.
//!
//! Invariant: what is kept is bounded, and a lookup waits for no more than another lookup.

use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};
use opentelemetry::trace::{SpanId, TraceId};
use uuid::Uuid;

use crate::domain::ids::{ApprovalId, CallDigest};
use crate::telemetry::export::otlp_encoder::SpanIds;

/// Decisions in a shard, and shards: 65,024 decisions in under 3 MB, and 20 kB to look through for one. The number of shards is
/// prime, so that calls that come as often as a clock ticks do not all meet in a few of them.
const DECISIONS: usize = 512;
const SHARDS: usize = 127;
/// The bits of an id beside its millisecond that choose its shard: decisions of one millisecond are spread over four locks.
const RANDOM_BITS: u32 = 2;
/// Approvals, and denies that an approval would turn, in one half.
const APPROVALS: usize = 4_096;

/// Spans by what they are about.
#[derive(Debug)]
pub(super) struct RecentSpans {
    decisions: Box<[Mutex<RecentDecisions>]>,
    /// Denies by the digest of their challenge.
    denied: Mutex<Recent<CallDigest, (Uuid, SpanIds)>>,
    approvals: Mutex<Recent<ApprovalId, ApprovalSpans>>,
}

/// The spans of an approval.
#[derive(Debug, Clone, Default)]
pub(super) struct ApprovalSpans {
    /// The decision that was denied for lack of it.
    pub(super) denied: Option<(Uuid, SpanIds)>,
    /// The request for it.
    pub(super) requested: Option<SpanIds>,
    /// What a person said.
    pub(super) decided: Option<SpanIds>,
}

/// The last decisions of a shard.
#[derive(Debug, Default)]
struct RecentDecisions {
    spans: Vec<DecisionSpan>,
    /// The `tracestate` of those that have one, which are few, by their places.
    trace_states: HashMap<usize, String, RandomState>,
    /// Where the next one goes once there are [`DECISIONS`].
    oldest: usize,
}

/// What a link needs of the span of a decision, but for its `tracestate`.
#[derive(Debug, Clone, Copy)]
struct DecisionSpan {
    decision: Uuid,
    trace_id: TraceId,
    span_id: SpanId,
}

impl RecentDecisions {
    fn put(&mut self, decision: Uuid, span: &SpanIds) {
        let place = self.place_of_next();
        let kept = DecisionSpan {
            decision,
            trace_id: span.trace_id,
            span_id: span.span_id,
        };
        match self.spans.get_mut(place) {
            Some(oldest) => *oldest = kept,
            None => self.spans.push(kept),
        }
        if !span.trace_state.is_empty() {
            self.trace_states.insert(place, span.trace_state.clone());
        } else if !self.trace_states.is_empty() {
            self.trace_states.remove(&place);
        }
    }

    fn place_of_next(&mut self) -> usize {
        if self.spans.len() < DECISIONS {
            return self.spans.len();
        }
        let next = (self.oldest + 1) % DECISIONS;
        std::mem::replace(&mut self.oldest, next)
    }

    fn get(&self, decision: Uuid) -> Option<SpanIds> {
        let place = self.spans.iter().position(|it| it.decision == decision)?;
        let kept = self.spans.get(place)?;
        Some(SpanIds {
            trace_id: kept.trace_id,
            span_id: kept.span_id,
            // A link names no parent.
            parent: None,
            trace_state: self.trace_states.get(&place).cloned().unwrap_or_default(),
        })
    }
}

/// Entries of which the older half is forgotten when there are too many.
#[derive(Debug)]
struct Recent<K, V> {
    newer: HashMap<K, V, RandomState>,
    older: HashMap<K, V, RandomState>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self {
            newer: HashMap::default(),
            older: HashMap::default(),
        }
    }
}

impl<K: Hash + Eq, V> Recent<K, V> {
    fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<&V> {
        self.newer.get(key).or_else(|| self.older.get(key))
    }

    fn put(&mut self, key: K, value: V, half: usize) {
        if self.newer.len() >= half {
            std::mem::swap(&mut self.newer, &mut self.older);
            self.newer.clear();
        }
        self.newer.insert(key, value);
    }
}

impl Default for RecentSpans {
    fn default() -> Self {
        Self {
            decisions: (0..SHARDS).map(|_| Mutex::default()).collect(),
            denied: Mutex::default(),
            approvals: Mutex::default(),
        }
    }
}

impl RecentSpans {
    /// Keeps the span of a decision, and the digest of its challenge.
    pub(super) fn decided(&self, id: Uuid, challenge: Option<&CallDigest>, span: &SpanIds) {
        lock(self.shard(id)).put(id, span);
        if let Some(digest) = challenge {
            lock(&self.denied).put(digest.clone(), (id, span.clone()), APPROVALS);
        }
    }

    /// The span of a decision.
    pub(super) fn decision(&self, id: Uuid) -> Option<SpanIds> {
        lock(self.shard(id)).get(id)
    }

    /// Keeps the span of a request for an approval, or of what was said to it.
    pub(super) fn approval_written(
        &self,
        id: ApprovalId,
        digest: &CallDigest,
        is_request: bool,
        span: &SpanIds,
    ) {
        let denied = lock(&self.denied).get(digest).cloned();
        let mut approvals = lock(&self.approvals);
        let mut spans = approvals.get(&id).cloned().unwrap_or_default();
        spans.denied = spans.denied.or(denied);
        match is_request {
            true => spans.requested = Some(span.clone()),
            false => spans.decided = Some(span.clone()),
        }
        approvals.put(id, spans, APPROVALS);
    }

    /// The decision that was denied with this challenge.
    pub(super) fn denied(&self, digest: &CallDigest) -> Option<(Uuid, SpanIds)> {
        lock(&self.denied).get(digest).cloned()
    }

    /// The spans of an approval.
    pub(super) fn approval(&self, id: &ApprovalId) -> ApprovalSpans {
        lock(&self.approvals).get(id).cloned().unwrap_or_default()
    }

    fn shard(&self, id: Uuid) -> &Mutex<RecentDecisions> {
        // A UUID version 7 begins with 48 bits of milliseconds and ends with random ones.
        let [_, _, a, b, c, d, .., last] = *id.as_bytes();
        let millis = u32::from_be_bytes([a, b, c, d]);
        let random = u32::from(last) % (1 << RANDOM_BITS);
        let place = millis << RANDOM_BITS | random;
        &self.decisions[place as usize % SHARDS]
    }
}

/// Each change is one step, so entries are whole also after a panic while they were locked.
fn lock<T>(entries: &Mutex<T>) -> MutexGuard<'_, T> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "recent_spans_tests.rs"]
mod tests;

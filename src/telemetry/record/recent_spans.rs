//! The spans of recent decisions and approvals, so that later spans can link to them.
//!
//! A link names a span by its trace and span id (OpenTelemetry, "Link"). Calls name a decision or an approval by its id, so the
//! spans of the last ones are kept by these ids, in fixed memory. Every decision is kept and hardly one is looked for: so decisions
//! are written one after the other, which is cheap, and found by looking through the ids of a shard. Approvals are in two
//! halves, and when one is full the older one is forgotten.
//!
//! Invariant: what is kept is bounded, and a lookup waits for no more than another lookup.

use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};
use uuid::Uuid;

use crate::domain::ids::{ApprovalId, CallDigest};
use crate::telemetry::export::otlp_encoder::SpanIds;

/// Decisions in a shard, and shards: 65,536 decisions in about 5 MB, and 8 kB of ids to look through for one.
const DECISIONS: usize = 512;
const SHARDS: usize = 128;
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
    ids: Vec<Uuid>,
    /// As many, in the same order.
    spans: Vec<SpanIds>,
    /// Where the next one goes once there are [`DECISIONS`].
    oldest: usize,
}

impl RecentDecisions {
    fn put(&mut self, id: Uuid, span: SpanIds) {
        if self.ids.len() < DECISIONS {
            self.ids.push(id);
            self.spans.push(span);
            return;
        }
        self.ids[self.oldest] = id;
        self.spans[self.oldest] = span;
        self.oldest = (self.oldest + 1) % DECISIONS;
    }

    fn get(&self, id: Uuid) -> Option<&SpanIds> {
        let at = self.ids.iter().position(|it| *it == id)?;
        self.spans.get(at)
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
        lock(self.shard(id)).put(id, span.clone());
        if let Some(digest) = challenge {
            lock(&self.denied).put(digest.clone(), (id, span.clone()), APPROVALS);
        }
    }

    /// The span of a decision.
    pub(super) fn decision(&self, id: Uuid) -> Option<SpanIds> {
        lock(self.shard(id)).get(id).cloned()
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
        // The last byte of a UUID version 7 is random.
        let [.., last] = *id.as_bytes();
        &self.decisions[usize::from(last) % SHARDS]
    }
}

/// Each change is one step, so entries are whole also after a panic while they were locked.
fn lock<T>(entries: &Mutex<T>) -> MutexGuard<'_, T> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "recent_spans_tests.rs"]
mod tests;

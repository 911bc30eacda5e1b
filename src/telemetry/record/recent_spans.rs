//! The spans of recent decisions and approvals, so that later spans can link to them.
//!
//! A link names a span by its trace and span id (OpenTelemetry, "Link"). Calls name a decision or an approval by its id, so the
//! spans of the last ones are kept by these ids, in fixed memory: entries are in two halves, and when one is full the older one
//! is forgotten.
//!
//! Invariant: what is kept is bounded, and a lookup waits for no more than another lookup.

use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};
use uuid::Uuid;

use crate::domain::ids::{ApprovalId, CallDigest};
use crate::telemetry::export::otlp_encoder::SpanIds;

/// Decisions in one half of a shard, and shards. So the last 32,768 decisions are known at least, in about 5 MB.
const DECISIONS: usize = 2_048;
const SHARDS: usize = 16;
/// Approvals, and denies that an approval would turn, in one half.
const APPROVALS: usize = 4_096;

/// Spans by what they are about.
#[derive(Debug, Default)]
pub(super) struct RecentSpans {
    decisions: [Mutex<Recent<Uuid, SpanIds>>; SHARDS],
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

impl RecentSpans {
    /// Keeps the span of a decision, and the digest of its challenge.
    pub(super) fn decided(&self, id: Uuid, challenge: Option<&CallDigest>, span: &SpanIds) {
        lock(self.shard(id)).put(id, span.clone(), DECISIONS);
        if let Some(digest) = challenge {
            lock(&self.denied).put(digest.clone(), (id, span.clone()), APPROVALS);
        }
    }

    /// The span of a decision.
    pub(super) fn decision(&self, id: Uuid) -> Option<SpanIds> {
        lock(self.shard(id)).get(&id).cloned()
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

    fn shard(&self, id: Uuid) -> &Mutex<Recent<Uuid, SpanIds>> {
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

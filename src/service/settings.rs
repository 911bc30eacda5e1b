//! How long the service waits, and how much it remembers.

use std::time::Duration;

use crate::domain::decide::inputs;
use crate::service::idempotency::KeyLimits;

/// How long the service waits, and how much it remembers.
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// How long a demand for a later revision may wait before it is denied with `STALE`.
    pub stale_wait: Duration,
    /// How long the challenge of a deny is good for.
    pub approval_valid_for: Duration,
    /// Most sessions that are remembered at once.
    pub sessions: usize,
    /// How long a session must be silent before it may be forgotten.
    pub session_idle: Duration,
    /// Most tasks, delegations and pairs of an agent and a person whose labels are remembered at once.
    pub carriers: usize,
    /// How long what an agent has read for a person counts wherever that is not shed.
    pub pair_for: Duration,
    /// Most places whose labels are remembered at once, what contains them included.
    pub places: usize,
    /// How long the labels of what was written to a place count there.
    pub resource_label_ttl: Duration,
    /// Most actors, and pairs of an actor and a tool, that are counted at once.
    pub counted: usize,
    /// Most idempotency keys that are remembered at once.
    pub keys: KeyLimits,
    /// How long a definition that is not the pinned one is remembered after a list has shown it.
    pub definition_ttl: Duration,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            stale_wait: Duration::from_millis(500),
            approval_valid_for: inputs::DEFAULT_VALIDITY,
            sessions: 1_000_000,
            session_idle: Duration::from_secs(24 * 3_600),
            carriers: 1_000_000,
            pair_for: Duration::from_secs(60 * 60),
            places: 1_000_000,
            resource_label_ttl: Duration::from_secs(30 * 24 * 3_600),
            counted: 1_000_000,
            keys: KeyLimits {
                all: 1_000_000,
                caller: 250_000,
            },
            definition_ttl: Duration::from_secs(15 * 60),
        }
    }
}

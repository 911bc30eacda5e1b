//! Timeouts and capacities of the service.

use std::time::Duration;

use crate::config::Config;
use crate::domain::decide::inputs;
use crate::service::idempotency::KeyLimits;

/// How long the service waits, and how much it remembers.
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// How long a request waits for the revision it demands before it is denied with `STALE`.
    pub stale_wait: Duration,
    /// The validity of the challenge of a deny.
    pub approval_valid_for: Duration,
    /// The most sessions in memory.
    pub sessions: usize,
    /// How long a silent session is kept at least.
    pub session_idle: Duration,
    /// The most tasks, delegations and pairs of actor and root with labels in memory.
    pub carriers: usize,
    /// The lifetime of labels of a pair of actor and root.
    pub pair_label_ttl: Duration,
    /// The most resources with labels in memory, those that contain them included.
    pub labeled_resources: usize,
    /// The lifetime of labels of a resource.
    pub resource_label_ttl: Duration,
    /// The most actors, and pairs of an actor with a tool or a root, with usage in memory.
    pub usage_entries: usize,
    /// The most idempotency keys.
    pub idempotency_keys: KeyLimits,
    /// The lifetime of a shown definition that differs from the pinned one.
    pub definition_ttl: Duration,
}

impl ServiceSettings {
    /// What a configuration says.
    pub fn from_config(config: &Config) -> Self {
        let hours = |count: u32| Duration::from_secs(u64::from(count) * 3_600);
        let limits = &config.limits;
        Self {
            stale_wait: Duration::from_millis(limits.stale_wait_ms.into()),
            approval_valid_for: Duration::from_secs(limits.approval_valid_seconds.into()),
            sessions: limits.sessions as usize,
            carriers: limits.carriers as usize,
            pair_label_ttl: Duration::from_secs(60 * u64::from(config.memory.pair_minutes)),
            idempotency_keys: KeyLimits {
                total: limits.idempotency_keys as usize,
                per_caller: limits.idempotency_keys_per_caller as usize,
            },
            usage_entries: limits.usage_entries as usize,
            labeled_resources: limits.places as usize,
            resource_label_ttl: 24 * hours(config.memory.place_days),
            session_idle: hours(config.state.session_idle_hours),
            definition_ttl: Duration::from_secs(u64::from(limits.changed_definition_minutes) * 60),
        }
    }
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            stale_wait: Duration::from_millis(500),
            approval_valid_for: inputs::DEFAULT_VALIDITY,
            sessions: 1_000_000,
            session_idle: Duration::from_secs(24 * 3_600),
            carriers: 1_000_000,
            pair_label_ttl: Duration::from_secs(60 * 60),
            labeled_resources: 1_000_000,
            resource_label_ttl: Duration::from_secs(30 * 24 * 3_600),
            usage_entries: 1_000_000,
            idempotency_keys: KeyLimits {
                total: 1_000_000,
                per_caller: 250_000,
            },
            definition_ttl: Duration::from_secs(15 * 60),
        }
    }
}

//! `[observe]`: calls that are decided and recorded as ever, and allowed.

use serde::Deserialize;

/// The most callers, and the most servers, that can be named.
pub(super) const MAX_NAMES: usize = 1_000;

/// What is only observed. Nothing by default. Reloaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObserveConfig {
    /// Every call.
    pub service: bool,
    /// Calls of these callers, by their `id`.
    pub callers: Vec<String>,
    /// Calls on these servers, by their registered name.
    pub servers: Vec<String>,
}

impl ObserveConfig {
    /// Whether nothing is only observed.
    pub fn is_off(&self) -> bool {
        !self.service && self.callers.is_empty() && self.servers.is_empty()
    }

    /// Whether a call of this caller on this server is only observed.
    pub fn covers(&self, caller: &str, server: Option<&str>) -> bool {
        self.service
            || self.callers.iter().any(|it| it == caller)
            || server.is_some_and(|server| self.servers.iter().any(|it| it == server))
    }

    /// The same, `None` if nothing is only observed.
    pub fn on_summary(&self) -> Option<String> {
        (!self.is_off()).then(|| self.summary())
    }

    /// Whether the other observes at least what this one does.
    pub fn is_within(&self, other: &Self) -> bool {
        let is_part = |of: &[String], all: &[String]| of.iter().all(|it| all.contains(it));
        other.service
            || (!self.service
                && is_part(&self.callers, &other.callers)
                && is_part(&self.servers, &other.servers))
    }

    /// What is only observed, for people: `nothing`, `the whole service`, or callers and servers.
    pub fn summary(&self) -> String {
        if self.is_off() {
            return "nothing".to_owned();
        }
        if self.service {
            return "the whole service".to_owned();
        }
        let callers = self.callers.iter().map(|it| format!("caller {it}"));
        let servers = self.servers.iter().map(|it| format!("server {it}"));
        callers.chain(servers).collect::<Vec<_>>().join(", ")
    }
}

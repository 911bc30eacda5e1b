//! What repeated log lines have in common, and the lines that stand for many of them.

use std::sync::Arc;

use crate::audit::record::DecisionRecord;
use crate::telemetry::mapping::{self, LogFields};
use crate::telemetry::metrics::Refusal;
use crate::telemetry::repeats::Key;
use crate::telemetry::sink::standing_for;

/// What denies have in common that are one line's worth: who, for whom, what, why, and who asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Denied {
    reason: Option<&'static str>,
    adapter: &'static str,
    /// `None` for all those that are too many to keep apart.
    who: Option<Who>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Who {
    operation: &'static str,
    server: Option<Box<str>>,
    tool: Option<Box<str>>,
    subject: Arc<str>,
    on_behalf_of: Option<Arc<str>>,
    caller: Arc<str>,
    is_dry_run: bool,
}

impl Denied {
    pub(super) fn of(record: &DecisionRecord<'_>, fields: &LogFields<'_>) -> Self {
        Self {
            reason: mapping::reason(record).map(|code| code.as_str()),
            adapter: record.adapter,
            who: Some(Who {
                operation: mapping::operation(&record.question),
                server: fields.server.map(Box::from),
                tool: fields.tool.map(Box::from),
                subject: Arc::clone(&fields.subject),
                on_behalf_of: fields.on_behalf_of.clone(),
                caller: Arc::clone(record.caller),
                is_dry_run: record.is_dry_run,
            }),
        }
    }

    /// Logs one line for so many.
    pub(super) fn tell(&self, repeated: u64) {
        let who = self.who.as_ref();
        standing_for(repeated, || {
            tracing::info!(
                target: "callgate::decision",
                decision = "deny",
                reason = self.reason,
                operation = who.map(|it| it.operation),
                server = who.and_then(|it| it.server.as_deref()),
                tool = who.and_then(|it| it.tool.as_deref()),
                subject = who.map(|it| &*it.subject),
                on_behalf_of = who.and_then(|it| it.on_behalf_of.as_deref()),
                caller = who.map(|it| &*it.caller),
                adapter = self.adapter,
                dry_run = who.and_then(|it| it.is_dry_run.then_some(true)),
                repeated,
                "denied again"
            );
        });
    }
}

impl Key for Denied {
    fn shared(&self) -> Self {
        Self { who: None, ..*self }
    }
}

/// What refusals have in common that are one line's worth.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TurnedAway {
    pub(super) adapter: &'static str,
    pub(super) why: Refusal,
    /// `None` for all those that are too many to keep apart.
    pub(super) said: Option<Box<str>>,
}

impl TurnedAway {
    /// Logs one line for so many.
    pub(super) fn tell(&self, repeated: u64) {
        standing_for(repeated, || {
            tracing::info!(
                target: "callgate::refusal",
                adapter = self.adapter,
                why = self.why.as_str(),
                said = self.said.as_deref(),
                repeated,
                "turned away again"
            );
        });
    }
}

impl Key for TurnedAway {
    fn shared(&self) -> Self {
        Self {
            said: None,
            ..*self
        }
    }
}

#[cfg(test)]
mod tests;

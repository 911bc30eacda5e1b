//! What repeated log lines have in common, and the lines that stand for many of them.

use std::sync::Arc;

use crate::audit::decision_record::DecisionRecord;
use crate::telemetry::export::log_queue::with_record_count;
use crate::telemetry::record::decision_mapping::{self, LogFields};
use crate::telemetry::record::metrics::RejectionKind;
use crate::telemetry::record::repeat_limiter::RepeatKey;

/// What denies have in common that are one line's worth: who, for whom, what, why, and who asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct DenyKey {
    reason: Option<&'static str>,
    adapter: &'static str,
    /// `None` for all those that are too many to keep apart.
    who: Option<DenyDetails>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct DenyDetails {
    operation: &'static str,
    server: Option<Box<str>>,
    tool: Option<Box<str>>,
    subject: Arc<str>,
    on_behalf_of: Option<Arc<str>>,
    caller: Arc<str>,
    is_dry_run: bool,
}

impl DenyKey {
    pub(crate) fn of(record: &DecisionRecord<'_>, fields: &LogFields<'_>) -> Self {
        Self {
            reason: decision_mapping::reason(record).map(|code| code.as_str()),
            adapter: record.adapter,
            who: Some(DenyDetails {
                operation: record.question.operation(),
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
    pub(crate) fn tell(&self, repeated: u64) {
        let who = self.who.as_ref();
        with_record_count(repeated, || {
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

impl RepeatKey for DenyKey {
    fn shared(&self) -> Self {
        Self { who: None, ..*self }
    }
}

/// What refusals have in common that are one line's worth.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RejectionKey {
    pub(crate) adapter: &'static str,
    pub(crate) why: RejectionKind,
    /// `None` for all those that are too many to keep apart.
    pub(crate) said: Option<Box<str>>,
}

impl RejectionKey {
    /// Logs one line for so many.
    pub(crate) fn tell(&self, repeated: u64) {
        with_record_count(repeated, || {
            tracing::info!(
                target: "callgate::rejection",
                adapter = self.adapter,
                why = self.why.as_str(),
                said = self.said.as_deref(),
                repeated,
                "request rejected again"
            );
        });
    }
}

impl RepeatKey for RejectionKey {
    fn shared(&self) -> Self {
        Self {
            said: None,
            ..*self
        }
    }
}

#[cfg(test)]
#[path = "repeat_keys_tests.rs"]
mod tests;

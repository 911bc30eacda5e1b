//! What became of an allowed call, as an adapter sees it in the response.
//!
//! Nothing waits for the record of an outcome. One that cannot be written is counted, as all records are.

use std::sync::{Arc, OnceLock};

use smol_str::SmolStr;
use uuid::Uuid;

use crate::adapters::mcp::response::filter::Filtered;
use crate::audit::outcome_record::{OutcomeRecord, Status};
use crate::domain::decide::verdict::Verdict;
use crate::service::Service;
use crate::service::request::{RequestMeta, Response};

/// The decision that let a request pass, for the record of its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::adapters) struct PassedDecision {
    id: Uuid,
    labels: Vec<SmolStr>,
}

impl PassedDecision {
    /// The first of several decisions about one request, with the labels of all of them.
    pub(in crate::adapters) fn first(answers: &[Response<Box<Verdict>>]) -> Option<Self> {
        let mut labels: Vec<SmolStr> = Vec::new();
        for label in answers.iter().flat_map(|it| it.value.effects.yields.iter()) {
            if !labels.contains(label) {
                labels.push(label.clone());
            }
        }
        let id = answers.first()?.decision_id;
        Some(Self { id, labels })
    }
}

/// The outcome of a passed request that is not known yet. If it is dropped before, there was no response, or one that did not
/// go on to the client.
pub(in crate::adapters) struct PendingOutcome {
    service: Arc<Service>,
    decision: PassedDecision,
    caller: Arc<str>,
    adapter: &'static str,
    size: u64,
    seen: OnceLock<Status>,
    is_handed_out: bool,
    is_recorded: bool,
}

impl PendingOutcome {
    pub(in crate::adapters) fn new(
        service: &Arc<Service>,
        ask: RequestMeta<'_>,
        decision: PassedDecision,
    ) -> Self {
        Self {
            service: Arc::clone(service),
            decision,
            caller: Arc::clone(&ask.caller.id),
            adapter: ask.adapter,
            size: 0,
            seen: OnceLock::new(),
            is_handed_out: false,
            is_recorded: false,
        }
    }

    /// Counts bytes of the response.
    pub(in crate::adapters) fn add(&mut self, bytes: usize) {
        self.size += bytes as u64;
    }

    /// Notes what the response says. The first response counts, and only once it is handed out.
    pub(in crate::adapters) fn see(&self, status: Status) {
        // The exchange ends with the first, or lets no other pass.
        let _ = self.seen.set(status);
    }

    /// What was seen goes on to the client.
    pub(in crate::adapters) fn hand_out(&mut self) {
        self.is_handed_out = self.seen.get().is_some();
    }

    /// Records the outcome if a response was handed out, or in any case if the exchange is over. Further calls do nothing.
    pub(in crate::adapters) fn record_if(&mut self, is_over: bool) {
        let status = match self.seen.get() {
            Some(seen) if self.is_handed_out => *seen,
            _ if !is_over => return,
            Some(_) => Status::Withheld,
            None => Status::NoResponse,
        };
        if !std::mem::replace(&mut self.is_recorded, true) {
            record(
                &self.service,
                &OutcomeRecord {
                    decision_id: Some(self.decision.id),
                    status,
                    size: self.size,
                    labels: &self.decision.labels,
                    caller: &self.caller,
                    adapter: self.adapter,
                    about: None,
                    at: self.service.clock().source_now(),
                },
            );
        }
    }
}

impl Drop for PendingOutcome {
    fn drop(&mut self) {
        self.record_if(true);
    }
}

/// Hands an outcome to the log.
pub(in crate::adapters) fn record(service: &Service, outcome: &OutcomeRecord<'_>) {
    // Nobody waits for it.
    drop(service.recorder().append_outcome(outcome));
}

/// What a filtered result says of its call.
pub(in crate::adapters) fn status_of(filtered: &Filtered, is_tool_error: bool) -> Status {
    match filtered {
        Filtered::Unchanged | Filtered::Rewritten(_) if is_tool_error => Status::ToolError,
        Filtered::Unchanged | Filtered::Rewritten(_) => Status::Result,
        Filtered::Denied(_) | Filtered::Rejected(_) => Status::Withheld,
    }
}

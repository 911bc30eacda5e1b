//! The attempt to write, and its record, whatever becomes of it.

use std::time::{Instant, SystemTime};

use smol_str::SmolStr;

use crate::audit::control_record::{ControlOutcome, ControlRecord};
use crate::audit::log::LogReceipt;
use crate::control::error::ControlError;
use crate::control::requester::WriteRequester;
use crate::domain::decide::verdict::Verdict;
use crate::domain::ids::CallDigest;
use crate::service::Service;
use crate::service::ledger::CommittedChange;

/// An attempt to write. If it is dropped before its end, as the server ends or it has panicked, it is recorded as abandoned.
pub(super) struct WriteAttempt<'a> {
    service: &'a Service,
    verb: &'static str,
    author: &'a WriteRequester,
    started_at: SystemTime,
    clock: Instant,
    /// The verdict of Cedar, if the write was planned and it was asked.
    pub(super) decided: Option<Verdict>,
    /// What was to be made or changed, where that is known.
    pub(super) object: Option<SmolStr>,
    /// Of a stop, why, as it was requested: the state may tell of a later one by the time a repeated request is answered.
    pub(super) stop_reason: Option<SmolStr>,
    is_over: bool,
}

impl<'a> WriteAttempt<'a> {
    pub(super) fn start(
        service: &'a Service,
        verb: &'static str,
        author: &'a WriteRequester,
    ) -> Self {
        Self {
            service,
            verb,
            author,
            started_at: SystemTime::now(),
            clock: Instant::now(),
            decided: None,
            object: None,
            stop_reason: None,
            is_over: false,
        }
    }

    /// Records the attempt. The response leaves once the receipt says so.
    pub(super) fn end(mut self, result: &Result<CommittedChange, ControlError>) -> LogReceipt {
        self.is_over = true;
        let outcome = match result {
            Ok(change) if change.is_repeated => ControlOutcome::Repeated,
            Ok(_) => ControlOutcome::Done,
            Err(ControlError::Denied(_)) => ControlOutcome::Denied,
            Err(
                ControlError::NotReady
                | ControlError::Internal
                | ControlError::Undecided(_)
                | ControlError::Unavailable
                | ControlError::AuditUnavailable
                | ControlError::NotRecorded(_)
                | ControlError::StoreLost(_),
            ) => ControlOutcome::Failed,
            Err(ControlError::OutcomeUnknown) => ControlOutcome::Abandoned,
            Err(_) => ControlOutcome::Refused,
        };
        let written = result.as_ref().ok();
        let decision = match result {
            Err(ControlError::Denied(decision)) => Some(&**decision),
            _ => self.decided.as_ref(),
        };
        self.record(outcome, written, decision)
    }

    fn record(
        &self,
        outcome: ControlOutcome,
        written: Option<&CommittedChange>,
        decision: Option<&Verdict>,
    ) -> LogReceipt {
        let record = ControlRecord {
            verb: self.verb,
            caller: &self.author.caller.id,
            adapter: self.author.adapter,
            actor: &self.author.actor.entity,
            outcome,
            revision: written.map(|written| written.revision),
            id: written
                .map(|written| &written.id)
                .or(self.object.as_ref())
                .map(SmolStr::as_str),
            approval_digest: written.and_then(approval_digest),
            stop_reason: written.and(self.stop_reason.as_deref()),
            decision,
            trace: &self.author.trace,
            started_at: self.started_at,
            took: self.clock.elapsed(),
        };
        let recorder = self.service.recorder();
        let receipt = recorder.append_write(&record);
        recorder.write(&record);
        receipt
    }
}

fn approval_digest(written: &CommittedChange) -> Option<&CallDigest> {
    let approvals = &written.generation.authority.approvals;
    let approval = approvals.get(written.id.as_str())?;
    Some(&approval.digest)
}

impl Drop for WriteAttempt<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            // Nobody waits for the response any more, and so not for the record either.
            let decision = self.decided.as_ref();
            let _ = self.record(ControlOutcome::Abandoned, None, decision);
        }
    }
}

//! Encodes records: which field of `callgate.audit.v1` holds what.
//!
//! Start at [`decision`]. Each function appends one whole envelope to a buffer, with index 0: the writer of the log puts
//! the index in when it is known ([`set_index`]).
//!
//! Invariant: URIs, purposes, addresses and challenges go in as keyed digests, or not at all: nothing in a record can be held
//! against guesses at what a call contained.

use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::PolicyInfo;
use callgate_engine::cedar::EntityUID;

use crate::audit::control_record::{ControlOutcome, ControlRecord};
use crate::audit::decision_record::{DecisionRecord, RecordedRequest};
use crate::audit::keyed_digest::KeyedDigest;
use crate::audit::left_out::Named;
use crate::audit::outcome_record::OutcomeRecord;
use crate::audit::record::INDEX_TAG;
use crate::audit::record::access_number;
use crate::audit::record::schema::Notice;
use crate::audit::wire::WireWriter;
use crate::domain::authority::stop::Stop;
use crate::domain::decide::verdict::{Decision, LeftBehind, PrincipalVerdict, Reason, Verdict};
use crate::domain::request::call_context::CallContext;
use crate::domain::request::operation::OperationKind;
use crate::domain::request::trace_context::TraceContext;
use crate::domain::schema::TYPES;

/// Appends the envelope of a decision.
pub fn decision(out: &mut Vec<u8>, record: &DecisionRecord<'_>, digests: &dyn KeyedDigest) {
    envelope(out, nanos(record.started_at), 4, |wire| {
        let mut fields = EnvelopeFields { wire, digests };
        fields.decision(record);
    });
}

/// Appends the envelope of a control write.
pub fn control_write(out: &mut Vec<u8>, record: &ControlRecord<'_>, digests: &dyn KeyedDigest) {
    envelope(out, nanos(record.started_at), 5, |wire| {
        let mut fields = EnvelopeFields { wire, digests };
        fields.control_write(record);
    });
}

/// Appends the envelope of an outcome.
pub fn outcome(out: &mut Vec<u8>, record: &OutcomeRecord<'_>) {
    envelope(out, nanos(record.at), 6, |wire| {
        if let Some(id) = &record.decision_id {
            wire.bytes(1, id.as_bytes());
        }
        wire.uint(2, u64::from((record.status as i32).unsigned_abs()));
        wire.uint(3, record.size);
        wire.texts(4, record.labels);
        wire.text(5, record.caller);
        wire.text(6, record.adapter);
        if let Some(about) = &record.about {
            wire.text(7, about.operation);
            wire.texts(8, about.servers);
            wire.optional(9, about.session_id);
        }
    });
}

/// Appends the envelope of a notice.
pub fn notice(out: &mut Vec<u8>, at: SystemTime, notice: &Notice) {
    envelope(out, nanos(at), 7, |wire| {
        wire.uint(1, u64::from(notice.kind.unsigned_abs()));
        wire.text(2, &notice.text);
        wire.uint(3, notice.count);
        wire.uint(4, notice.first);
        wire.uint(5, notice.last);
        if notice.since > 0 {
            wire.fixed64(6, notice.since);
        }
        wire.text(7, &notice.before);
        wire.text(8, &notice.source);
        wire.uint(9, notice.revision);
    });
}

/// Puts the index into an envelope.
pub fn set_index(envelope: &mut [u8], index: u64) {
    debug_assert_eq!(envelope.first(), Some(&INDEX_TAG));
    if let Some(place) = envelope.get_mut(1..9) {
        place.copy_from_slice(&index.to_le_bytes());
    }
}

/// Nanoseconds since 1970; 0 for what is before.
pub fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}

fn envelope(out: &mut Vec<u8>, at: u64, kind: u32, write: impl FnOnce(&mut WireWriter<'_>)) {
    let mut wire = WireWriter::new(out);
    wire.fixed64(1, 0);
    if at > 0 {
        wire.fixed64(2, at);
    }
    let before_kind = wire.position();
    wire.nested(kind, write);
    if wire.is_cut() {
        wire.insert_flag(before_kind, 3);
    }
}

struct EnvelopeFields<'a, 'b> {
    wire: &'a mut WireWriter<'b>,
    digests: &'a dyn KeyedDigest,
}

impl EnvelopeFields<'_, '_> {
    fn decision(&mut self, record: &DecisionRecord<'_>) {
        let verdict = record.decision;
        let wire = &mut *self.wire;
        wire.bytes(1, record.decision_id.as_bytes());
        wire.uint(2, outcome_number(verdict.outcome));
        wire.uint(3, record.revision);
        if let Some(digest) = sha256_bytes(record.policy_set_digest) {
            wire.bytes(4, &digest);
        }
        wire.text(5, record.adapter);
        wire.text(6, record.caller);
        wire.optional(7, record.request_id);
        wire.flag(8, record.is_dry_run);
        wire.text(9, record.question.operation());
        let named = Named::in_record(record);
        match record.question {
            RecordedRequest::Call(call) | RecordedRequest::Filter { call, .. } => {
                self.call(call, &named);
            }
            RecordedRequest::Cedar { .. } | RecordedRequest::Search { .. } => self.subject(&named),
        }
        self.verdict(verdict, &named);
        // Nothing comes of a dry run.
        if let Some(left) = record.left.filter(|_| !record.is_dry_run) {
            self.left(31, left);
        }
        self.question(&record.question);
        let took = u64::try_from(record.took.as_nanos());
        self.wire.uint(38, took.unwrap_or(u64::MAX));
        self.trace([39, 40], record.question.trace());
        self.wire.flag(42, !record.is_enforced);
        if let RecordedRequest::Call(call) | RecordedRequest::Filter { call, .. } = record.question
        {
            self.digests(call);
        }
        let challenge = verdict.challenge.as_ref();
        let challenge = challenge.and_then(|it| self.digests.digest(it.digest.as_str()));
        if let Some(digest) = challenge {
            self.wire.bytes(46, &digest.0);
        }
        if let Some(left) = record.left.filter(|_| record.is_dry_run) {
            self.left(47, left);
        }
        if let RecordedRequest::Filter { shown, .. } = record.question {
            self.wire.uint(48, shown as u64);
        }
    }

    /// Fields 10 to 21.
    fn call(&mut self, call: &CallContext, named: &Named<'_>) {
        let operation = &call.operation;
        let wire = &mut *self.wire;
        wire.text(10, operation.initiator.as_str());
        wire.text(11, &operation.server);
        match &operation.kind {
            OperationKind::CallTool(tool_call) => wire.text(12, &tool_call.tool),
            OperationKind::GetPrompt { name, .. } | OperationKind::OnPrompt { name, .. } => {
                wire.text(13, name);
            }
            OperationKind::OnResource { .. }
            | OperationKind::ElicitUrl { .. }
            | OperationKind::Connect { .. }
            | OperationKind::List(_)
            | OperationKind::Sample(_)
            | OperationKind::ElicitForm { .. }
            | OperationKind::OnClient(_) => {}
        }
        self.subject(named);
        let (wire, digests) = (&mut *self.wire, self.digests);
        if let Some(chain) = &call.actor_chain {
            wire.nested(15, |wire| {
                if let Some(root) = named.root {
                    entity(wire, digests, 1, root);
                }
                wire.each(&chain.actors, |wire, actor| entity(wire, digests, 2, actor));
                wire.texts(3, &chain.delegation_ids);
                wire.texts(4, &chain.scopes);
                wire.flag(5, chain.verified);
            });
        }
        let workflow = &call.workflow;
        if let Some(parent) = &workflow.parent_decision_id {
            wire.bytes(16, parent.as_bytes());
        }
        wire.optional(17, workflow.session_id.as_ref());
        wire.optional(18, workflow.task_id.as_ref());
        wire.optional(19, workflow.step.as_ref());
        wire.optional(20, workflow.request_id.as_ref());
        wire.texts(21, &call.approval_ids);
    }

    /// Field 14.
    fn subject(&mut self, named: &Named<'_>) {
        if let Some(subject) = named.subject {
            self.entity(14, subject);
        }
    }

    /// Fields 43 to 45.
    fn digests(&mut self, call: &CallContext) {
        let digest = |text: &str| self.digests.digest(text);
        let address = call.environment.source_address;
        let digests = [
            call.workflow.purpose.as_deref().and_then(digest),
            address.and_then(|it| self.digests.address_digest(it)),
            call.operation.kind.named_uri().and_then(digest),
        ];
        for (field, digest) in (43..).zip(digests) {
            if let Some(digest) = digest {
                self.wire.bytes(field, &digest.0);
            }
        }
    }

    /// Fields 25 to 30.
    fn verdict(&mut self, verdict: &Verdict, named: &Named<'_>) {
        let digests = self.digests;
        self.wire.each(&verdict.targets, |wire, target| {
            wire.nested(25, |wire| {
                wire.text(1, target.kind);
                wire.optional(2, target.role.as_ref());
                if let Some(digest) = digests.digest(&target.id) {
                    wire.bytes(4, &digest.0);
                }
            });
        });
        self.reasons(26, &verdict.reasons);
        self.policies(27, &verdict.determining_policies);
        self.policies(28, &verdict.shadow);
        let mut before = None;
        self.wire.each(&verdict.principals, |wire, principal| {
            wire.nested(29, |wire| {
                let access = verdict.access.filter(|_| before.is_none());
                let before = before.replace(principal);
                let mut fields = EnvelopeFields { wire, digests };
                fields.principal(principal, before, named);
                fields.wire.uint(9, access.map_or(0, access_number));
            });
        });
        if verdict
            .determining_policies
            .iter()
            .any(|it| !it.obligations.is_empty())
        {
            self.wire.texts(30, verdict.obligations().map(|it| &it.id));
        }
    }

    fn principal(
        &mut self,
        verdict: &PrincipalVerdict,
        before: Option<&PrincipalVerdict>,
        named: &Named<'_>,
    ) {
        let known = before.map_or(named.subject, |_| named.root);
        if known != Some(&verdict.principal) {
            self.entity(1, &verdict.principal);
        }
        if before.is_none_or(|before| before.action != verdict.action) {
            self.entity(2, &verdict.action);
        }
        let is_known = match before {
            Some(before) => before.resource == verdict.resource,
            None => named.is_tool(&verdict.resource),
        };
        if !is_known {
            self.entity(3, &verdict.resource);
        }
        self.wire.uint(4, outcome_number(verdict.outcome));
        self.wire.texts(5, verdict.permits.iter().map(|it| &it.id));
        self.wire.texts(6, verdict.forbids.iter().map(|it| &it.id));
        let errors = verdict.errors.iter();
        self.wire.texts(7, errors.map(|(policy, _)| &policy.id));
        self.wire.uint(8, verdict.policies_evaluated.into());
    }

    fn left(&mut self, field: u32, left: &LeftBehind) {
        let has_any = left.approval.is_some()
            || left.budget.is_some()
            || left.tool_budget.is_some()
            || !left.added_labels.is_empty()
            || left.reads
            || left.target_labels.is_some();
        if !has_any {
            return;
        }
        self.wire.nested(field, |wire| {
            wire.optional(1, left.approval.as_ref());
            wire.optional(2, left.budget.as_ref());
            wire.optional(3, left.tool_budget.as_ref());
            wire.texts(4, left.added_labels.iter());
            wire.flag(5, left.reads);
            if let Some(labels) = &left.target_labels {
                wire.texts(6, labels.items());
            }
        });
    }

    /// Fields 33 to 37.
    fn question(&mut self, question: &RecordedRequest<'_>) {
        match *question {
            RecordedRequest::Call(_) => {}
            RecordedRequest::Filter { kept, hidden, .. } => self.counts(kept, hidden),
            RecordedRequest::Cedar {
                action, resource, ..
            } => {
                self.entity(33, action);
                self.entity(34, resource);
            }
            RecordedRequest::Search {
                sought,
                action,
                resource,
                kept,
                hidden,
                ..
            } => {
                if let Some(action) = action {
                    self.entity(33, action);
                }
                if let Some(resource) = resource {
                    self.entity(34, resource);
                }
                self.counts(kept, hidden);
                self.wire.text(37, sought);
            }
        }
    }

    fn control_write(&mut self, record: &ControlRecord<'_>) {
        self.wire.text(1, record.verb);
        self.wire.text(2, record.caller);
        self.wire.text(3, record.adapter);
        self.entity(4, record.actor);
        self.wire.text(5, record.outcome.as_str());
        if let Some(revision) = record.revision {
            self.wire.some_uint(6, revision);
        }
        match record.id.map(str::parse::<EntityUID>) {
            Some(Ok(uid)) => self.entity(7, &uid),
            Some(Err(_)) | None => self.wire.optional(7, record.id),
        }
        if let Some(verdict) = record.decision {
            if record.outcome == ControlOutcome::Denied {
                self.reasons(8, &verdict.reasons);
            }
            self.policies(9, &verdict.determining_policies);
        }
        let took = u64::try_from(record.took.as_nanos());
        self.wire.uint(10, took.unwrap_or(u64::MAX));
        self.trace([11, 12], record.trace);
        self.wire.optional(13, record.stop_reason);
    }

    fn counts(&mut self, kept: usize, hidden: usize) {
        self.wire.uint(35, kept as u64);
        self.wire.uint(36, hidden as u64);
    }

    fn reasons(&mut self, field: u32, reasons: &[Reason]) {
        let digests = self.digests;
        self.wire.each(reasons, |wire, reason| {
            wire.nested(field, |wire| {
                wire.text(1, reason.code.as_str());
                if let Some(principal) = &reason.principal {
                    entity(wire, digests, 2, principal);
                }
                wire.texts(3, &reason.missing);
                wire.texts(4, &reason.policies);
                if let Some(stop) = &reason.stop {
                    wire.nested(5, |wire| stopped(wire, digests, stop));
                }
            });
        });
    }

    fn policies(&mut self, field: u32, policies: &[Arc<PolicyInfo>]) {
        self.wire.each(policies, |wire, policy| {
            wire.nested(field, |wire| {
                wire.text(1, &policy.id);
                wire.optional(2, policy.owner.as_ref());
                wire.texts(3, &policy.controls);
            });
        });
    }

    fn entity(&mut self, field: u32, uid: &EntityUID) {
        entity(self.wire, self.digests, field, uid);
    }

    /// The trace, and the span of the caller.
    fn trace(&mut self, fields: [u32; 2], trace: &TraceContext) {
        if let Some(parent) = trace.parent() {
            self.wire.bytes(fields[0], &parent.trace_id);
            self.wire.bytes(fields[1], &parent.span_id);
        }
    }
}

fn stopped(wire: &mut WireWriter<'_>, digests: &dyn KeyedDigest, stop: &Stop) {
    entity(wire, digests, 1, &stop.uid);
    entity(wire, digests, 2, &stop.by);
    wire.text(3, &stop.reason);
    wire.fixed64(4, nanos(stop.at));
}

/// An entity, whatever it is in the request; of a resource, whose id is a URI, the digest of the id.
fn entity(wire: &mut WireWriter<'_>, digests: &dyn KeyedDigest, field: u32, uid: &EntityUID) {
    if *uid.entity_type() != TYPES.resource {
        return wire.entity(field, uid);
    }
    match digests.digest(uid.eid().as_ref()) {
        Some(digest) => {
            let name = format_args!("{}::hmac:{}", uid.entity_type(), digest.hex());
            wire.display(field, &name);
        }
        None => {
            let name = format_args!("{}::redacted", uid.entity_type());
            wire.display(field, &name);
        }
    }
}

fn outcome_number(decision: Decision) -> u64 {
    match decision {
        Decision::Allow => 1,
        Decision::Deny => 2,
    }
}

/// The bytes of `sha256:<hex>`.
fn sha256_bytes(text: &str) -> Option<[u8; 32]> {
    unhex(text.strip_prefix("sha256:")?)
}

/// What no hexadecimal digit stands for.
const NO_DIGIT: u8 = 16;
/// What each byte stands for as a hexadecimal digit.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < NO_DIGIT {
        digits[b"0123456789abcdef"[value as usize] as usize] = value;
        digits[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    digits
};

/// The bytes that hexadecimal digits stand for.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    let mut all = 0;
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let (high, low) = (DIGITS[usize::from(pair[0])], DIGITS[usize::from(pair[1])]);
        all |= high | low;
        *byte = high << 4 | low;
    }
    (all < NO_DIGIT).then_some(bytes)
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;

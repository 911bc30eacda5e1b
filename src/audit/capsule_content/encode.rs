//! Encoding, at the place where a decision is made.
//!
//! The order of the fields is the format; [`super::decode`] reads them in the same order.

use std::cell::Cell;
use std::net::IpAddr;
use std::time::SystemTime;

use callgate_engine::cedar::{Context, Value};
use smol_str::SmolStr;

use super::binary::Writer;
use super::entities::ReachableEntities;
use super::many::write_asserted;
use super::slice::AuthoritySlice;
use super::{MAX_BYTES, MissingFacts, VERSION};
use crate::authn::caller::{Caller, Rights};
use crate::domain::authority::labels::Labels;
use crate::domain::authority::session::Session;
use crate::domain::authority::state::Authority;
use crate::domain::authority::usage::{Usage, WindowCounts};
use crate::domain::decide::inputs::History;
use crate::domain::decide::is_authorized::ParcRequest;
use crate::domain::request::call_context::{
    ActorChain, CallContext, Identity, Initiator, Operation, Told, Workflow,
};
use crate::domain::request::operation::OperationKind;
use std::sync::Arc;

/// The room reserved at first: an ordinary capsule fits.
const USUAL_BYTES: usize = 768;
/// The most memory that a thread keeps for the next capsule.
const KEPT_BYTES: usize = 64 * 1024;

thread_local! {
    /// The memory of the thread's last capsule.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Keeps the memory of a capsule for the next one of this thread.
pub fn reuse(mut capsule: Vec<u8>) {
    if capsule.capacity() <= KEPT_BYTES {
        capsule.clear();
        SPARE.set(capsule);
    }
}

/// What a decision was made from, whatever the request.
#[derive(Debug, Clone, Copy)]
pub struct DecidedWith<'a> {
    /// The digest of the bundle, `sha256:<hex>`.
    pub policy_set_digest: &'a str,
    /// The caller.
    pub caller: &'a Caller,
    /// The time of the decision.
    pub now: SystemTime,
    /// The authority of the generation.
    pub authority: &'a Authority,
    /// The stored entities that can be reached.
    pub entities: &'a ReachableEntities<'a>,
}

/// A decision on a call, to be encoded.
#[derive(Debug, Clone, Copy)]
pub struct CallCapsule<'a> {
    /// What it was made from.
    pub with: DecidedWith<'a>,
    /// The call.
    pub call: &'a CallContext,
    /// The observed history.
    pub history: History<'a>,
    /// What was not looked up.
    pub missing: MissingFacts,
}

/// A decision on Cedar's own request, to be encoded.
#[derive(Debug, Clone, Copy)]
pub struct CedarCapsule<'a> {
    /// What it was made from.
    pub with: DecidedWith<'a>,
    /// The request.
    pub request: &'a ParcRequest,
}

impl CallCapsule<'_> {
    /// The capsule; `None` if it would be larger than [`MAX_BYTES`], or the call is denied whatever it asks.
    pub fn encode(&self) -> Option<Vec<u8>> {
        if self.call.denied.is_some() {
            return None;
        }
        let slice = AuthoritySlice::of_call(self.with.authority, self.call);
        let mut out = start(&self.with, &slice, self.missing);
        out.byte(0);
        write_call(&mut out, self.call);
        write_history(&mut out, &self.history);
        finish(out)
    }
}

impl CedarCapsule<'_> {
    /// The capsule; `None` if it would be larger than [`MAX_BYTES`], or the request is denied whatever it asks.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let request = self.request;
        let Context::Value(context) = &request.context else {
            return None;
        };
        if request.denied.is_some() {
            return None;
        }
        let stopped = request.stoppable();
        let slice = AuthoritySlice::of_stops(self.with.authority, &stopped);
        let mut out = start(&self.with, &slice, MissingFacts::default());
        out.byte(1);
        for uid in [&request.principal, &request.action, &request.resource] {
            out.uid(uid);
        }
        out.list(context.iter(), write_named);
        out.list(request.asserted.iter(), write_asserted);
        finish(out)
    }
}

pub(super) fn write_named(out: &mut Writer, (name, value): (&SmolStr, &Value)) {
    out.text(name);
    out.value(value);
}

pub(super) fn finish(out: Writer) -> Option<Vec<u8>> {
    (out.0.len() <= MAX_BYTES).then_some(out.0)
}

/// The fields that every capsule begins with.
pub(super) fn start(
    with: &DecidedWith<'_>,
    slice: &AuthoritySlice<'_>,
    missing: MissingFacts,
) -> Writer {
    let mut out = Writer(SPARE.take());
    out.0.reserve(USUAL_BYTES);
    out.byte(VERSION);
    out.text(with.policy_set_digest);
    out.time(with.now);
    out.text(&with.caller.id);
    out.byte(bits_of_rights(&with.caller.rights));
    slice.write(&mut out);
    with.entities.write(&mut out);
    out.bool(missing.usage);
    out.bool(missing.labels);
    out.bool(missing.entities || with.entities.is_cut);
    out
}

/// The rights that decisions read, a bit each.
fn bits_of_rights(rights: &Rights) -> u8 {
    let bits = [
        rights.assert_identity,
        rights.assert_delegation,
        rights.assert_claims,
        rights.assert_properties,
        rights.vouch_sessions,
        rights.people_in_person,
        rights.explain,
        rights.require_delegation,
    ];
    let bits = bits.into_iter().enumerate();
    bits.fold(0, |all, (at, bit)| all | (u8::from(bit) << at))
}

pub(super) fn write_call(out: &mut Writer, call: &CallContext) {
    let subject = &call.subject;
    out.uid(&subject.entity);
    write_identity(out, &subject.identity);
    out.maybe(
        (!subject.claims.is_empty()).then_some(&subject.claims),
        Writer::json,
    );
    out.maybe(call.actor_chain.as_ref(), write_chain);
    write_operation(out, &call.operation);
    write_workflow(out, &call.workflow);
    out.texts(&call.approval_ids);
    out.maybe(
        call.environment.source_address,
        |out, address| match address {
            IpAddr::V4(address) => out.bytes(&address.octets()),
            IpAddr::V6(address) => out.bytes(&address.octets()),
        },
    );
}

fn write_identity(out: &mut Writer, identity: &Identity) {
    let Identity {
        method,
        verified,
        not_before,
        expires_at,
        is_relayed,
    } = identity;
    write_maybe_text(out, method.as_ref());
    out.bool(*verified);
    out.maybe(*not_before, Writer::time);
    out.maybe(*expires_at, Writer::time);
    out.bool(*is_relayed);
}

fn write_maybe_text(out: &mut Writer, text: Option<&impl AsRef<str>>) {
    out.maybe(text, |out, text| out.text(text.as_ref()));
}

fn write_chain(out: &mut Writer, chain: &ActorChain) {
    let ActorChain {
        root,
        actors,
        scopes,
        verified,
        delegation_ids,
        not_before,
        expires_at,
        claims,
    } = chain;
    out.maybe(root.as_ref(), Writer::uid);
    out.uids(actors);
    out.texts(scopes);
    out.bool(*verified);
    out.texts(delegation_ids);
    out.maybe(*not_before, Writer::time);
    out.maybe(*expires_at, Writer::time);
    out.list(claims.iter(), |out, (uid, claims)| {
        out.uid(uid);
        out.json(claims);
    });
}

fn write_operation(out: &mut Writer, operation: &Operation) {
    let Operation {
        initiator,
        server,
        kind,
        told,
        answers,
        request_state,
    } = operation;
    out.byte(match initiator {
        Initiator::Client => 0,
        Initiator::Server => 1,
        Initiator::Ui => 2,
    });
    out.text(server);
    write_kind(out, kind);
    out.bool(*told == Told::All);
    out.maybe(answers.as_deref(), |out, answers| {
        out.texts(&answers.kinds);
        out.texts(&answers.field_names);
        out.texts(&answers.secret_fields);
        out.text(&answers.text);
    });
    out.maybe(request_state.as_deref(), Writer::text);
}

/// The number of the operation, and its parameters.
fn write_kind(out: &mut Writer, kind: &OperationKind) {
    out.byte(kind.description().number);
    match kind {
        OperationKind::CallTool(call) => {
            out.text(&call.tool);
            out.json(&call.arguments);
            write_maybe_text(out, call.definition_digest.as_ref());
            write_maybe_text(out, call.target.as_ref());
        }
        OperationKind::OnResource { operation: _, uri } => out.text(uri),
        OperationKind::OnPrompt { operation: _, name } => out.text(name),
        OperationKind::GetPrompt { name, arguments } => {
            out.text(name);
            out.texts(arguments);
        }
        OperationKind::Sample(sampling) => {
            out.signed(sampling.max_tokens);
            out.text(&sampling.include_context);
            out.texts(&sampling.tools);
            out.signed(sampling.messages);
            out.bool(sampling.has_system_prompt);
        }
        OperationKind::ElicitForm {
            message,
            requested_schema,
        } => {
            out.text(message);
            out.json(requested_schema);
        }
        OperationKind::ElicitUrl { url } => out.text(url),
        OperationKind::Connect { method } => out.text(method),
        OperationKind::List(_) | OperationKind::OnClient(_) => {}
    }
}

fn write_workflow(out: &mut Writer, workflow: &Workflow) {
    let Workflow {
        session_id,
        is_session_vouched,
        task_id,
        step,
        purpose,
        // For traces and records alone.
        request_id: _,
        parent_decision_id: _,
    } = workflow;
    write_maybe_text(out, session_id.as_ref());
    out.bool(*is_session_vouched);
    write_maybe_text(out, task_id.as_ref());
    write_maybe_text(out, step.as_ref());
    write_maybe_text(out, purpose.as_ref());
}

pub(super) fn write_history(out: &mut Writer, history: &History<'_>) {
    let History {
        session,
        carried,
        usage,
        calls_left,
        tool_calls_left,
        spent_tools: _,
        definition,
        approval_uses,
    } = history;
    out.maybe(*session, write_session);
    out.maybe(*carried, |out, carried| {
        for labels in [&carried.task, &carried.delegation, &carried.recent] {
            out.maybe(labels.as_ref(), write_labels);
        }
    });
    out.maybe(usage.as_ref(), write_usage);
    out.maybe(*calls_left, Writer::number);
    out.maybe(*tool_calls_left, Writer::number);
    out.maybe(*definition, |out, definition| {
        out.text(definition.pinned());
        out.text(definition.whole());
    });
    out.list(approval_uses.iter(), |out, uses| out.number((*uses).into()));
}

fn write_labels(out: &mut Writer, labels: &Arc<Labels>) {
    out.texts(labels.items());
}

fn write_session(out: &mut Writer, session: &Session) {
    out.bool(session.is_ended);
    out.number(session.calls);
    write_labels(out, &session.labels);
    out.uids(session.tools.items());
    out.list(session.last_places().iter(), |out, place| {
        out.number((*place).into());
    });
}

fn write_usage(out: &mut Writer, usage: &Usage) {
    for WindowCounts { minute, hour, day } in [usage.tool, usage.actor] {
        for count in [minute, hour, day] {
            out.number(count);
        }
    }
    out.number(usage.recent_denials);
    out.bool(usage.is_first_use);
    out.number(usage.distinct_tools);
}

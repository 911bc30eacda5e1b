//! Parses messages of `callgate.v1` into domain types.
//!
//! Start at [`MessageParser::call_context`]. Messages are taken apart, not copied; every limit is checked
//! here, and every error names the path of its field.

mod entity;
mod operation;

use std::time::{Duration, SystemTime};

use callgate_engine::cedar::{EntityUID, ValidatorSchema};
use prost_types::{Struct, Timestamp};
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::input::cedar_context::{ParsedContext, cedar_context};
use crate::adapters::input::entity_types::EntityTypeCache;
use crate::adapters::input::field_error::{FieldContext, FieldError, FieldProblem};
use crate::adapters::input::ids;
use crate::adapters::input::json::{self, BeyondDouble, KeyPolicy};
use crate::adapters::input::limits::{check_count, check_length};
use crate::adapters::input::wire_text::{self, WireText};
use crate::adapters::subject::token_claims::{self, TokenValidity};
use crate::adapters::transport::address;
use crate::config::limits::Limits;
use crate::domain::decide::is_authorized::ParcRequest;
use crate::domain::request::call_context::{
    ActorChain, CallContext, Environment, Identity, Initiator, Operation, Subject, Workflow,
};
use crate::domain::request::nulls::without_nulls;
use crate::domain::request::operation::{Listing, OperationKind};
use crate::domain::request::trace_context::TraceContext;
use crate::proto::served;

type Claims = Map<String, Json>;

/// The inputs of parsing besides the message.
#[derive(Clone, Copy)]
pub struct MessageParser<'a> {
    /// The limits in force.
    pub limits: &'a Limits,
    /// Parsed entity type names.
    pub types: &'a EntityTypeCache,
    /// The trace context of the transport, for calls that carry none.
    pub transport_trace: &'a TraceContext,
    /// Whether no client can choose the session ids that this caller sends.
    pub vouches_sessions: bool,
}

/// A request to filter tools.
pub struct ToolListQuery {
    /// The call; its operation is `ListTools`.
    pub call: CallContext,
    /// The tools; empty means every registered tool.
    pub tools: Vec<SmolStr>,
}

impl MessageParser<'_> {
    /// Parses one call from the field `call_context`.
    ///
    /// # Errors
    ///
    /// Returns the first field that cannot be used.
    pub fn call_context(
        &self,
        wire: Option<Box<served::CallContext>>,
    ) -> Result<CallContext, FieldError> {
        const FIELD: &str = "call_context";
        let wire = wire.ok_or_else(|| FieldError::new(FIELD, FieldProblem::Missing))?;
        self.call(*wire, None).within(FIELD)
    }

    /// Parses a `FilterToolsRequest`.
    ///
    /// # Errors
    ///
    /// Returns the first field that cannot be used.
    pub fn filter(&self, wire: served::FilterToolsRequest) -> Result<ToolListQuery, FieldError> {
        const FIELD: &str = "call_context";
        let context = wire
            .call_context
            .ok_or_else(|| FieldError::new(FIELD, FieldProblem::Missing))?;
        let server: SmolStr = self.required_id(wire.server, "server")?;
        let operation = Operation::new(
            Initiator::Client,
            server,
            OperationKind::List(Listing::Tools),
        );
        let call = self.call(*context, Some(operation)).within(FIELD)?;
        let tools = self.ids(wire.tools, self.limits.tools, "tools")?;
        Ok(ToolListQuery { call, tools })
    }

    /// Parses a plain Cedar request. With a schema the context may be written as Cedar's own tools allow.
    ///
    /// # Errors
    ///
    /// Returns the first field that cannot be used.
    pub fn cedar_question(
        &self,
        wire: served::IsAuthorizedRequest,
        schema: Option<&ValidatorSchema>,
    ) -> Result<ParcRequest, FieldError> {
        use served::is_authorized_request::ContextForm;

        const IN_CONTEXT: BeyondDouble = BeyondDouble::Refused("send `context_json`");

        let action = self.exact_entity(wire.action, "action")?;
        let depth = self.limits.json_depth;
        let (fields, field) = match wire.context_form {
            None => (serde_json::Map::new(), "context"),
            Some(ContextForm::ContextJson(text)) => (
                json::object(&text, depth, KeyPolicy::Exact, "context_json")?,
                "context_json",
            ),
            Some(ContextForm::Context(wire)) => (
                json::from_struct(wire, depth, (KeyPolicy::Exact, IN_CONTEXT), "context")?,
                "context",
            ),
        };
        let fields = Json::Object(without_nulls(fields));
        let ParsedContext { context, denied } = cedar_context(fields, schema, &action, self.types)
            .map_err(|said| FieldError::new(field, FieldProblem::NotAContext(said)))?;
        Ok(ParcRequest {
            principal: self.exact_entity(wire.principal, "principal")?,
            resource: self.exact_entity(wire.resource, "resource")?,
            action,
            context,
            asserted: Vec::new(),
            denied,
            trace: self.transport_trace.clone(),
        })
    }

    fn call(
        &self,
        wire: served::CallContext,
        operation: Option<Operation>,
    ) -> Result<CallContext, FieldError> {
        let subject = self.subject(wire.subject, wire.delegation.as_ref())?;
        let operation = match operation {
            Some(operation) => operation,
            None => self.operation(wire.operation, &subject.entity)?,
        };
        Ok(CallContext {
            subject,
            actor_chain: wire
                .delegation
                .map(|wire| self.delegation(wire).within("delegation"))
                .transpose()?,
            operation,
            workflow: match wire.workflow {
                Some(wire) => self.workflow(wire).within("workflow")?,
                None => Workflow::default(),
            },
            approval_ids: self.ids(wire.approval_ids, self.limits.list_items, "approval_ids")?,
            environment: environment(wire.environment).within("environment")?,
            trace: self.trace(wire.trace),
            denied: None,
        })
    }

    fn subject(
        &self,
        wire: Option<served::Subject>,
        delegation: Option<&served::Delegation>,
    ) -> Result<Subject, FieldError> {
        const FIELD: &str = "subject";
        let wire = wire.ok_or_else(|| FieldError::new(FIELD, FieldProblem::Missing))?;
        let subject = match delegation {
            None => self.principal(wire.entity, wire.identity, wire.claims),
            Some(delegation) => {
                // What is stored needs no token of the root, so the claims are those of the actor's own.
                let is_own_token = !delegation.delegation_ids.is_empty();
                self.actor(wire.entity, wire.identity, wire.claims, is_own_token)
            }
        };
        subject.within(FIELD)
    }

    /// Parses who acts for others. The claims are the members of an `act`, or those of the actor's own token; those of the
    /// whole token of the root would give the actor what is the root's.
    fn actor(
        &self,
        entity: Option<served::EntityRef>,
        identity: Option<served::Identity>,
        claims: Option<Struct>,
        is_own_token: bool,
    ) -> Result<Subject, FieldError> {
        let subject = self.identified(entity, identity, claims)?;
        if token_claims::names_as_actor(&subject.claims, subject.entity.eid().as_ref()) {
            let said =
                "is of the token in which this actor acts, and so is about `delegation.root`";
            return Err(FieldError::new("claims", FieldProblem::Contradiction(said)));
        }
        match is_own_token {
            true => self.within_token(subject),
            false => Ok(subject),
        }
    }

    /// Parses a principal that acts for itself, and how it was identified. The claims are those of its token, which
    /// count within its times.
    pub(in crate::adapters::callgate_v1) fn principal(
        &self,
        entity: Option<impl Into<served::EntityRef>>,
        identity: Option<impl Into<served::Identity>>,
        claims: Option<Struct>,
    ) -> Result<Subject, FieldError> {
        let subject = self.identified(entity, identity, claims)?;
        if token_claims::names_actor(&subject.claims) {
            let said = "is there, and the request does not say who acts for this principal";
            let contradiction = FieldProblem::Contradiction(said);
            return Err(FieldError::new("act", contradiction).inside("claims"));
        }
        self.within_token(subject)
    }

    /// Bounds what a subject may do by the times of the token that its claims are of.
    fn within_token(&self, mut subject: Subject) -> Result<Subject, FieldError> {
        let TokenValidity {
            not_before,
            expires_at,
        } = token_claims::validity_in("claims", &subject.claims, self.limits)?;
        subject.identity.not_before = not_before;
        subject.identity.expires_at = expires_at;
        Ok(subject)
    }

    fn identified(
        &self,
        entity: Option<impl Into<served::EntityRef>>,
        identity: Option<impl Into<served::Identity>>,
        claims: Option<Struct>,
    ) -> Result<Subject, FieldError> {
        let entity = self.entity(entity, "entity")?;
        let identity = match identity.map(Into::into) {
            Some(served::Identity { method, verified }) => {
                let method = self.optional_id(method, "method").within("identity")?;
                Identity {
                    method,
                    verified,
                    ..Identity::default()
                }
            }
            None => Identity::default(),
        };
        let claims = self.claims(claims, "claims")?;
        Ok(Subject {
            entity,
            identity,
            claims,
        })
    }

    fn claims(&self, wire: Option<Struct>, field: &'static str) -> Result<Claims, FieldError> {
        match wire {
            // Which of them become facts, the configuration says; of the rest nobody needs an exact number.
            Some(wire) => {
                let reading = (KeyPolicy::Distinct, BeyondDouble::Kept);
                json::from_struct(wire, self.limits.json_depth, reading, field)
            }
            None => Ok(Claims::new()),
        }
    }

    /// Parses the claims about the parties of an actor chain. Each claim needs the party that it is about.
    fn claims_of_chain(
        &self,
        root: Option<&EntityUID>,
        actors: &[EntityUID],
        root_claims: Option<Struct>,
        actor_claims: Vec<Struct>,
    ) -> Result<Vec<(EntityUID, Claims)>, FieldError> {
        const OF_ACTORS: &str = "actor_claims";
        let root_claims = self.claims(root_claims, "root_claims")?;
        let mut claims = Vec::new();
        match root {
            Some(root) if !root_claims.is_empty() => claims.push((root.clone(), root_claims)),
            None if !root_claims.is_empty() => {
                return Err(FieldError::new("root", FieldProblem::Missing));
            }
            _ => {}
        }
        if !actor_claims.is_empty() && actor_claims.len() != actors.len() {
            let said = "has not one item for each of `actors`";
            return Err(FieldError::new(
                OF_ACTORS,
                FieldProblem::Contradiction(said),
            ));
        }
        for (index, (actor, wire)) in actors.iter().zip(actor_claims).enumerate() {
            let its = self.claims(Some(wire), OF_ACTORS).map_err(|inner| {
                FieldError::new(format!("{OF_ACTORS}[{index}]"), inner.problem().clone())
            })?;
            if !its.is_empty() {
                claims.push((actor.clone(), its));
            }
        }
        Ok(claims)
    }

    fn delegation(&self, wire: served::Delegation) -> Result<ActorChain, FieldError> {
        let limits = self.limits;
        check_count(wire.actors.len(), limits.actors, "actors")?;
        let mut actors = Vec::with_capacity(wire.actors.len());
        for (index, actor) in wire.actors.into_iter().enumerate() {
            actors.push(
                self.mcp_entity(actor)
                    .map_err(|inner| at_item(inner, "actors", index))?,
            );
        }
        let root = if wire.root.is_none() && !wire.delegation_ids.is_empty() {
            None
        } else {
            Some(self.entity(wire.root, "root")?)
        };
        let claims =
            self.claims_of_chain(root.as_ref(), &actors, wire.root_claims, wire.actor_claims)?;
        let token = claims
            .iter()
            .find(|(party, _)| root.as_ref() == Some(party));
        let validity = match token {
            Some((_, token)) => token_claims::validity_in("root_claims", token, limits)?,
            None => TokenValidity::default(),
        };
        let stated = wire
            .expires_at
            .map(|time| system_time(time, "expires_at"))
            .transpose()?
            .map(|end| token_claims::late(end, limits.clock_skew()));
        let ends = [stated, validity.expires_at];
        Ok(ActorChain {
            root,
            actors,
            claims,
            not_before: validity.not_before,
            scopes: self.ids(wire.scopes, limits.list_items, "scopes")?,
            verified: wire.verified,
            delegation_ids: self.ids(wire.delegation_ids, limits.list_items, "delegation_ids")?,
            expires_at: ends.into_iter().flatten().min(),
        })
    }

    fn workflow(&self, wire: served::Workflow) -> Result<Workflow, FieldError> {
        const PARENT: &str = "parent_decision_id";
        Ok(Workflow {
            session_id: ids::session(
                wire_text::text(&wire.session_id, "session_id")?,
                self.limits,
                "session_id",
            )?,
            is_session_vouched: self.vouches_sessions,
            task_id: self.optional_id(wire.task_id, "task_id")?,
            step: self.optional_id(wire.step, "step")?,
            purpose: self.optional_text(wire.purpose, "purpose")?,
            request_id: self.optional_id(wire.request_id, "request_id")?,
            parent_decision_id: match wire_text::text(&wire.parent_decision_id, PARENT)? {
                "" => None,
                id => Some(ids::decision(id, PARENT)?),
            },
        })
    }

    /// The call's own trace context, else the transport's. A trace is not evidence: an unusable one is
    /// ignored, as W3C Trace Context says.
    fn trace(&self, wire: Option<served::TraceContext>) -> TraceContext {
        let own = wire.map(|wire| {
            // What is no text is no list either.
            let state = wire.tracestate.text().unwrap_or("\u{fffd}");
            TraceContext::read(wire.traceparent.text().ok(), [state])
        });
        own.unwrap_or_default().or(self.transport_trace)
    }

    // ------------------------------------------------------------ ids, names and text

    pub(in crate::adapters::callgate_v1) fn required_id<I: From<SmolStr>>(
        &self,
        text: impl WireText,
        field: &'static str,
    ) -> Result<I, FieldError> {
        ids::required(wire_text::text(&text, field)?, self.limits.id_bytes, field)
    }

    /// Parses an id or name, where empty text means none.
    pub(in crate::adapters::callgate_v1) fn optional_id<I: From<SmolStr>>(
        &self,
        text: impl WireText,
        field: &'static str,
    ) -> Result<Option<I>, FieldError> {
        ids::optional(wire_text::text(&text, field)?, self.limits.id_bytes, field)
    }

    pub(in crate::adapters::callgate_v1) fn optional_text(
        &self,
        text: impl WireText,
        field: &'static str,
    ) -> Result<Option<SmolStr>, FieldError> {
        let text = wire_text::text(&text, field)?;
        check_length(text, self.limits.text_bytes, field)?;
        Ok((!text.is_empty()).then(|| SmolStr::new(text)))
    }

    pub(in crate::adapters::callgate_v1) fn required_text(
        &self,
        text: impl WireText,
        field: &'static str,
    ) -> Result<SmolStr, FieldError> {
        let text = self.optional_text(text, field)?;
        let text = text.ok_or_else(|| FieldError::new(field, FieldProblem::Missing))?;
        match text.trim().is_empty() {
            true => Err(FieldError::new(field, FieldProblem::Blank)),
            false => Ok(text),
        }
    }

    pub(in crate::adapters::callgate_v1) fn ids<I: From<SmolStr>, L: FromIterator<I>>(
        &self,
        wire: Vec<impl WireText>,
        limit: u32,
        field: &'static str,
    ) -> Result<L, FieldError> {
        check_count(wire.len(), limit, field)?;
        let ids = wire.into_iter().enumerate().map(|(index, text)| {
            self.required_id(text, field).map_err(|inner| {
                FieldError::new(format!("{field}[{index}]"), inner.problem().clone())
            })
        });
        ids.collect()
    }
}

/// Adds the index of a list item to the path of its error.
pub(in crate::adapters::callgate_v1) fn at_item(
    inner: FieldError,
    list: &str,
    index: usize,
) -> FieldError {
    inner.inside(format_args!("{list}[{index}]"))
}

fn environment(wire: Option<served::Environment>) -> Result<Environment, FieldError> {
    const FIELD: &str = "source_address";
    let Some(served::Environment {
        source_address: text,
    }) = wire
    else {
        return Ok(Environment::default());
    };
    let text = wire_text::text(&text, FIELD)?;
    if text.is_empty() {
        return Ok(Environment::default());
    }
    let address = address::read(text).map_err(|problem| FieldError::new(FIELD, problem))?;
    Ok(Environment {
        source_address: Some(address),
    })
}

/// A time of a request. All that is stored counts from 1970, so what lies before counts as its beginning.
pub(in crate::adapters::callgate_v1) fn system_time(
    wire: Timestamp,
    field: &'static str,
) -> Result<SystemTime, FieldError> {
    // The range of `google.protobuf.Timestamp`: years 1 to 9999.
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    let not_a_time = || FieldError::new(field, FieldProblem::NotATime);
    let nanos = u32::try_from(wire.nanos).ok();
    let nanos = nanos.filter(|nanos| *nanos < 1_000_000_000);
    let nanos = nanos.ok_or_else(|| {
        let problem = FieldProblem::NotOfShape("a number from 0 to 999,999,999");
        FieldError::new("nanos", problem).inside(field)
    })?;
    if !SECONDS.contains(&wire.seconds) {
        return Err(not_a_time());
    }
    let since =
        u64::try_from(wire.seconds).map_or(Duration::ZERO, |seconds| Duration::new(seconds, nanos));
    let time = SystemTime::UNIX_EPOCH.checked_add(since);
    time.ok_or_else(not_a_time)
}

#[cfg(test)]
mod tests;

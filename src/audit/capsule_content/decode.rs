//! Decoding, in the order of [`super::encode`].

use std::net::IpAddr;
use std::sync::Arc;

use callgate_engine::AssertedEntity;
use callgate_engine::cedar::{Context, Value};
use smol_str::SmolStr;

use super::binary::{CapsuleContentError, Reader};
use super::entities::{AbsentEntities, StoredForms};
use super::{
    Capsule, CapsuleHistory, CapsuleRequest, MAX_BYTES, MissingFacts, OLDEST_VERSION, VERSION,
    many, slice,
};
use crate::authn::caller::{Caller, Rights};
use crate::authn::capacity::CallerUsage;
use crate::domain::authority::labels::{CarriedLabels, Labels};
use crate::domain::authority::session::{CedarSet, Session};
use crate::domain::authority::usage::{Usage, WindowCounts};
use crate::domain::decide::is_authorized::ParcRequest;
use crate::domain::request::call_context::{
    ActorChain, CallContext, Environment, Identity, Initiator, Operation, Subject, Told, Workflow,
};
use crate::domain::request::client_responses::ClientResponses;
use crate::domain::request::definition::DefinitionDigests;
use crate::domain::request::operation::{OperationKind, OperationType, Sampling, ToolCall};
use crate::domain::request::trace_context::TraceContext;

/// The version since which recent calls are places among the tools of their session.
const PLACES_SINCE: u8 = 3;

/// The version since which it is written whether all arguments are told. Before, what was not told was taken for empty.
const UNTOLD_ARGUMENTS_SINCE: u8 = 4;

/// The version since which a capsule says which entities were not stored.
const ABSENT_SINCE: u8 = 5;

/// The version since which a capsule says by which method a connection is kept.
const METHODS_SINCE: u8 = 6;

impl Capsule {
    /// Reads a capsule.
    ///
    /// # Errors
    ///
    /// [`CapsuleContentError`] for bytes that are damaged, too many, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, CapsuleContentError> {
        if bytes.len() > MAX_BYTES {
            return Err(CapsuleContentError::TooLarge(bytes.len()));
        }
        let mut bytes = Reader::new(bytes);
        bytes.version = match bytes.byte()? {
            version @ OLDEST_VERSION..=VERSION => version,
            other => return Err(CapsuleContentError::Version(other)),
        };
        let mut capsule = Self {
            policy_set_digest: bytes.short()?,
            now: bytes.time()?,
            caller: read_caller(&mut bytes)?,
            authority: slice::read(&mut bytes)?,
            entities: StoredForms::read(&mut bytes)?,
            absent: match bytes.version {
                ..ABSENT_SINCE => AbsentEntities::unknown(),
                ABSENT_SINCE.. => AbsentEntities::read(&mut bytes)?,
            },
            missing: MissingFacts {
                usage: bytes.bool()?,
                labels: bytes.bool()?,
                entities: bytes.bool()?,
                method: false,
            },
            request: match bytes.byte()? {
                0 => CapsuleRequest::Call(read_call(&mut bytes)?, read_history(&mut bytes)?),
                1 => CapsuleRequest::Cedar(read_cedar(&mut bytes)?),
                2 => {
                    let call = read_call(&mut bytes)?;
                    let history = read_history(&mut bytes)?;
                    let entries = many::read_entries(&mut bytes)?;
                    let history = history.of_list(&call, &entries);
                    CapsuleRequest::List(call, history, entries)
                }
                3 => CapsuleRequest::Search(many::read_candidates(&mut bytes)?),
                _ => return Err(CapsuleContentError::Bad("kind of request")),
            },
        };
        bytes.end()?;
        let is_of_unknown_method = bytes.version < METHODS_SINCE
            && matches!(&capsule.request, CapsuleRequest::Call(call, _)
                if matches!(call.operation.kind, OperationKind::Connect { .. }));
        capsule.missing.method = is_of_unknown_method;
        Ok(capsule)
    }
}

fn read_caller(bytes: &mut Reader<'_>) -> Result<Caller, CapsuleContentError> {
    let id = Arc::from(bytes.text()?);
    let bits = bytes.byte()?;
    let bit = |at: u32| bits & (1 << at) != 0;
    Ok(Caller {
        id,
        rights: Rights {
            assert_identity: bit(0),
            assert_delegation: bit(1),
            assert_claims: bit(2),
            assert_properties: bit(3),
            vouch_sessions: bit(4),
            people_in_person: bit(5),
            explain: bit(6),
            require_delegation: bit(7),
            ..Rights::default()
        },
        toolhive_agent: None,
        held: CallerUsage::default(),
    })
}

fn read_call(bytes: &mut Reader<'_>) -> Result<CallContext, CapsuleContentError> {
    Ok(CallContext {
        subject: Subject {
            entity: bytes.uid()?,
            identity: read_identity(bytes)?,
            claims: bytes.maybe(Reader::object)?.unwrap_or_default(),
        },
        actor_chain: bytes.maybe(read_chain)?,
        operation: read_operation(bytes)?,
        workflow: read_workflow(bytes)?,
        approval_ids: bytes.texts()?,
        environment: Environment {
            source_address: bytes.maybe(read_address)?,
        },
        trace: TraceContext::default(),
        denied: None,
    })
}

fn read_address(bytes: &mut Reader<'_>) -> Result<IpAddr, CapsuleContentError> {
    let octets = bytes.bytes()?;
    let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let sixteen = || <[u8; 16]>::try_from(octets).map(IpAddr::from);
    four.or_else(|_| sixteen())
        .map_err(|_| CapsuleContentError::Bad("address"))
}

fn read_identity(bytes: &mut Reader<'_>) -> Result<Identity, CapsuleContentError> {
    Ok(Identity {
        method: bytes.maybe(Reader::short)?,
        verified: bytes.bool()?,
        not_before: bytes.maybe(Reader::time)?,
        expires_at: bytes.maybe(Reader::time)?,
        is_relayed: bytes.bool()?,
    })
}

fn read_chain(bytes: &mut Reader<'_>) -> Result<ActorChain, CapsuleContentError> {
    Ok(ActorChain {
        root: bytes.maybe(Reader::uid)?,
        actors: bytes.uids()?,
        scopes: bytes.texts()?.into(),
        verified: bytes.bool()?,
        delegation_ids: bytes.texts()?,
        not_before: bytes.maybe(Reader::time)?,
        expires_at: bytes.maybe(Reader::time)?,
        claims: bytes.list(|bytes| Ok((bytes.uid()?, bytes.object()?)))?,
    })
}

fn read_operation(bytes: &mut Reader<'_>) -> Result<Operation, CapsuleContentError> {
    Ok(Operation {
        initiator: match bytes.byte()? {
            0 => Initiator::Client,
            1 => Initiator::Server,
            2 => Initiator::Ui,
            _ => return Err(CapsuleContentError::Bad("initiator")),
        },
        server: bytes.short()?,
        kind: read_kind(bytes)?,
        told: match bytes.version {
            ..UNTOLD_ARGUMENTS_SINCE => Told::All,
            _ => match bytes.bool()? {
                true => Told::All,
                false => Told::Part,
            },
        },
        answers: bytes.maybe(|bytes| {
            Ok(Box::new(ClientResponses {
                kinds: bytes.texts()?,
                field_names: bytes.texts()?,
                secret_fields: bytes.texts()?,
                text: bytes.text()?.to_owned(),
            }))
        })?,
        request_state: bytes.maybe(|bytes| Ok(bytes.text()?.into()))?,
    })
}

fn read_kind(bytes: &mut Reader<'_>) -> Result<OperationKind, CapsuleContentError> {
    let operation =
        OperationType::from_number(bytes.byte()?).ok_or(CapsuleContentError::Bad("operation"))?;
    Ok(match operation {
        OperationType::Connect if bytes.version < METHODS_SINCE => {
            OperationKind::connecting("initialize")
        }
        OperationType::Connect => OperationKind::connecting(bytes.text()?),
        OperationType::CallTool => OperationKind::CallTool(ToolCall {
            tool: bytes.short()?,
            arguments: bytes.object()?,
            definition_digest: bytes.maybe(Reader::short)?,
            target: bytes.maybe(Reader::short)?,
        }),
        OperationType::List(listing) => OperationKind::List(listing),
        OperationType::OnResource(operation) => OperationKind::OnResource {
            operation,
            uri: bytes.short()?,
        },
        OperationType::OnPrompt(operation) => OperationKind::OnPrompt {
            operation,
            name: bytes.short()?,
        },
        OperationType::GetPrompt => OperationKind::GetPrompt {
            name: bytes.short()?,
            arguments: bytes.texts()?,
        },
        OperationType::Sample => OperationKind::Sample(Sampling {
            max_tokens: bytes.signed()?,
            include_context: bytes.short()?,
            tools: bytes.texts()?,
            messages: bytes.signed()?,
            has_system_prompt: bytes.bool()?,
        }),
        OperationType::ElicitForm => OperationKind::ElicitForm {
            message: bytes.text()?.to_owned(),
            requested_schema: bytes.json("form")?,
        },
        OperationType::ElicitUrl => OperationKind::ElicitUrl {
            url: bytes.text()?.to_owned(),
        },
        OperationType::OnClient(operation) => OperationKind::OnClient(operation),
    })
}

fn read_workflow(bytes: &mut Reader<'_>) -> Result<Workflow, CapsuleContentError> {
    Ok(Workflow {
        session_id: bytes.maybe(Reader::short)?,
        is_session_vouched: bytes.bool()?,
        task_id: bytes.maybe(Reader::short)?,
        step: bytes.maybe(Reader::short)?,
        purpose: bytes.maybe(Reader::short)?,
        request_id: None,
        parent_decision_id: None,
    })
}

fn read_history(bytes: &mut Reader<'_>) -> Result<CapsuleHistory, CapsuleContentError> {
    Ok(CapsuleHistory {
        session: bytes.maybe(read_session)?,
        carried: bytes.maybe(|bytes| {
            Ok(CarriedLabels {
                task: bytes.maybe(read_labels)?,
                delegation: bytes.maybe(read_labels)?,
                recent: bytes.maybe(read_labels)?,
            })
        })?,
        usage: bytes.maybe(read_usage)?,
        calls_left: bytes.maybe(Reader::number)?,
        tool_calls_left: bytes.maybe(Reader::number)?,
        spent_tools: Vec::new(),
        definition: bytes
            .maybe(|bytes| Ok(DefinitionDigests::new(bytes.short()?, bytes.short()?)))?,
        approval_uses: bytes.list(Reader::small)?,
    })
}

fn read_labels(bytes: &mut Reader<'_>) -> Result<Arc<Labels>, CapsuleContentError> {
    Ok(Arc::new(Labels::new(bytes.texts()?)))
}

fn read_session(bytes: &mut Reader<'_>) -> Result<Session, CapsuleContentError> {
    let mut session = Session::new();
    session.is_ended = bytes.bool()?;
    session.calls = bytes.number()?;
    session.labels = read_labels(bytes)?;
    session.tools = Arc::new(CedarSet::new(bytes.uids()?));
    let last = match bytes.version {
        ..PLACES_SINCE => bytes.uids()?,
        PLACES_SINCE.. => bytes.list(|bytes| {
            let tool = session.tools.items().get(bytes.small::<usize>()?);
            tool.cloned().ok_or(CapsuleContentError::Bad("recent call"))
        })?,
    };
    Ok(session.with_last_tools(&last))
}

fn read_usage(bytes: &mut Reader<'_>) -> Result<Usage, CapsuleContentError> {
    let counts = |bytes: &mut Reader<'_>| {
        Ok(WindowCounts {
            minute: bytes.number()?,
            hour: bytes.number()?,
            day: bytes.number()?,
        })
    };
    Ok(Usage {
        tool: counts(bytes)?,
        actor: counts(bytes)?,
        recent_denials: bytes.number()?,
        is_first_use: bytes.bool()?,
        distinct_tools: bytes.number()?,
    })
}

fn read_cedar(bytes: &mut Reader<'_>) -> Result<ParcRequest, CapsuleContentError> {
    Ok(ParcRequest {
        principal: bytes.uid()?,
        action: bytes.uid()?,
        resource: bytes.uid()?,
        context: Context::Value(Arc::new(bytes.list(read_named)?.into_iter().collect())),
        asserted: bytes.list(read_asserted)?,
        denied: None,
        trace: TraceContext::default(),
    })
}

pub(super) fn read_asserted(bytes: &mut Reader<'_>) -> Result<AssertedEntity, CapsuleContentError> {
    Ok(AssertedEntity {
        uid: bytes.uid()?,
        attributes: bytes.list(read_named)?,
    })
}

pub(super) fn read_named(bytes: &mut Reader<'_>) -> Result<(SmolStr, Value), CapsuleContentError> {
    Ok((bytes.short()?, bytes.value()?))
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;

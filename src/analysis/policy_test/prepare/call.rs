//! What is decided: a call, a change of authority, or Cedar's own request.

use std::time::{Duration, SystemTime};

use callgate_engine::cedar::{
    ContextJsonParser, ContextSchema, EntityUID, Extensions, context_schema_for_action,
};
use serde_json::{Map, Value as Json, json};

use crate::analysis::policy_test::form::{CallForm, Case, GovernForm, RequestForm};
use crate::analysis::policy_test::prepare::live::scope;
use crate::analysis::policy_test::prepare::{
    CaseFault, GovernQuestion, Question, Resolver, TASK_ID, party,
};
use crate::domain::authority::delegation::Delegation;
use crate::domain::authority::task::Task;
use crate::domain::authority::terms::TaskTerms;
use crate::domain::decide::is_authorized::ParcRequest;
use crate::domain::request::call_context::{
    ActorChain, CallContext, Environment, Identity, Initiator, Operation, Subject, Workflow,
};
use crate::domain::request::cedar_number;
use crate::domain::request::client_responses::ClientResponses;
use crate::domain::request::nulls::without_nulls;
use crate::domain::request::operation::{
    Listing, OperationKind, OperationType, Sampling, ToolCall,
};
use crate::domain::request::trace_context::TraceContext;
use crate::domain::schema::{self, AccessLevel, TYPES};

impl Resolver<'_> {
    pub(super) fn question(&self, case: &Case, now: SystemTime) -> Result<Question, CaseFault> {
        match (&case.call, &case.govern, &case.request) {
            (Some(call), None, None) => {
                let form = self.call_form(call)?;
                Ok(Question::Call(Box::new(context(case, &form)?)))
            }
            (None, Some(form), None) => Ok(Question::Govern(Box::new(governing(case, form, now)?))),
            (None, None, Some(form)) => self.parc(case, form),
            _ => {
                let message = "a test has one of `call`, `govern` and `request`";
                Err(CaseFault::new("call", message))
            }
        }
    }

    fn parc(&self, case: &Case, form: &RequestForm) -> Result<Question, CaseFault> {
        if case.user.is_some() || case.agent.is_some() || case.from_server.is_some() {
            let message = "Cedar's own request names its principal itself";
            return Err(CaseFault::new("request", message));
        }
        let uid = |field: &str, text: &str| -> Result<EntityUID, CaseFault> {
            text.parse().map_err(|error| {
                CaseFault::new(format!("request.{field}"), format!("`{text}`: {error}"))
            })
        };
        let action = uid("action", &form.action)?;
        let schema = self.bundle.snapshot.schema();
        let expected = schema.and_then(|schema| context_schema_for_action(schema, &action));
        let extensions = Extensions::all_available();
        let fields = Json::Object(without_nulls(form.context.clone()));
        let typed = ContextJsonParser::new(expected.as_ref(), extensions);
        let untyped = ContextJsonParser::new(None::<&ContextSchema>, extensions);
        let context = match typed.from_json_value(fields.clone()) {
            Ok(context) => Ok(context),
            Err(_) => match cedar_number::unfit(&fields, "context") {
                Some(said) => return Err(CaseFault::new("request.context", said)),
                // What does not conform is denied by the decision.
                None => untyped.from_json_value(fields),
            },
        };
        Ok(Question::Parc(Box::new(ParcRequest {
            principal: uid("principal", &form.principal)?,
            resource: uid("resource", &form.resource)?,
            action,
            context: context
                .map_err(|error| CaseFault::new("request.context", error.to_string()))?,
            asserted: Vec::new(),
            denied: None,
            trace: TraceContext::default(),
        })))
    }
}

fn subject(case: &Case) -> Result<Subject, CaseFault> {
    let entity = match (&case.user, &case.agent, &case.from_server) {
        (Some(user), None, None) => schema::entity_uid(&TYPES.user, user.as_str()),
        (None, Some(agent), None) => schema::entity_uid(&TYPES.agent, agent.as_str()),
        (None, None, Some(server)) => schema::entity_uid(&TYPES.server, server.as_str()),
        _ => {
            let message = "a test has one subject: `user`, `agent` or `from_server`";
            return Err(CaseFault::new("user", message));
        }
    };
    let given = case.identity.clone().unwrap_or_default();
    Ok(Subject {
        entity,
        identity: Identity {
            method: given.method.map(Into::into),
            verified: given.verified,
            is_relayed: given.relayed,
            ..Identity::default()
        },
        claims: case.claims.clone(),
    })
}

fn actors(case: &Case) -> Vec<EntityUID> {
    let via = case.via.iter();
    via.map(|agent| schema::entity_uid(&TYPES.agent, agent.as_str()))
        .collect()
}

fn chain(case: &Case) -> Result<Option<ActorChain>, CaseFault> {
    let claims = case
        .claims_of
        .iter()
        .map(|(who, claims)| Ok((party("claims_of", who)?, claims.clone())));
    let claims: Vec<_> = claims.collect::<Result<_, CaseFault>>()?;
    let chain = match (&case.for_user, case.delegations.as_slice()) {
        (None, []) => return Ok(None),
        (Some(_), [_, ..]) => {
            let message = "a chain is asserted (`for`) or stored (`delegations`), not both";
            return Err(CaseFault::new("delegations", message));
        }
        (Some(user), []) => ActorChain {
            actors: actors(case),
            scopes: case.scopes.iter().map(Into::into).collect(),
            verified: case.chain_verified.unwrap_or(true),
            ..ActorChain::verified_from(schema::entity_uid(&TYPES.user, user.as_str()))
        },
        (None, names) => {
            ActorChain::from_delegation_ids(names.iter().map(|id| id.as_str().into()).collect())
        }
    };
    Ok(Some(ActorChain { claims, ..chain }))
}

fn context(case: &Case, form: &CallForm) -> Result<CallContext, CaseFault> {
    let subject = subject(case)?;
    let initiator = match (&case.from_server, form.from_ui) {
        (Some(_), _) => Initiator::Server,
        (None, true) => Initiator::Ui,
        (None, false) => Initiator::Client,
    };
    let (kind, server) = operation(form)?;
    let server = server.or_else(|| case.from_server.clone());
    let mut answers = ClientResponses::default();
    for result in &form.answers {
        let added = answers.add(result);
        added.map_err(|error| CaseFault::new("call.answers", error.to_string()))?;
    }
    let address =
        match &case.source_address {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| {
                CaseFault::new("source_address", format!("`{text}` is no IP address"))
            })?),
        };
    Ok(CallContext {
        actor_chain: chain(case)?,
        operation: Operation {
            answers: (!form.answers.is_empty()).then(|| Box::new(answers)),
            request_state: form.request_state.clone().map(Into::into),
            ..Operation::new(initiator, server.unwrap_or_default(), kind)
        },
        workflow: Workflow {
            session_id: case.session.as_ref().map(|_| "session".into()),
            task_id: case.task.as_ref().map(|_| TASK_ID.into()),
            purpose: case.purpose.clone().map(Into::into),
            ..Workflow::default()
        },
        environment: Environment {
            source_address: address,
        },
        ..CallContext::new(
            subject,
            Operation::new(initiator, "", OperationKind::List(Listing::Tools)),
        )
    })
}

/// To keep a connection, by a method that is decided apart if one is said.
fn connecting(method: Option<&str>) -> Result<OperationKind, CaseFault> {
    let kind = OperationKind::connecting(method.unwrap_or_default());
    match method.filter(|it| *it != kind.method()) {
        None => Ok(kind),
        Some(other) => Err(CaseFault::new(
            "call.method",
            format!("`{other}` is no method that is decided otherwise than `initialize`"),
        )),
    }
}

/// The operation, and the server that it names.
pub(super) fn operation(form: &CallForm) -> Result<(OperationKind, Option<String>), CaseFault> {
    let required = |field: &str, text: &Option<String>| {
        let missing = || CaseFault::new(format!("call.{field}"), "is required for this kind");
        text.clone().ok_or_else(missing)
    };
    let prompt = || Ok(required("prompt", &form.prompt)?.into());
    let kind = match form.kind.0 {
        OperationType::CallTool => {
            let path = required("tool", &form.tool)?;
            let Some((server, tool)) = path.split_once('/') else {
                let message = format!("`{path}` is not `<server>/<tool>`");
                return Err(CaseFault::new("call.tool", message));
            };
            if let Some(other) = form.server.as_deref().filter(|it| *it != server) {
                let message = format!("`{other}` is not the server of `{path}`");
                return Err(CaseFault::new("call.server", message));
            }
            let call = ToolCall {
                tool: tool.into(),
                arguments: form.arguments.clone(),
                definition_digest: form.definition.clone().map(Into::into),
                target: form.target.clone().map(Into::into),
            };
            return Ok((OperationKind::CallTool(call), Some(server.to_owned())));
        }
        OperationType::Connect => connecting(form.method.as_deref())?,
        OperationType::List(listing) => OperationKind::List(listing),
        OperationType::OnResource(operation) => OperationKind::OnResource {
            operation,
            uri: required("uri", &form.uri)?.into(),
        },
        OperationType::OnPrompt(operation) => OperationKind::OnPrompt {
            operation,
            name: prompt()?,
        },
        OperationType::GetPrompt => OperationKind::GetPrompt {
            name: prompt()?,
            arguments: form.arguments.keys().map(Into::into).collect(),
        },
        OperationType::ElicitForm => {
            let fields = form.fields.iter();
            let fields: Map<String, Json> = fields
                .map(|name| (name.clone(), json!({"type": "string"})))
                .collect();
            OperationKind::ElicitForm {
                message: String::new(),
                requested_schema: json!({"type": "object", "properties": fields}),
            }
        }
        OperationType::ElicitUrl => OperationKind::ElicitUrl {
            url: required("url", &form.url)?,
        },
        OperationType::Sample => OperationKind::Sample(Sampling {
            max_tokens: form.max_tokens,
            include_context: form.include_context.as_deref().unwrap_or_default().into(),
            tools: form.tools.iter().map(Into::into).collect(),
            has_system_prompt: form.system_prompt,
            ..Sampling::default()
        }),
        OperationType::OnClient(operation) => OperationKind::OnClient(operation),
    };
    Ok((kind, form.server.clone()))
}

/// The actions of `govern` that a test asks for; who may approve is part of the test of the call.
const GOVERNING: [&str; 11] = [
    "grant_delegation",
    "revoke_delegation",
    "open_task",
    "advance_task",
    "close_task",
    "end_session",
    "edit_entities",
    "stop_entity",
    "resume_entity",
    "repair_clock",
    "publish_bundle",
];

fn governing(case: &Case, form: &GovernForm, now: SystemTime) -> Result<GovernQuestion, CaseFault> {
    let known = GOVERNING.into_iter().find(|name| *name == form.action);
    let Some(action) = known else {
        let message = format!("`{}` is none of {}", form.action, GOVERNING.join(", "));
        return Err(CaseFault::new("govern.action", message));
    };
    let actor = subject(case)?;
    let agent = form.to.as_deref();
    let agent = agent.map(|agent| schema::entity_uid(&TYPES.agent, agent));
    let user = case.for_user.as_deref();
    let user = user.map(|user| schema::entity_uid(&TYPES.user, user));
    let is_delegation = action.ends_with("_delegation");
    let delegation = agent
        .clone()
        .filter(|_| is_delegation)
        .map(|to| Delegation {
            id: "delegation".into(),
            from: actor.entity.clone(),
            to,
            scope: scope(
                [&[], &[], &[]],
                &[],
                form.access.unwrap_or(AccessLevel::Write),
            ),
            task: None,
            parent: None,
            max_redelegations: 0,
            not_before: now,
            expires_at: now + Duration::from_secs(3_600),
            revoked_at: None,
            created_at: now,
            owners: Default::default(),
        });
    let root = user.clone().unwrap_or_else(|| actor.entity.clone());
    let chain = delegation.as_ref().map(|_| (root, actors(case)));
    let task = agent
        .clone()
        .zip(user)
        .filter(|_| action.ends_with("_task"))
        .map(|(agent, user)| Task {
            terms: TaskTerms {
                uses: form.uses.iter().map(super::live::tool_use).collect(),
                places: super::live::places(&form.read_from, &form.send_to),
            },
            ..super::live::open_task(agent, user, now)
        });
    let resource = match action {
        "advance_task" | "close_task" => schema::entity_uid(&TYPES.task, TASK_ID),
        "end_session" | "edit_entities" | "repair_clock" | "publish_bundle" => {
            schema::entity_uid(&TYPES.gateway, "local")
        }
        _ => agent.ok_or_else(|| CaseFault::new("govern.to", "is required for this action"))?,
    };
    Ok(GovernQuestion {
        actor,
        action,
        resource,
        chain,
        delegation,
        task,
    })
}

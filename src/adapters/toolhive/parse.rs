//! Parses ToolHive's principal, operation, resource and context into a call.
//!
//! Where configured, ToolHive sends the same facts twice: in the operation and the resource name, and in
//! `context.mcp`. Both must agree.

use callgate_engine::cedar::{Eid, EntityType, EntityUID};
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::input::field_error::{
    FieldContext as _, FieldError, FieldProblem, TextExcerpt,
};
use crate::adapters::input::ids;
use crate::adapters::input::json::check_depth;
use crate::adapters::input::json_fields::{id, object, optional_object, optional_text, text};
use crate::adapters::input::limits::{check_count, check_length};
use crate::adapters::mcp::member_spelling::require_distinct_keys;
use crate::adapters::subject::token_claims::{self, TokenValidity};
use crate::config::limits::Limits;
use crate::domain::request::call_context::{
    ActorChain, CallContext, Identity, Initiator, Operation, Subject, Told,
};
use crate::domain::request::json_text;
use crate::domain::request::operation::{Listing, OperationKind, ResourceOperation, ToolCall};
use crate::domain::request::trace_context::TraceContext;
use crate::domain::schema::{self, TYPES};

/// What ToolHive asks about.
#[derive(Debug)]
pub(super) enum ToolhiveQuery {
    /// A call.
    Call(CallContext),
    /// A call of a tool that names the tool alone: one without arguments, one whose arguments are not told, or an entry
    /// of a list.
    NamedAlone(CallContext),
    /// An operation that this version does not know.
    Unknown,
}

/// How requests are read: who the parties are, and what absent arguments mean.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallRules<'a> {
    /// The entity type of the principal that `sub` names.
    pub(super) subject_type: Option<&'a EntityType>,
    /// The configured agent that acts for it: ToolHive drops `act` and names none.
    pub(super) agent: Option<&'a str>,
    /// Whether ToolHive's claims about the principal count.
    pub(super) takes_claims: bool,
    /// Whether arguments that are absent may have been left out, rather than be empty.
    pub(super) requires_arguments: bool,
}

/// ToolHive's operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ToolHiveOperation {
    CallTool,
    ListTools,
    GetPrompt,
    ListPrompts,
    ReadResource,
    ListResources,
}

impl ToolHiveOperation {
    fn of(operation: &str) -> Option<(Self, &'static str, &'static str)> {
        Some(match operation {
            "mcp:tool:call" => (Self::CallTool, "tool", "call"),
            "mcp:tool:list" => (Self::ListTools, "tool", "list"),
            "mcp:prompt:get" => (Self::GetPrompt, "prompt", "get"),
            "mcp:prompt:list" => (Self::ListPrompts, "prompt", "list"),
            "mcp:resource:read" => (Self::ReadResource, "resource", "read"),
            "mcp:resource:list" => (Self::ListResources, "resource", "list"),
            _ => return None,
        })
    }
}

/// Parses one request.
pub(super) fn call(
    request: &Map<String, Json>,
    rules: CallRules<'_>,
    limits: &Limits,
    trace: &TraceContext,
) -> Result<ToolhiveQuery, FieldError> {
    let (subject, delegation) = parties(request, rules, limits)?;
    let Some((verb, feature, operation)) = ToolHiveOperation::of(text(request, "operation")?)
    else {
        return Ok(ToolhiveQuery::Unknown);
    };
    let (server, name) = resource(text(request, "resource")?, feature, limits)?;
    let mcp = match optional_object(request, "context")? {
        Some(context) => optional_object(context, "mcp").within("context")?,
        None => None,
    };
    if let Some(mcp) = mcp {
        agrees(mcp, "feature", feature)?;
        agrees(mcp, "operation", operation)?;
        agrees(mcp, "resource_id", &name)?;
    }
    let arguments = match mcp {
        Some(mcp) => optional_object(mcp, "args").within("context.mcp")?,
        None => None,
    };
    if arguments.is_some_and(|it| it.values().any(may_be_rounded)) {
        return Err(FieldError::new("args", FieldProblem::MayBeRounded).inside("context.mcp"));
    }
    let kind = kind(verb, &name, arguments, limits)?;
    let told = match arguments.is_some() || !rules.requires_arguments {
        true => Told::All,
        false => Told::Part,
    };
    let operation = Operation {
        told,
        ..Operation::new(Initiator::Client, server, kind)
    };
    let mut call = CallContext::new(subject, operation);
    call.actor_chain = delegation;
    call.trace = trace.clone();
    let is_named_alone =
        verb == ToolHiveOperation::CallTool && mcp.is_some() && arguments.is_none();
    Ok(match is_named_alone {
        true => ToolhiveQuery::NamedAlone(call),
        false => ToolhiveQuery::Call(call),
    })
}

/// The principal that `sub` names, or the agent that acts for it. ToolHive has verified the token; whether
/// its claims count depends on the caller's rights. If they do not, the call is decided without them.
fn parties(
    request: &Map<String, Json>,
    rules: CallRules<'_>,
    limits: &Limits,
) -> Result<(Subject, Option<ActorChain>), FieldError> {
    const FIELD: &str = "principal";
    let principal = object(request, FIELD)?;
    check_depth(principal, limits.json_depth, FIELD)?;
    let name = id(principal, limits.id_bytes, "sub").within(FIELD)?;
    let Some(subject_type) = rules.subject_type else {
        let problem = FieldProblem::NotAnEntityType(TextExcerpt::new("toolhive.subject_type"));
        return Err(FieldError::new(FIELD, problem));
    };
    let entity = EntityUID::from_components(subject_type.clone(), Eid::new(name), None);
    let mut claims = claims(principal);
    let scopes = token_claims::scopes(&claims).map_err(|_| {
        let problem = FieldProblem::NotOfShape("a string or a list of strings");
        FieldError::new("scopes", problem).inside(FIELD)
    })?;
    let validity = token_claims::validity_in(FIELD, &claims, limits)?;
    if rules.agent.is_none() && token_claims::names_actor(&claims) {
        let said = "is there, and the caller has no `toolhive_agent` that acts for `sub`";
        return Err(FieldError::new("act", FieldProblem::Contradiction(said)).inside(FIELD));
    }
    if !rules.takes_claims {
        claims.clear();
    }
    let TokenValidity {
        not_before,
        expires_at,
    } = validity;
    let Some(agent) = rules.agent else {
        let is_relayed = *entity.entity_type() == TYPES.user;
        let mut subject = Subject {
            claims,
            ..Subject::verified(entity, "jwt")
        };
        subject.identity = Identity {
            not_before,
            expires_at,
            is_relayed,
            ..subject.identity
        };
        return Ok((subject, None));
    };
    let agent = schema::entity_uid(&TYPES.agent, agent);
    let delegation = ActorChain {
        scopes,
        not_before,
        expires_at,
        claims: vec![(entity.clone(), claims)],
        ..ActorChain::verified_from(entity)
    };
    Ok((Subject::verified(agent, "configuration"), Some(delegation)))
}

/// Renames claims to the names that tokens use: ToolHive calls `scope` differently.
fn claims(principal: &Map<String, Json>) -> Map<String, Json> {
    let mut claims = principal.clone();
    if let (None, Some(scopes)) = (principal.get("scope"), principal.get("scopes")) {
        claims.insert("scope".to_owned(), scopes.clone());
    }
    claims
}

/// Parses server and name from `mrn:mcp:<server>:<feature>:<name>`. The name may contain colons, the server
/// may not.
fn resource(
    text: &str,
    feature: &'static str,
    limits: &Limits,
) -> Result<(SmolStr, SmolStr), FieldError> {
    const FIELD: &str = "resource";
    const FORM: &str =
        "of the form `mrn:mcp:<server>:<feature>:<name>`, of the operation's feature";
    check_length(text, limits.text_bytes, FIELD)?;
    let parts = text
        .strip_prefix("mrn:mcp:")
        .and_then(|rest| rest.split_once(':'))
        .and_then(|(server, rest)| Some((server, rest.split_once(':')?)));
    match parts {
        Some((server, (named, name))) if named == feature => Ok((
            ids::required(server, limits.id_bytes, FIELD)?,
            SmolStr::new(name),
        )),
        _ => Err(FieldError::new(
            FIELD,
            FieldProblem::UnknownWord(TextExcerpt::new(text), FORM),
        )),
    }
}

/// Whether a value contains a whole number that ToolHive may have rounded. It stores numbers as doubles,
/// while the server receives the original text.
fn may_be_rounded(value: &Json) -> bool {
    match value {
        Json::Number(number) => json_text::may_be_rounded(number),
        Json::Array(items) => items.iter().any(may_be_rounded),
        Json::Object(members) => members.values().any(may_be_rounded),
        _ => false,
    }
}

/// Checks that a member of `context.mcp` agrees with the request.
fn agrees(mcp: &Map<String, Json>, field: &'static str, wanted: &str) -> Result<(), FieldError> {
    const OUTER: &str = "context.mcp";
    match optional_text(mcp, field).within(OUTER)? {
        Some(given) if given != wanted => {
            let said = "says something else than `operation` and `resource`";
            Err(FieldError::new(field, FieldProblem::Contradiction(said)).inside(OUTER))
        }
        _ => Ok(()),
    }
}

fn kind(
    verb: ToolHiveOperation,
    name: &SmolStr,
    arguments: Option<&Map<String, Json>>,
    limits: &Limits,
) -> Result<OperationKind, FieldError> {
    const FIELD: &str = "resource";
    const ARGUMENTS: &str = "context.mcp.args";
    let named = || ids::required(name, limits.id_bytes, FIELD);
    Ok(match verb {
        ToolHiveOperation::CallTool => OperationKind::CallTool(ToolCall {
            tool: named()?,
            arguments: arguments.cloned().unwrap_or_default(),
            definition_digest: None,
            target: None,
        }),
        ToolHiveOperation::ListTools => OperationKind::List(Listing::Tools),
        ToolHiveOperation::GetPrompt => {
            if let Some(arguments) = arguments {
                require_distinct_keys(arguments, ARGUMENTS)?;
            }
            let names = arguments.map(Map::keys).into_iter().flatten();
            let names = names.map(|name| ids::required(name, limits.id_bytes, ARGUMENTS));
            let mut arguments = names.collect::<Result<Vec<SmolStr>, _>>()?;
            check_count(arguments.len(), limits.list_items, ARGUMENTS)?;
            arguments.sort_unstable();
            let name = named()?;
            OperationKind::GetPrompt { name, arguments }
        }
        ToolHiveOperation::ListPrompts => OperationKind::List(Listing::Prompts),
        ToolHiveOperation::ReadResource => {
            let uri = ids::required(name, limits.text_bytes, FIELD)?;
            OperationKind::OnResource {
                operation: ResourceOperation::Read,
                uri,
            }
        }
        ToolHiveOperation::ListResources => OperationKind::List(Listing::Resources),
    })
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;

//! AuthZEN requests that follow the binding COAZ-MCP, parsed as MCP calls.
//!
//! Start at [`CoazReader::asked`]. The server is the configured one, or comes from the one field that the
//! configuration names; every other field of the request that names a server must agree. An ambiguous request
//! is a call that is denied ([`CallContext::denied`]), with all that is known of it.

mod server;

use callgate_engine::cedar::EntityUID;
use serde_json::{Map, Value as Json, json};
use smol_str::SmolStr;

use crate::adapters::authzen::coaz::server::NamedServer;
use crate::adapters::authzen::parse::EvaluationParser;
use crate::adapters::input::field_error::{
    FieldContext as _, FieldError, FieldProblem, TextExcerpt,
};
use crate::adapters::input::ids;
use crate::adapters::input::json::{KeyPolicy, check_depth, check_keys};
use crate::adapters::input::json_fields::{id, object, optional_object, optional_text};
use crate::adapters::input::limits::check_count;
use crate::adapters::mcp::member_spelling::require_unambiguous;
use crate::adapters::mcp::methods::{self, CALL_TOOL, ObjectKind, Sender};
use crate::adapters::mcp::request::intent::{MessageIntent, OperationError};
use crate::adapters::mcp::request::operations;
use crate::config::coaz::CoazConfig;
use crate::domain::decide::verdict::{Reason, ReasonCode};
use crate::domain::request::call_context::{
    ActorChain, CallContext, Initiator, Operation, Subject, Told, Workflow,
};
use crate::domain::request::operation::OperationKind;
use crate::domain::schema::{TYPES, entity_uid};
use crate::service::generation::Generation;

/// The identity method recorded for parties of such a request: a token that the enforcement point has
/// verified.
const METHOD: &str = "jwt";

const SUBJECT: &str = "subject";
const RESOURCE: &str = "resource";
const CONTEXT: &str = "context";
const PROPERTIES: &str = "properties";
const ARGUMENTS: &str = "arguments";
/// The argument that stands for all arguments when an enforcement point left them out as too large.
const CUT: &str = "_truncated";
/// The value of an argument that an enforcement point has redacted.
const HIDDEN: &str = "***redacted***";

/// The AuthZEN resource type of an object.
const fn resource_type(object: ObjectKind) -> &'static str {
    match object {
        ObjectKind::Server => "mcp_server",
        ObjectKind::Tool => "tool",
        ObjectKind::Resource => "resource",
        ObjectKind::Prompt => "prompt",
        ObjectKind::Task => "task",
    }
}

/// Parses the requests of one caller.
#[derive(Clone, Copy)]
pub(super) struct CoazReader<'a> {
    pub(super) entry: &'a CoazConfig,
    /// Names parties whose type the entry does not know.
    pub(super) parser: EvaluationParser<'a>,
    /// The generation whose registrations apply.
    pub(super) generation: &'a Generation,
}

/// Why the server that a request names is not known.
enum CoazError {
    Invalid(FieldError),
    Denied(Box<Reason>),
}

impl From<FieldError> for CoazError {
    fn from(invalid: FieldError) -> Self {
        Self::Invalid(invalid)
    }
}

/// The parties that a request names.
struct Parties {
    subject: Subject,
    actor_chain: Option<ActorChain>,
    /// Why it is not clear who they are.
    unclear: Option<Box<Reason>>,
}

/// The operation that a request names, and why it is not clear or not complete.
type NamedOperation = (Operation, Option<Box<Reason>>);

/// Why a request whose fields are valid is denied: its meaning is ambiguous.
fn ambiguous(message: impl Into<String>) -> Box<Reason> {
    Box::new(Reason::new(ReasonCode::ContextInvalid, message))
}

fn unclear(message: impl Into<String>) -> CoazError {
    CoazError::Denied(ambiguous(message))
}

impl CoazReader<'_> {
    /// Returns the call that a request asks about, or `None` if its action is no method of the binding. One that is
    /// ambiguous or incomplete is denied, with all that is known of it.
    pub(super) fn asked(
        &self,
        request: &Map<String, Json>,
    ) -> Result<Option<CallContext>, FieldError> {
        let named = id(
            object(request, "action")?,
            self.parser.limits.id_bytes,
            "name",
        )
        .within("action")?;
        let name = self
            .entry
            .actions
            .get(named.as_str())
            .map_or(&*named, |it| it);
        let method = methods::request(Sender::Client, name);
        let Some(method) = method.filter(|method| !method.coaz_objects.is_empty()) else {
            return Ok(None);
        };
        self.check_read_members(request)?;
        let parties = self.parties(request)?;
        let (operation, denied) = self.operation(request, method.name, method.coaz_objects)?;
        let mut call = CallContext::new(parties.subject, operation);
        call.actor_chain = parties.actor_chain;
        call.denied = parties.unclear.or(denied);
        self.work(request, &mut call)?;
        call.trace = self.parser.trace.clone();
        Ok(Some(call))
    }

    /// Returns the operation; of one that is not known, its method on the server.
    fn operation(
        &self,
        request: &Map<String, Json>,
        method: &'static str,
        kinds: &[ObjectKind],
    ) -> Result<NamedOperation, FieldError> {
        let resource = object(request, RESOURCE)?;
        let properties = optional_object(resource, PROPERTIES).within(RESOURCE)?;
        let kind = self.kind(resource, method, kinds)?;
        // The id of another object than the method is about does not say the server.
        let likely = *kind.as_ref().unwrap_or(&ObjectKind::Resource);
        let id = self.resource_id(resource, likely)?;
        let named = self.server(request, likely, &id, properties)?;
        let on_server = |server| {
            let kind = OperationKind::Connect { method };
            Operation::new(Initiator::Client, server, kind)
        };
        let kind = match kind {
            Ok(kind) => kind,
            Err(reason) => return Ok((on_server(named.server), Some(reason))),
        };
        let NamedServer {
            server,
            id,
            unclear,
        } = named;
        let params = self.params(method, kind, &id, properties)?;
        let has_arguments =
            properties.is_some_and(|it| it.get(ARGUMENTS).is_some_and(|it| !it.is_null()));
        // The binding's default sends none, so it would deny every prompt, of whose arguments no schema says anything.
        let told = match has_arguments || method != CALL_TOOL || !self.entry.require_arguments {
            true => Told::All,
            false => Told::Part,
        };
        let asked = operations::from_request(
            Sender::Client,
            &server,
            method,
            params,
            told,
            self.parser.limits,
        );
        let undecided = || ambiguous(format!("`{method}` is not decided"));
        let operation = match asked {
            Ok(MessageIntent::Authorize(all)) => all.into_iter().next().ok_or_else(undecided),
            Ok(MessageIntent::Exempt) => Err(undecided()),
            Err(OperationError::Invalid(invalid)) => return Err(of_resource(&invalid)),
            Err(other) => Err(ambiguous(other.to_string())),
        };
        Ok(match operation {
            Ok(operation) => {
                let denied = unclear.or_else(|| missing_arguments(&operation));
                (operation, denied)
            }
            Err(reason) => (on_server(server), Some(reason)),
        })
    }

    /// Checks that what is read of context and properties can be read in one way. Other members are ignored.
    fn check_read_members(&self, request: &Map<String, Json>) -> Result<(), FieldError> {
        const AUD: &str = "aud";
        let entry = self.entry;
        let keys = [
            &entry.session_key,
            &entry.task_key,
            &entry.approvals_key,
            &entry.delegations_key,
        ];
        let keys = keys.into_iter().filter_map(|key| key.as_deref());
        let of_context: Vec<&str> = keys.chain(["agent", AUD]).collect();
        if let Some(context) = optional_object(request, CONTEXT)? {
            require_unambiguous(context, &of_context, CONTEXT)?;
        }
        for (party, read) in [
            (SUBJECT, [AUD].as_slice()),
            (RESOURCE, &[ARGUMENTS, "server", AUD]),
        ] {
            let properties = optional_object(object(request, party)?, PROPERTIES).within(party)?;
            if let Some(properties) = properties {
                require_unambiguous(properties, read, PROPERTIES).within(party)?;
            }
        }
        Ok(())
    }

    /// Returns the user that `subject` names, or the agent that acts for that user.
    fn parties(&self, request: &Map<String, Json>) -> Result<Parties, FieldError> {
        let party = object(request, SUBJECT)?;
        let limit = self.parser.limits.id_bytes;
        let ty = id(party, limit, "type").within(SUBJECT)?;
        let person = id(party, limit, "id").within(SUBJECT)?;
        let mut unclear = None;
        let is_person = self.entry.subject_types.iter().any(|known| *known == *ty);
        let person: EntityUID = match is_person {
            true => entity_uid(&TYPES.user, person),
            false => {
                let said = "is none of the types that `subject_types` of `[[authzen.mcp]]` names";
                let ty = TextExcerpt::new(&ty);
                unclear = Some(ambiguous(format!("`subject.type` `{ty}` {said}")));
                self.parser.named_party(request, SUBJECT)?.0
            }
        };
        let context = optional_object(request, CONTEXT)?;
        let named = match context {
            Some(context) => optional_text(context, "agent").within(CONTEXT)?,
            None => None,
        };
        let named = named
            .map(|text| ids::required::<SmolStr>(text, limit, "agent").within(CONTEXT))
            .transpose()?;
        let known = self.entry.agent.as_deref();
        if let (Some(named), Some(known)) = (&named, known)
            && *named != *known
        {
            let said = "is another than `agent` of `[[authzen.mcp]]`";
            let named = TextExcerpt::new(named);
            unclear.get_or_insert_with(|| ambiguous(format!("`context.agent` `{named}` {said}")));
        }
        let Some(agent) = named.or_else(|| known.map(SmolStr::new)) else {
            let mut subject = Subject::verified(person, METHOD);
            subject.identity.is_relayed = true;
            return Ok(Parties {
                subject,
                actor_chain: None,
                unclear,
            });
        };
        let delegation_ids = self.names(context, self.entry.delegations_key.as_deref())?;
        let actor_chain = ActorChain {
            delegation_ids,
            ..ActorChain::verified_from(person)
        };
        Ok(Parties {
            subject: Subject::verified(entity_uid(&TYPES.agent, agent), METHOD),
            actor_chain: Some(actor_chain),
            unclear,
        })
    }

    /// Returns the kind of the object, or why the method is not about it.
    fn kind(
        &self,
        resource: &Map<String, Json>,
        method: &str,
        kinds: &[ObjectKind],
    ) -> Result<Result<ObjectKind, Box<Reason>>, FieldError> {
        let named = id(resource, self.parser.limits.id_bytes, "type").within(RESOURCE)?;
        let name = self
            .entry
            .resources
            .get(named.as_str())
            .map_or(&*named, |it| it);
        let kind = kinds.iter().find(|it| resource_type(**it) == name);
        Ok(kind.copied().ok_or_else(|| {
            let known: Vec<String> = kinds
                .iter()
                .map(|it| format!("`{}`", resource_type(*it)))
                .collect();
            let known = known.join(" or ");
            let named = TextExcerpt::new(&named);
            ambiguous(format!(
                "`resource.type` `{named}` is not what `{method}` is about: {known}"
            ))
        }))
    }

    /// A URI may be longer than a name.
    fn resource_id(
        &self,
        resource: &Map<String, Json>,
        kind: ObjectKind,
    ) -> Result<SmolStr, FieldError> {
        let limit = match kind {
            ObjectKind::Resource | ObjectKind::Server => self
                .parser
                .limits
                .text_bytes
                .max(self.parser.limits.id_bytes),
            _ => self.parser.limits.id_bytes,
        };
        id(resource, limit, "id").within(RESOURCE)
    }

    /// Reads session, task and approvals from the members of `context` that the configuration names.
    fn work(&self, request: &Map<String, Json>, call: &mut CallContext) -> Result<(), FieldError> {
        let context = optional_object(request, CONTEXT)?;
        let text = |key: Option<&str>| match (context, key) {
            (Some(context), Some(key)) => match context.get(key) {
                None | Some(Json::Null) => Ok(None),
                Some(Json::String(text)) => Ok(Some(text.as_str())),
                Some(_) => Err(in_context(key, FieldProblem::NotOfShape("a string"))),
            },
            _ => Ok(None),
        };
        let entry = self.entry;
        let session_key = entry.session_key.as_deref();
        let session_id = match text(session_key)? {
            Some(text) => ids::session(text, self.parser.limits, session_key.unwrap_or_default())
                .within(CONTEXT)?,
            None => None,
        };
        let task_key = entry.task_key.as_deref();
        let task_id = match text(task_key)? {
            Some(text) => {
                let key = task_key.unwrap_or_default();
                ids::optional(text, self.parser.limits.id_bytes, key).within(CONTEXT)?
            }
            None => None,
        };
        call.workflow = Workflow {
            session_id,
            task_id,
            ..Workflow::default()
        };
        call.approval_ids = self.names(context, entry.approvals_key.as_deref())?;
        Ok(())
    }

    /// Reads a list of names, or a single name, from `context`.
    fn names<I: From<SmolStr>>(
        &self,
        context: Option<&Map<String, Json>>,
        key: Option<&str>,
    ) -> Result<Vec<I>, FieldError> {
        let (Some(context), Some(key)) = (context, key) else {
            return Ok(Vec::new());
        };
        let items = match context.get(key) {
            None | Some(Json::Null) => return Ok(Vec::new()),
            Some(Json::Array(items)) => items.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        check_count(items.len(), self.parser.limits.list_items, key).within(CONTEXT)?;
        let name = |item: &Json| match item {
            Json::String(text) => {
                ids::required(text, self.parser.limits.id_bytes, key).within(CONTEXT)
            }
            _ => Err(in_context(
                key,
                FieldProblem::NotOfShape("a list of strings"),
            )),
        };
        items.iter().map(name).collect()
    }

    /// Builds the parameters of the MCP message that the request stands for.
    fn params(
        &self,
        method: &str,
        kind: ObjectKind,
        id: &SmolStr,
        properties: Option<&Map<String, Json>>,
    ) -> Result<Map<String, Json>, FieldError> {
        const OF_RESOURCE: &str = "resource.properties";
        let id = id.as_str();
        let mut params = match (method, kind) {
            ("completion/complete", ObjectKind::Prompt) => {
                json!({"ref": {"type": "ref/prompt", "name": id}})
            }
            ("completion/complete", _) => json!({"ref": {"type": "ref/resource", "uri": id}}),
            (_, ObjectKind::Server) => json!({}),
            (_, ObjectKind::Tool | ObjectKind::Prompt) => json!({"name": id}),
            (_, ObjectKind::Resource) => json!({"uri": id}),
            (_, ObjectKind::Task) => json!({"taskId": id}),
        };
        let arguments = match properties {
            Some(properties) => optional_object(properties, ARGUMENTS).within(OF_RESOURCE)?,
            None => None,
        };
        if let Some(arguments) = arguments {
            // As every adapter reads arguments.
            check_depth(arguments, self.parser.limits.json_depth, ARGUMENTS).within(OF_RESOURCE)?;
            check_keys(arguments, KeyPolicy::AsDeclared, ARGUMENTS).within(OF_RESOURCE)?;
        }
        if let (ObjectKind::Tool | ObjectKind::Prompt, Some(arguments)) = (kind, arguments)
            && method != "completion/complete"
        {
            params[ARGUMENTS] = Json::Object(arguments.clone());
        }
        match params {
            Json::Object(params) => Ok(params),
            _ => Ok(Map::new()),
        }
    }
}

fn in_context(key: &str, problem: FieldProblem) -> FieldError {
    FieldError::new(key, problem).inside(CONTEXT)
}

/// Why a tool call is denied whose arguments are not what the server receives: one is redacted, or they are cut off.
fn missing_arguments(operation: &Operation) -> Option<Box<Reason>> {
    let call = operation.kind.tool_call()?;
    let is_cut = call.arguments.get(CUT) == Some(&Json::Bool(true));
    let is_missing = is_cut || call.arguments.values().any(|it| it == HIDDEN);
    is_missing.then(|| {
        let missing = vec!["resource.properties.arguments".to_owned()];
        Box::new(Reason::context_missing(missing))
    })
}

/// Translates the path of an MCP parameter to the path of the AuthZEN field it came from.
fn of_resource(invalid: &FieldError) -> FieldError {
    let path = invalid
        .path()
        .strip_prefix("params.")
        .unwrap_or(invalid.path());
    let path = match path {
        "name" | "uri" | "taskId" | "ref.name" | "ref.uri" => "resource.id".to_owned(),
        other => format!("resource.properties.{other}"),
    };
    FieldError::new(path, invalid.problem().clone())
}

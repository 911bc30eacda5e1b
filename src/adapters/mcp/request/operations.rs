//! Maps a method and its parameters to the operations that are decided.

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::input::field_error::{FieldError, FieldProblem, TextExcerpt};
use crate::adapters::input::ids;
use crate::adapters::input::limits::{check_count, check_length};
use crate::adapters::mcp::member_spelling::{names_of, reject_misspelled, require_distinct_keys};
use crate::adapters::mcp::methods::{self, DECISIVE_PARAMS, Method, MethodKind, Sender};
use crate::adapters::mcp::request::client_responses;
use crate::adapters::mcp::request::intent::{MessageIntent, OperationError};
use crate::config::limits::Limits;
use crate::domain::request::call_context::{Initiator, Operation, Told};
use crate::domain::request::client_responses::ClientResponses;
use crate::domain::request::operation::{
    self, Listing, OperationKind, OperationType, PromptOperation, ResourceOperation, Sampling,
    ToolCall,
};
use crate::domain::request::uri_template;

/// Why a server's request that makes a task of the client is not put to it: the server gets the result by a look at that task.
const AS_TASK: &str =
    "it makes a task of the client, and a server's look at such tasks is not decided";

/// Parses a request. `told` says how much of its parameters is there.
///
/// # Errors
///
/// Returns an error if the method is unknown or unsupported, or a parameter is invalid.
pub fn from_request(
    sender: Sender,
    server: &SmolStr,
    method: &str,
    params: Map<String, Json>,
    told: Told,
    limits: &Limits,
) -> Result<MessageIntent, OperationError> {
    let method = methods::request(sender, method)
        .ok_or_else(|| OperationError::UnknownMethod(TextExcerpt::new(method)))?;
    let mut params = Params::new(params, limits)?;
    if sender == Sender::Server && params.has("task") {
        return Err(unsupported(method, AS_TASK));
    }
    let answers = params.answers()?.map(Box::new);
    let request_state = params.request_state()?;
    let kinds = match method.kind {
        MethodKind::Listen => params.listen()?,
        _ => match params.kind(method)? {
            Some(kind) => vec![kind],
            None => return Ok(MessageIntent::Exempt),
        },
    };
    let initiator = match sender {
        Sender::Client => Initiator::Client,
        Sender::Server => Initiator::Server,
    };
    let told = match method.kind {
        // What else maintains the connection has nothing to decide in its parameters.
        MethodKind::Operation(OperationType::Connect) if !method.brings_responses => Told::All,
        _ => told,
    };
    let operation = |kind| Operation {
        told,
        answers: answers.clone(),
        request_state: request_state.clone(),
        ..Operation::new(initiator, server.clone(), kind)
    };
    Ok(MessageIntent::Authorize(
        kinds.into_iter().map(operation).collect(),
    ))
}

/// Parses a notification.
///
/// # Errors
///
/// Returns an error if the method is unknown, unsupported or that of a request.
pub fn from_notification(
    sender: Sender,
    server: &SmolStr,
    method: &str,
) -> Result<MessageIntent, OperationError> {
    let method = methods::notification(sender, method).ok_or_else(|| {
        match methods::request(sender, method) {
            Some(request) => OperationError::NoId(request.name),
            None => OperationError::UnknownMethod(TextExcerpt::new(method)),
        }
    })?;
    match method.kind {
        MethodKind::Exempt => Ok(MessageIntent::Exempt),
        MethodKind::Unsupported(why) => Err(unsupported(method, why)),
        MethodKind::Operation(_)
        | MethodKind::Complete
        | MethodKind::Elicit
        | MethodKind::Listen => Ok(connect(server, method.name)),
    }
}

/// The operation of keeping a connection to a server. `method` is one that [`methods::connect_method`] knows.
pub fn connect(server: &SmolStr, method: &'static str) -> MessageIntent {
    MessageIntent::Authorize(vec![Operation::new(
        Initiator::Client,
        server.clone(),
        OperationKind::Connect { method },
    )])
}

/// The value that `Mcp-Name` must mirror, for the methods that have it.
pub fn mirrored_name<'p>(method: &str, params: &'p Map<String, Json>) -> Option<&'p str> {
    let parameter = methods::request(Sender::Client, method)?.name_parameter?;
    params.get(parameter.member)?.as_str()
}

fn unsupported(method: &'static Method, why: &'static str) -> OperationError {
    OperationError::Unsupported {
        method: method.name,
        why,
    }
}

/// The parameters of one request. Members are taken out as they are read.
struct Params<'l> {
    members: Map<String, Json>,
    limits: &'l Limits,
}

impl<'l> Params<'l> {
    fn new(members: Map<String, Json>, limits: &'l Limits) -> Result<Self, FieldError> {
        reject_misspelled(names_of(&members), &DECISIVE_PARAMS, "params")?;
        Ok(Self { members, limits })
    }

    fn kind(&mut self, method: &'static Method) -> Result<Option<OperationKind>, OperationError> {
        Ok(Some(match method.kind {
            MethodKind::Operation(operation) => self.one(operation, method.name)?,
            MethodKind::Complete => self.complete()?,
            MethodKind::Elicit => self.elicit()?,
            MethodKind::Exempt => return Ok(None),
            MethodKind::Unsupported(why) => return Err(unsupported(method, why)),
            MethodKind::Listen => {
                return Err(unsupported(method, "it asks for more than one thing"));
            }
        }))
    }

    /// Reads the parameters of an operation, by its shape.
    fn one(
        &mut self,
        operation: OperationType,
        method: &'static str,
    ) -> Result<OperationKind, FieldError> {
        Ok(match operation {
            OperationType::Connect => OperationKind::Connect { method },
            OperationType::CallTool => OperationKind::CallTool(self.call_tool()?),
            OperationType::List(listing) => OperationKind::List(listing),
            OperationType::OnResource(operation) => OperationKind::OnResource {
                operation,
                uri: self.text("uri", "params.uri")?.into(),
            },
            OperationType::OnPrompt(operation) => OperationKind::OnPrompt {
                operation,
                name: self.name("name", "params.name")?,
            },
            OperationType::GetPrompt => self.get_prompt()?,
            OperationType::Sample => OperationKind::Sample(self.sample()?),
            OperationType::ElicitForm => self.form()?,
            OperationType::ElicitUrl => self.page()?,
            OperationType::OnClient(operation) => OperationKind::OnClient(operation),
        })
    }

    /// Reads the client's responses to a server that asked for input before it goes on.
    fn answers(&mut self) -> Result<Option<ClientResponses>, FieldError> {
        const FIELD: &str = "params.inputResponses";
        let Some(responses) = self.object("inputResponses")? else {
            return Ok(None);
        };
        client_responses::parse(&responses, self.limits, FIELD)
    }

    /// Reads the opaque state that the server wants back with the repeated request.
    fn request_state(&mut self) -> Result<Option<Box<str>>, FieldError> {
        match self.members.remove("requestState") {
            None => Ok(None),
            Some(Json::String(state)) => Ok(Some(state.into())),
            Some(_) => Err(wrong_shape("params.requestState", "a text")),
        }
    }

    fn call_tool(&mut self) -> Result<ToolCall, FieldError> {
        let arguments = self.object("arguments")?.unwrap_or_default();
        Ok(ToolCall {
            tool: self.name("name", "params.name")?,
            arguments,
            definition_digest: None,
            target: None,
        })
    }

    fn get_prompt(&mut self) -> Result<OperationKind, FieldError> {
        const FIELD: &str = "params.arguments";
        let name = self.name("name", "params.name")?;
        let given = self.object("arguments")?.unwrap_or_default();
        require_distinct_keys(&given, FIELD)?;
        check_count(given.len(), self.limits.list_items, FIELD)?;
        let mut arguments = Vec::with_capacity(given.len());
        for name in given.keys() {
            arguments.push(self.checked_name(name, FIELD)?);
        }
        arguments.sort_unstable();
        Ok(OperationKind::GetPrompt { name, arguments })
    }

    fn complete(&mut self) -> Result<OperationKind, FieldError> {
        let Some(reference) = self.object("ref")? else {
            return Err(FieldError::new("params.ref", FieldProblem::Missing));
        };
        reject_misspelled(names_of(&reference), &DECISIVE_PARAMS, "params.ref")?;
        let mut reference = Params {
            members: reference,
            limits: self.limits,
        };
        let kind = reference.text("type", "params.ref.type")?;
        match kind.as_str() {
            "ref/prompt" => Ok(OperationKind::OnPrompt {
                operation: PromptOperation::Complete,
                name: reference.name("name", "params.ref.name")?,
            }),
            "ref/resource" => {
                let uri = reference.text("uri", "params.ref.uri")?;
                let uri = uri_template::with_values(&uri, self.values_so_far()?);
                let uri = uri.ok_or_else(|| {
                    let problem = "a value that leads to no other place than the template does";
                    FieldError::new("params.argument.value", FieldProblem::NotOfShape(problem))
                })?;
                Ok(OperationKind::OnResource {
                    operation: ResourceOperation::Complete,
                    uri: uri.into(),
                })
            }
            other => Err(FieldError::new(
                "params.ref.type",
                FieldProblem::UnknownWord(
                    TextExcerpt::new(other),
                    "`ref/prompt` or `ref/resource`",
                ),
            )),
        }
    }

    /// What has been written of the argument that is to be completed, and of those before it, by their names.
    fn values_so_far(&mut self) -> Result<Vec<(String, String)>, FieldError> {
        const ARGUMENT: &str = "params.argument";
        const CONTEXT: &str = "params.context";
        const EARLIER: &str = "params.context.arguments";

        reject_misspelled(names_of(&self.members), &["argument", "context"], "params")?;
        let mut argument = self.object("argument")?.unwrap_or_default();
        reject_misspelled(names_of(&argument), &["name", "value"], ARGUMENT)?;
        let mut context = self.object("context")?.unwrap_or_default();
        reject_misspelled(names_of(&context), &["arguments"], CONTEXT)?;
        let name = match argument.remove("name") {
            Some(Json::String(name)) => name,
            _ => String::new(),
        };
        let mut given: Vec<(String, Json, &str)> = Vec::new();
        given.extend((argument.remove("value")).map(|it| (name, it, "params.argument.value")));
        match context.remove("arguments") {
            None | Some(Json::Null) => {}
            Some(Json::Object(earlier)) => {
                check_count(earlier.len(), self.limits.list_items, EARLIER)?;
                given.extend((earlier.into_iter()).map(|(name, value)| (name, value, EARLIER)));
            }
            Some(_) => return Err(wrong_shape(EARLIER, "an object")),
        }
        let is_empty = |value: &Json| value.as_str().is_some_and(str::is_empty);
        (given.into_iter())
            .filter(|(_, value, _)| !is_empty(value))
            .map(|(name, value, field)| Ok((name, self.checked_text(value, field)?)))
            .collect()
    }

    /// Reads everything that a client subscribes to, each as the operation that asks for it once.
    fn listen(&mut self) -> Result<Vec<OperationKind>, FieldError> {
        const URIS: &str = "params.notifications.resourceSubscriptions";
        let wanted = self.object("notifications")?.unwrap_or_default();
        reject_misspelled(names_of(&wanted), &DECISIVE_PARAMS, "params.notifications")?;
        let mut kinds = vec![OperationKind::Connect {
            method: operation::SUBSCRIBE,
        }];
        for (name, value) in wanted {
            let changes = |(changed, _): &&(&str, Listing)| *changed == name;
            if let Some((_, listing)) = methods::LIST_CHANGES.iter().find(changes) {
                match value {
                    Json::Bool(true) => kinds.push(OperationKind::List(*listing)),
                    Json::Bool(false) => {}
                    _ => {
                        return Err(wrong_shape(
                            "params.notifications",
                            "true or false for each list",
                        ));
                    }
                }
                continue;
            }
            match name.as_str() {
                "resourceSubscriptions" => {
                    let Json::Array(uris) = value else {
                        return Err(wrong_shape(URIS, "a list"));
                    };
                    check_count(uris.len(), self.limits.list_items, URIS)?;
                    for uri in uris {
                        let uri = self.checked_text(uri, URIS)?.into();
                        kinds.push(OperationKind::OnResource {
                            operation: ResourceOperation::Subscribe,
                            uri,
                        });
                    }
                }
                // The client was authorized for the task when it was created; what arrives of it is what `tasks/get` returns.
                "taskIds" => kinds.push(OperationKind::Connect {
                    method: "tasks/get",
                }),
                other => {
                    let known = "a kind of notification that is known here";
                    return Err(FieldError::new(
                        "params.notifications",
                        FieldProblem::UnknownWord(TextExcerpt::new(other), known),
                    ));
                }
            }
        }
        Ok(kinds)
    }

    fn sample(&mut self) -> Result<Sampling, FieldError> {
        let max_tokens = match self.members.remove("maxTokens").map(|it| it.as_i64()) {
            None => return Err(FieldError::new("params.maxTokens", FieldProblem::Missing)),
            Some(Some(count)) if count >= 0 => count,
            Some(_) => return Err(wrong_shape("params.maxTokens", "a whole number from 0 on")),
        };
        let include_context = match self.members.remove("includeContext") {
            None => SmolStr::new_static("none"),
            Some(Json::String(word)) if ["none", "thisServer", "allServers"].contains(&&*word) => {
                word.into()
            }
            Some(_) => {
                let words = "`none`, `thisServer` or `allServers`";
                return Err(wrong_shape("params.includeContext", words));
            }
        };
        let offered = self.list("tools", self.limits.tools)?;
        let mut tools = Vec::with_capacity(offered.len());
        for tool in offered {
            let name = tool.get("name").and_then(Json::as_str);
            let name =
                name.ok_or_else(|| wrong_shape("params.tools", "a list of tools with names"))?;
            tools.push(self.checked_name(name, "params.tools")?);
        }
        let messages = self.list("messages", u32::MAX)?.len();
        let prompt = self.members.get("systemPrompt");
        Ok(Sampling {
            max_tokens,
            include_context,
            tools,
            messages: i64::try_from(messages).unwrap_or(i64::MAX),
            has_system_prompt: prompt.is_some_and(|prompt| prompt.as_str() != Some("")),
        })
    }

    fn elicit(&mut self) -> Result<OperationKind, FieldError> {
        let (url, form) = ("url", "requestedSchema");
        let has = |member| self.members.contains_key(member);
        // A client that ignores the mode would act on either of the two.
        if has(url) && has(form) {
            return Err(wrong_shape(
                "params.mode",
                "that of a form or that of a URL",
            ));
        }
        match self.members.remove("mode") {
            None => self.form(),
            Some(Json::String(mode)) if mode == "form" => self.form(),
            Some(Json::String(mode)) if mode == "url" => self.page(),
            Some(_) => Err(wrong_shape("params.mode", "`form` or `url`")),
        }
    }

    fn page(&mut self) -> Result<OperationKind, FieldError> {
        let url = self.text("url", "params.url")?;
        Ok(OperationKind::ElicitUrl { url })
    }

    fn form(&mut self) -> Result<OperationKind, FieldError> {
        let missing = || FieldError::new("params.requestedSchema", FieldProblem::Missing);
        let schema = self.object("requestedSchema")?.ok_or_else(missing)?;
        reject_misspelled(names_of(&schema), &["properties"], "params.requestedSchema")?;
        let message = match self.members.remove("message") {
            None => String::new(),
            Some(Json::String(text)) if text.is_empty() => text,
            Some(message) => self.checked_text(message, "params.message")?,
        };
        Ok(OperationKind::ElicitForm {
            message,
            requested_schema: schema.into(),
        })
    }

    // ------------------------------------------------------------ members

    /// Whether there is such a member, and it is not null.
    fn has(&self, member: &str) -> bool {
        self.members.get(member).is_some_and(|it| !it.is_null())
    }

    fn object(&mut self, member: &str) -> Result<Option<Map<String, Json>>, FieldError> {
        match self.members.remove(member) {
            None => Ok(None),
            Some(Json::Object(object)) => Ok(Some(object)),
            Some(_) => Err(wrong_shape(&format!("params.{member}"), "an object")),
        }
    }

    fn list(&mut self, member: &str, limit: u32) -> Result<Vec<Json>, FieldError> {
        let field = format!("params.{member}");
        match self.members.remove(member) {
            None => Ok(Vec::new()),
            Some(Json::Array(items)) => check_count(items.len(), limit, &field).map(|()| items),
            Some(_) => Err(wrong_shape(&field, "a list")),
        }
    }

    fn text(&mut self, member: &str, field: &str) -> Result<String, FieldError> {
        match self.members.remove(member) {
            None => Err(FieldError::new(field, FieldProblem::Missing)),
            Some(value) => self.checked_text(value, field),
        }
    }

    fn checked_text(&self, value: Json, field: &str) -> Result<String, FieldError> {
        match value {
            Json::String(text) if text.is_empty() => {
                Err(FieldError::new(field, FieldProblem::Missing))
            }
            Json::String(text) => {
                check_length(&text, self.limits.text_bytes, field)?;
                Ok(text)
            }
            _ => Err(wrong_shape(field, "a text")),
        }
    }

    fn name(&mut self, member: &str, field: &str) -> Result<SmolStr, FieldError> {
        match self.members.remove(member) {
            None => Err(FieldError::new(field, FieldProblem::Missing)),
            Some(Json::String(text)) => self.checked_name(&text, field),
            Some(_) => Err(wrong_shape(field, "a text")),
        }
    }

    fn checked_name(&self, text: &str, field: &str) -> Result<SmolStr, FieldError> {
        ids::required(text, self.limits.id_bytes, field)
    }
}

fn wrong_shape(field: &str, expected: &'static str) -> FieldError {
    FieldError::new(field, FieldProblem::NotOfShape(expected))
}

#[cfg(test)]
#[path = "operations_tests.rs"]
mod tests;

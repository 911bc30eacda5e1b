//! Parses `Operation`.

use bytes::Bytes;
use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::adapters::callgate_v1::parse::MessageParser;
use crate::adapters::input::field_error::{FieldContext, FieldError, FieldProblem, TextExcerpt};
use crate::adapters::input::json::{self, BeyondDouble, KeyPolicy};
use crate::adapters::input::limits::{check_count, check_length};
use crate::adapters::input::wire_text;
use crate::adapters::mcp::methods;
use crate::adapters::mcp::request::client_responses;
use crate::domain::request::call_context::{Initiator, Operation};
use crate::domain::request::client_responses::ClientResponses;
use crate::domain::request::operation::{
    ClientOperation, Listing, OperationKind, PromptOperation, ResourceOperation, Sampling, ToolCall,
};
use crate::proto::served::operation::Kind;
use crate::proto::{served, v1};

impl MessageParser<'_> {
    pub(super) fn operation(
        &self,
        wire: Option<served::Operation>,
        subject: &EntityUID,
    ) -> Result<Operation, FieldError> {
        const FIELD: &str = "operation";
        let wire = wire.ok_or_else(|| FieldError::new(FIELD, FieldProblem::Missing))?;
        let kind = wire
            .kind
            .ok_or_else(|| FieldError::new("kind", FieldProblem::Missing))
            .within(FIELD)?;
        let kind = self.kind(kind).within(FIELD)?;
        let initiator = initiator(wire.initiator, &kind).within(FIELD)?;
        let server = self.optional_id(wire.server, "server").within(FIELD)?;
        let server = server_of(server, initiator, &kind, subject).within(FIELD)?;
        let answers = self.answers(&wire.input_responses_json).within(FIELD)?;
        if answers.is_some() && initiator == Initiator::Server {
            let problem =
                FieldProblem::Contradiction("goes to a server, but the call is the server's");
            return Err(FieldError::new("input_responses_json", problem)).within(FIELD);
        }
        let request_state = wire_text::text(&wire.request_state, "request_state").within(FIELD)?;
        let request_state = (!request_state.is_empty()).then(|| request_state.into());
        if request_state.is_some() && initiator == Initiator::Server {
            let problem =
                FieldProblem::Contradiction("goes to a server, but the call is the server's");
            return Err(FieldError::new("request_state", problem)).within(FIELD);
        }
        Ok(Operation {
            answers: answers.map(Box::new),
            request_state,
            ..Operation::new(initiator, server, kind)
        })
    }

    /// Parses the client's responses to a server, in the protocol's JSON.
    fn answers(&self, text: &Bytes) -> Result<Option<ClientResponses>, FieldError> {
        const FIELD: &str = "input_responses_json";
        if text.is_empty() {
            return Ok(None);
        }
        let responses = json::object(text, self.limits.json_depth, KeyPolicy::Distinct, FIELD)?;
        client_responses::parse(&responses, self.limits, FIELD)
    }

    fn kind(&self, wire: Kind) -> Result<OperationKind, FieldError> {
        Ok(match wire {
            Kind::CallTool(wire) => {
                OperationKind::CallTool(self.call_tool(wire).within("call_tool")?)
            }
            Kind::Connect(wire) => connect(&wire).within("connect")?,
            Kind::ListTools(served::ListTools {}) => OperationKind::List(Listing::Tools),
            Kind::ListPrompts(served::ListPrompts {}) => OperationKind::List(Listing::Prompts),
            Kind::ListResources(served::ListResources {}) => {
                OperationKind::List(Listing::Resources)
            }
            Kind::ReadResource(wire) => OperationKind::OnResource {
                operation: ResourceOperation::Read,
                uri: self
                    .required_text(wire.uri, "uri")
                    .within("read_resource")?,
            },
            Kind::GetPrompt(wire) => self.get_prompt(wire).within("get_prompt")?,
            Kind::Complete(wire) => self.complete(wire).within("complete")?,
            Kind::Subscribe(wire) => OperationKind::OnResource {
                operation: ResourceOperation::Subscribe,
                uri: self.required_text(wire.uri, "uri").within("subscribe")?,
            },
            Kind::Sample(wire) => OperationKind::Sample(self.sample(wire).within("sample")?),
            Kind::ElicitForm(wire) => self.elicit_form(&wire).within("elicit_form")?,
            Kind::ElicitUrl(wire) => {
                self.optional_text(wire.message, "message")
                    .within("elicit_url")?;
                let url = self.required_text(wire.url, "url").within("elicit_url")?;
                OperationKind::ElicitUrl { url: url.into() }
            }
            Kind::ListRoots(served::ListRoots {}) => {
                OperationKind::OnClient(ClientOperation::ListRoots)
            }
        })
    }

    fn call_tool(&self, wire: served::CallTool) -> Result<ToolCall, FieldError> {
        use served::call_tool::Input;

        let depth = self.limits.json_depth;
        Ok(ToolCall {
            tool: self.required_id(wire.tool, "tool")?,
            arguments: match wire.input {
                None => serde_json::Map::new(),
                Some(Input::ArgumentsJson(text)) => {
                    json::object(&text, depth, KeyPolicy::AsDeclared, "arguments_json")?
                }
                Some(Input::Arguments(wire)) => {
                    let beyond = BeyondDouble::Refused("send `arguments_json`");
                    json::from_struct(wire, depth, (KeyPolicy::AsDeclared, beyond), "arguments")?
                }
            },
            definition_digest: digest(&wire.definition_digest, "definition_digest")?,
            target: self.optional_text(wire.target, "target")?,
        })
    }

    fn get_prompt(&self, wire: served::GetPrompt) -> Result<OperationKind, FieldError> {
        let name = self.required_id(wire.name, "name")?;
        check_count(wire.arguments.len(), self.limits.list_items, "arguments")?;
        if let Some(fault) = KeyPolicy::Distinct.fault(wire.arguments.keys()) {
            return Err(FieldError::new("arguments", FieldProblem::Json(fault)));
        }
        let names = wire.arguments.into_keys().collect();
        let mut arguments: Vec<_> = self.ids(names, self.limits.list_items, "arguments")?;
        arguments.sort_unstable();
        Ok(OperationKind::GetPrompt { name, arguments })
    }

    fn complete(&self, wire: served::Complete) -> Result<OperationKind, FieldError> {
        use served::complete::Reference;

        self.optional_id::<SmolStr>(wire.argument, "argument")?;
        Ok(match wire.reference {
            None => return Err(FieldError::new("reference", FieldProblem::Missing)),
            Some(Reference::Prompt(name)) => OperationKind::OnPrompt {
                operation: PromptOperation::Complete,
                name: self.required_id(name, "prompt")?,
            },
            Some(Reference::ResourceUri(uri)) => OperationKind::OnResource {
                operation: ResourceOperation::Complete,
                uri: self.required_text(uri, "resource_uri")?,
            },
        })
    }

    fn sample(&self, wire: served::Sample) -> Result<Sampling, FieldError> {
        let include_context = match wire_text::text(&wire.include_context, "include_context")? {
            "" | "none" => SmolStr::new_static("none"),
            "thisServer" => SmolStr::new_static("thisServer"),
            "allServers" => SmolStr::new_static("allServers"),
            other => {
                let problem = FieldProblem::UnknownWord(
                    TextExcerpt::new(other),
                    "`none`, `thisServer` or `allServers`",
                );
                return Err(FieldError::new("include_context", problem));
            }
        };
        Ok(Sampling {
            max_tokens: not_negative(wire.max_tokens, "max_tokens")?,
            include_context,
            tools: self.ids(wire.tools, self.limits.tools, "tools")?,
            messages: not_negative(wire.message_count, "message_count")?,
            has_system_prompt: wire.has_system_prompt,
        })
    }

    fn elicit_form(&self, wire: &served::ElicitForm) -> Result<OperationKind, FieldError> {
        const FIELD: &str = "requested_schema_json";
        let message = wire_text::text(&wire.message, "message")?;
        check_length(message, self.limits.text_bytes, "message")?;
        if wire.requested_schema_json.is_empty() {
            return Err(FieldError::new(FIELD, FieldProblem::Missing));
        }
        let schema = json::object(
            &wire.requested_schema_json,
            self.limits.json_depth,
            KeyPolicy::Distinct,
            FIELD,
        )?;
        Ok(OperationKind::ElicitForm {
            message: message.to_owned(),
            requested_schema: schema.into(),
        })
    }
}

fn connect(wire: &served::Connect) -> Result<OperationKind, FieldError> {
    let method = wire_text::text(&wire.method, "method")?;
    let method = if method.is_empty() {
        "initialize"
    } else {
        methods::connect_method(method).ok_or_else(|| {
            let problem = FieldProblem::UnknownWord(
                TextExcerpt::new(method),
                "a method that keeps a conversation going",
            );
            FieldError::new("method", problem)
        })?
    };
    Ok(OperationKind::Connect { method })
}

fn initiator(wire: i32, kind: &OperationKind) -> Result<Initiator, FieldError> {
    const FIELD: &str = "initiator";
    let stated = match v1::Initiator::try_from(wire) {
        Ok(v1::Initiator::Unspecified) => None,
        Ok(v1::Initiator::Client) => Some(Initiator::Client),
        Ok(v1::Initiator::Server) => Some(Initiator::Server),
        Ok(v1::Initiator::Ui) => Some(Initiator::Ui),
        Err(_) => return Err(FieldError::new(FIELD, FieldProblem::UnknownValue(wire))),
    };
    let implied = if kind.is_server_only() {
        Initiator::Server
    } else {
        Initiator::Client
    };
    match stated {
        Some(stated) if kind.is_server_only() && stated != Initiator::Server => {
            Err(FieldError::new(
                FIELD,
                FieldProblem::Contradiction(
                    "says that the call is not the server's, but only servers make such calls",
                ),
            ))
        }
        Some(stated) => Ok(stated),
        None => Ok(implied),
    }
}

/// The server concerned. Calls of a server concern that server unless it calls a tool of another one.
fn server_of(
    stated: Option<SmolStr>,
    initiator: Initiator,
    kind: &OperationKind,
    subject: &EntityUID,
) -> Result<SmolStr, FieldError> {
    const FIELD: &str = "server";
    let own: &str = subject.eid().as_ref();
    match stated {
        Some(stated) if kind.is_server_only() && stated != own => Err(FieldError::new(
            FIELD,
            FieldProblem::Contradiction(
                "names another server than the subject, which makes the call",
            ),
        )),
        Some(stated) => Ok(stated),
        None if initiator == Initiator::Server => Ok(SmolStr::new(own)),
        None => Err(FieldError::new(FIELD, FieldProblem::Missing)),
    }
}

fn digest(wire: &Bytes, field: &'static str) -> Result<Option<SmolStr>, FieldError> {
    let text = wire_text::text(wire, field)?;
    if text.is_empty() {
        return Ok(None);
    }
    let is_digest = text.strip_prefix("sha256:").is_some_and(|digits| {
        digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    if !is_digest {
        return Err(FieldError::new(
            field,
            FieldProblem::NotADigest(TextExcerpt::new(text)),
        ));
    }
    Ok(Some(SmolStr::from(text.to_ascii_lowercase())))
}

fn not_negative(count: i64, field: &'static str) -> Result<i64, FieldError> {
    if count < 0 {
        Err(FieldError::new(field, FieldProblem::Negative(count)))
    } else {
        Ok(count)
    }
}

//! From a method and its parameters to the operations that are decided.

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::ids;
use crate::adapters::invalid::{Invalid, Problem, Shown};
use crate::adapters::mcp::answers;
use crate::adapters::mcp::methods::{self, Meaning, Method, Sender};
use crate::adapters::mcp::spelling::{DECISIVE, names_of, no_look_alikes, one_spelling};
use crate::call::answers::Answers;
use crate::call::context::{Initiator, Operation, OperationKind, Sampling, ToolCall};
use crate::config::limits::Limits;

/// What a message asks for.
#[derive(Debug, Clone)]
pub enum Asked {
    /// All of these have to be allowed; there is at least one.
    Decide(Vec<Operation>),
    /// Nothing.
    Harmless,
}

/// Why a message cannot be decided. The text is safe to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// A method that no revision of the protocol has, or not from this side.
    #[error("`{0}` is not a method that is known here")]
    Unknown(Shown),
    /// A method that is not decided.
    #[error("`{method}` is refused: {why}")]
    Refused {
        /// The method.
        method: &'static str,
        /// Why.
        why: &'static str,
    },
    /// Parameters that cannot be used.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl Undecided {
    /// The code of JSON-RPC.
    pub fn code(&self) -> i64 {
        match self {
            Self::Unknown(_) | Self::Refused { .. } => -32601,
            Self::Invalid(_) => -32602,
        }
    }
}

/// What a request asks for.
pub fn of_request(
    sender: Sender,
    server: &SmolStr,
    method: &str,
    params: Map<String, Json>,
    limits: &Limits,
) -> Result<Asked, Undecided> {
    let method =
        methods::request(sender, method).ok_or_else(|| Undecided::Unknown(Shown::new(method)))?;
    let mut params = Params::new(params, limits)?;
    let answers = params.answers()?.map(Box::new);
    let request_state = params.request_state()?;
    let kinds = match method.meaning {
        Meaning::Listen => params.listen()?,
        _ => match params.kind(method)? {
            Some(kind) => vec![kind],
            None => return Ok(Asked::Harmless),
        },
    };
    let initiator = match sender {
        Sender::Client => Initiator::Client,
        Sender::Server => Initiator::Server,
    };
    let operation = |kind| Operation {
        answers: answers.clone(),
        request_state: request_state.clone(),
        ..Operation::new(initiator, server.clone(), kind)
    };
    Ok(Asked::Decide(kinds.into_iter().map(operation).collect()))
}

/// What a notification asks for.
pub fn of_notification(sender: Sender, server: &SmolStr, method: &str) -> Result<Asked, Undecided> {
    let method = methods::notification(sender, method)
        .ok_or_else(|| Undecided::Unknown(Shown::new(method)))?;
    match method.meaning {
        Meaning::Harmless => Ok(Asked::Harmless),
        Meaning::Refused(why) => Err(refused(method, why)),
        _ => Ok(upkeep(server, method.name)),
    }
}

/// To keep a conversation with a server going. `method` is one that [`methods::upkeep`] knows.
pub fn upkeep(server: &SmolStr, method: &'static str) -> Asked {
    Asked::Decide(vec![Operation::new(
        Initiator::Client,
        server.clone(),
        OperationKind::Connect { method },
    )])
}

/// What `Mcp-Name` has to repeat, for the methods that have it.
pub fn named<'p>(method: &str, params: &'p Map<String, Json>) -> Option<&'p str> {
    let member = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" | "tasks/result" => "taskId",
        _ => return None,
    };
    params.get(member)?.as_str()
}

fn refused(method: &'static Method, why: &'static str) -> Undecided {
    Undecided::Refused {
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
    fn new(members: Map<String, Json>, limits: &'l Limits) -> Result<Self, Invalid> {
        no_look_alikes(names_of(&members), &DECISIVE, "params")?;
        Ok(Self { members, limits })
    }

    fn kind(&mut self, method: &'static Method) -> Result<Option<OperationKind>, Undecided> {
        Ok(Some(match method.meaning {
            Meaning::CallTool => OperationKind::CallTool(self.call_tool()?),
            Meaning::ListTools => OperationKind::ListTools,
            Meaning::ListPrompts => OperationKind::ListPrompts,
            Meaning::ListResources => OperationKind::ListResources,
            Meaning::ReadResource => OperationKind::ReadResource { uri: self.uri()? },
            Meaning::Subscribe => OperationKind::Subscribe { uri: self.uri()? },
            Meaning::GetPrompt => self.get_prompt()?,
            Meaning::Complete => self.complete()?,
            Meaning::Sample => OperationKind::Sample(self.sample()?),
            Meaning::Elicit => self.elicit()?,
            Meaning::ListRoots => OperationKind::ListRoots,
            Meaning::Upkeep => OperationKind::Connect {
                method: method.name,
            },
            Meaning::Harmless => return Ok(None),
            Meaning::Refused(why) => return Err(refused(method, why)),
            Meaning::Listen => {
                return Err(refused(method, "it asks for more than one thing"));
            }
        }))
    }

    /// What goes back to a server that has asked for something before it goes on.
    fn answers(&mut self) -> Result<Option<Answers>, Invalid> {
        const FIELD: &str = "params.inputResponses";
        let Some(responses) = self.object("inputResponses")? else {
            return Ok(None);
        };
        answers::read(&responses, self.limits, FIELD)
    }

    /// What the server wants to see again with the repeated call; nothing in it is looked at.
    fn request_state(&mut self) -> Result<Option<Box<str>>, Invalid> {
        match self.members.remove("requestState") {
            None => Ok(None),
            Some(Json::String(state)) => Ok(Some(state.into())),
            Some(_) => Err(not("params.requestState", "a text")),
        }
    }

    fn call_tool(&mut self) -> Result<ToolCall, Invalid> {
        let arguments = self.object("arguments")?.unwrap_or_default();
        Ok(ToolCall {
            tool: self.name("name", "params.name")?,
            arguments,
            definition_digest: None,
            target: None,
        })
    }

    fn get_prompt(&mut self) -> Result<OperationKind, Invalid> {
        const FIELD: &str = "params.arguments";
        let name = self.name("name", "params.name")?;
        let given = self.object("arguments")?.unwrap_or_default();
        one_spelling(&given, FIELD)?;
        check_count(given.len(), self.limits.list_items, FIELD)?;
        let mut arguments = Vec::with_capacity(given.len());
        for name in given.keys() {
            arguments.push(self.checked_name(name, FIELD)?);
        }
        arguments.sort_unstable();
        Ok(OperationKind::GetPrompt { name, arguments })
    }

    fn complete(&mut self) -> Result<OperationKind, Invalid> {
        let Some(reference) = self.object("ref")? else {
            return Err(Invalid::new("params.ref", Problem::Missing));
        };
        no_look_alikes(names_of(&reference), &DECISIVE, "params.ref")?;
        let mut reference = Params {
            members: reference,
            limits: self.limits,
        };
        let kind = reference.text("type", "params.ref.type")?;
        match kind.as_str() {
            "ref/prompt" => Ok(OperationKind::CompletePrompt {
                name: reference.name("name", "params.ref.name")?,
            }),
            "ref/resource" => Ok(OperationKind::CompleteResource {
                uri: reference.text("uri", "params.ref.uri")?.into(),
            }),
            other => Err(Invalid::new(
                "params.ref.type",
                Problem::UnknownWord(Shown::new(other), "`ref/prompt` or `ref/resource`"),
            )),
        }
    }

    /// Everything that a client wants to hear of, each as what it would have to ask for.
    fn listen(&mut self) -> Result<Vec<OperationKind>, Invalid> {
        const URIS: &str = "params.notifications.resourceSubscriptions";
        let wanted = self.object("notifications")?.unwrap_or_default();
        no_look_alikes(names_of(&wanted), &DECISIVE, "params.notifications")?;
        let mut kinds = vec![OperationKind::Connect {
            method: "subscriptions/listen",
        }];
        for (name, value) in wanted {
            let lists = match name.as_str() {
                "toolsListChanged" => OperationKind::ListTools,
                "promptsListChanged" => OperationKind::ListPrompts,
                "resourcesListChanged" => OperationKind::ListResources,
                "resourceSubscriptions" => {
                    let Json::Array(uris) = value else {
                        return Err(not(URIS, "a list"));
                    };
                    check_count(uris.len(), self.limits.list_items, URIS)?;
                    for uri in uris {
                        let uri = self.checked_text(uri, URIS)?.into();
                        kinds.push(OperationKind::Subscribe { uri });
                    }
                    continue;
                }
                // Whose state was the caller's business when the task was made.
                "taskIds" => continue,
                other => {
                    let known = "a kind of notification that is known here";
                    return Err(Invalid::new(
                        "params.notifications",
                        Problem::UnknownWord(Shown::new(other), known),
                    ));
                }
            };
            match value {
                Json::Bool(true) => kinds.push(lists),
                Json::Bool(false) => {}
                _ => return Err(not("params.notifications", "true or false for each list")),
            }
        }
        Ok(kinds)
    }

    fn sample(&mut self) -> Result<Sampling, Invalid> {
        let max_tokens = match self.members.remove("maxTokens").map(|it| it.as_i64()) {
            None => return Err(Invalid::new("params.maxTokens", Problem::Missing)),
            Some(Some(count)) if count >= 0 => count,
            Some(_) => return Err(not("params.maxTokens", "a whole number from 0 on")),
        };
        let include_context = match self.members.remove("includeContext") {
            None => SmolStr::new_static("none"),
            Some(Json::String(word)) if ["none", "thisServer", "allServers"].contains(&&*word) => {
                word.into()
            }
            Some(_) => {
                let words = "`none`, `thisServer` or `allServers`";
                return Err(not("params.includeContext", words));
            }
        };
        let offered = self.list("tools", self.limits.tools)?;
        let mut tools = Vec::with_capacity(offered.len());
        for tool in offered {
            let name = tool.get("name").and_then(Json::as_str);
            let name = name.ok_or_else(|| not("params.tools", "a list of tools with names"))?;
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

    fn elicit(&mut self) -> Result<OperationKind, Invalid> {
        let (url, form) = ("url", "requestedSchema");
        let has = |member| self.members.contains_key(member);
        // A client that does not mind the mode would take what the other one has.
        if has(url) && has(form) {
            return Err(not("params.mode", "that of a form or that of a URL"));
        }
        match self.members.remove("mode") {
            None => self.form(),
            Some(Json::String(mode)) if mode == "form" => self.form(),
            Some(Json::String(mode)) if mode == "url" => Ok(OperationKind::ElicitUrl {
                url: self.text(url, "params.url")?,
            }),
            Some(_) => Err(not("params.mode", "`form` or `url`")),
        }
    }

    fn form(&mut self) -> Result<OperationKind, Invalid> {
        let missing = || Invalid::new("params.requestedSchema", Problem::Missing);
        let schema = self.object("requestedSchema")?.ok_or_else(missing)?;
        no_look_alikes(names_of(&schema), &["properties"], "params.requestedSchema")?;
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

    fn uri(&mut self) -> Result<SmolStr, Invalid> {
        self.text("uri", "params.uri").map(SmolStr::from)
    }

    // ------------------------------------------------------------ members

    fn object(&mut self, member: &str) -> Result<Option<Map<String, Json>>, Invalid> {
        match self.members.remove(member) {
            None => Ok(None),
            Some(Json::Object(object)) => Ok(Some(object)),
            Some(_) => Err(not(&format!("params.{member}"), "an object")),
        }
    }

    fn list(&mut self, member: &str, limit: u32) -> Result<Vec<Json>, Invalid> {
        let field = format!("params.{member}");
        match self.members.remove(member) {
            None => Ok(Vec::new()),
            Some(Json::Array(items)) => check_count(items.len(), limit, &field).map(|()| items),
            Some(_) => Err(not(&field, "a list")),
        }
    }

    fn text(&mut self, member: &str, field: &str) -> Result<String, Invalid> {
        match self.members.remove(member) {
            None => Err(Invalid::new(field, Problem::Missing)),
            Some(value) => self.checked_text(value, field),
        }
    }

    fn checked_text(&self, value: Json, field: &str) -> Result<String, Invalid> {
        match value {
            Json::String(text) if text.is_empty() => Err(Invalid::new(field, Problem::Missing)),
            Json::String(text) => {
                check_length(&text, self.limits.text_bytes, field)?;
                Ok(text)
            }
            _ => Err(not(field, "a text")),
        }
    }

    fn name(&mut self, member: &str, field: &str) -> Result<SmolStr, Invalid> {
        match self.members.remove(member) {
            None => Err(Invalid::new(field, Problem::Missing)),
            Some(Json::String(text)) => self.checked_name(&text, field),
            Some(_) => Err(not(field, "a text")),
        }
    }

    fn checked_name(&self, text: &str, field: &str) -> Result<SmolStr, Invalid> {
        ids::required(text, self.limits.id_bytes, field)
    }
}

fn not(field: &str, expected: &'static str) -> Invalid {
    Invalid::new(field, Problem::NotOfShape(expected))
}

fn check_length(text: &str, limit: u32, field: &str) -> Result<(), Invalid> {
    let bytes = text.len();
    if bytes > limit as usize {
        return Err(Invalid::new(field, Problem::TooLong { bytes, limit }));
    }
    Ok(())
}

pub(super) fn check_count(items: usize, limit: u32, field: &str) -> Result<(), Invalid> {
    if items > limit as usize {
        return Err(Invalid::new(field, Problem::TooMany { items, limit }));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

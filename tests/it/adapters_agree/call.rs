//! Questions made up by dice, and their native form.

use callgate::proto::v1;
use callgate::proto::v1::is_authorized_request::ContextForm;
use callgate::proto::v1::operation::Kind;
use prost_types::Struct;
use serde_json::{Value as Json, json};

use crate::adapters_agree::company::Made;
use crate::support::in_process::entity;
use crate::support::wire::structure;

/// The same choices on every run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// Something in one of so many cases.
    fn sometimes<T>(&mut self, one_in: usize, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(one_in) == 0).then(|| make(self))
    }
}

/// What is asked.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one of them at a time")]
pub enum Question {
    /// Whether a call may be made.
    Call(Call),
    /// Cedar's own question.
    Cedar(Cedar),
}

/// How somebody became known.
#[derive(Debug, Clone, PartialEq)]
pub enum Known {
    /// The gateway names them, in this way.
    Named(&'static str),
    /// A verified token does, with these groups among its claims.
    Token(Vec<&'static str>),
}

/// Who calls.
#[derive(Debug, Clone)]
pub enum By {
    Agent(&'static str),
    Person(&'static str),
}

/// One call, whatever door it goes through.
#[derive(Debug, Clone)]
pub struct Call {
    pub by: By,
    pub known: Known,
    /// For whom, and through whom, nearest to that person first.
    pub person: Option<&'static str>,
    pub actors: Vec<&'static str>,
    pub scopes: Vec<&'static str>,
    pub server: &'static str,
    pub what: What,
    pub session: Option<&'static str>,
    /// Numbers of what was made.
    pub task: Option<usize>,
    pub delegation: Option<usize>,
    pub approval: Option<usize>,
    /// The id of the JSON-RPC request.
    pub id: Option<Json>,
    pub address: Option<&'static str>,
    pub traceparent: Option<&'static str>,
}

/// What a call wants.
#[derive(Debug, Clone)]
pub enum What {
    Tool(&'static str, Json),
    ListTools,
    ListPrompts,
    ListResources,
    Read(&'static str),
    Subscribe(&'static str),
    CompleteResource(&'static str),
    CompletePrompt(&'static str),
    Prompt(&'static str, Json),
    Connect(&'static str),
    /// The server fills in a form with the person, by the name of its field.
    Form(&'static str),
    /// It sends the person to a page.
    Page(&'static str),
    /// It has a model write so many tokens.
    Sample(i64),
    Roots,
}

/// Cedar's own question.
#[derive(Debug, Clone)]
pub struct Cedar {
    pub subject: (&'static str, &'static str),
    pub action: (&'static str, &'static str),
    pub resource: (&'static str, &'static str),
    pub context: Json,
}

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn arguments(dice: &mut Dice) -> Json {
    match dice.below(9) {
        0 => json!({"n": i64::MIN, "m": i64::MAX, "x": 0.1}),
        1 => json!({"path": "/a", "deep": {"a": [1, {"b": null}]}}),
        2 => json!({"text": "l\u{43e}g\n\u{1f600}"}),
        3 => json!({"most": 7, "folder": "in"}),
        4 => json!({"most": 700}),
        5 => json!({"most": "many", "else": true}),
        6 => json!({"path": "file:///srv/../etc"}),
        _ => json!({}),
    }
}

fn what(dice: &mut Dice) -> What {
    const URIS: [&str; 5] = [
        "file:///a",
        "file:///a/../b",
        "https://h/a?b#c",
        "no uri",
        "x",
    ];
    const TOOLS: [&str; 14] = [
        "log",
        "log",
        "show",
        "show",
        "commit",
        "commit",
        "push",
        "push",
        "purge",
        "list",
        "send",
        "send",
        "l\u{43e}g",
        "Log",
    ];
    match dice.below(30) {
        24 => What::Form(dice.pick(&["city", "city", "api_key"])),
        25 => What::Page(dice.pick(&[
            "https://login.example.org/x",
            "https://example.org.evil.net/",
        ])),
        26 => What::Sample(dice.pick(&[50, 5_000])),
        27 => What::Roots,
        0 => What::ListTools,
        1 => What::ListPrompts,
        2 => What::ListResources,
        3 => What::Read(dice.pick(&URIS)),
        4 => What::Subscribe(dice.pick(&URIS)),
        5 => What::CompleteResource(dice.pick(&URIS)),
        6 => What::CompletePrompt(dice.pick(&["hello", "a b"])),
        7 => What::Prompt(
            dice.pick(&["hello", "x"]),
            dice.pick(&[json!({}), json!({"a": "b"})]),
        ),
        8 => {
            What::Connect(dice.pick(&["ping", "initialize", "server/discover", "logging/setLevel"]))
        }
        _ => What::Tool(dice.pick(&TOOLS), arguments(dice)),
    }
}

impl Call {
    /// Any call.
    pub fn any(dice: &mut Dice, made: &Made) -> Self {
        let by = match dice.below(12) {
            0..6 => By::Agent("coder"),
            6..9 => By::Agent("helper"),
            9 => By::Agent(dice.pick(&["coder", "coder", "coder", "ghost", "Coder"])),
            _ => By::Person(dice.pick(&["ana", "bob", "dan"])),
        };
        let is_agent = matches!(by, By::Agent(_));
        let known = match is_agent && dice.below(2) == 0 {
            true => Known::Named(dice.pick(&["header", "header", "spiffe"])),
            false => Known::Token(dice.pick(&[vec![], vec!["writers"], vec!["a", "writers"]])),
        };
        let by_token = matches!(known, Known::Token(_));
        // Mostly one that was delegated to this agent.
        let delegation = dice.sometimes(4, |dice| match by {
            By::Agent("helper") => Some(dice.pick(&[1, 1, 3, 0])),
            By::Agent(_) => Some(dice.pick(&[0, 0, 2, 3])),
            By::Person(_) => None,
        });
        let delegation = delegation.flatten();
        // A token always says for whom an agent acts. A grant does too.
        let is_delegated = match (by_token, delegation) {
            (true, _) => is_agent,
            // A certificate names nobody else.
            _ if known == Known::Named("spiffe") => false,
            (false, Some(_)) => dice.below(4) == 0,
            (false, None) => dice.below(3) > 0,
        };
        let people: &[&str] = match delegation {
            Some(3) => &["bob"],
            Some(_) => &["ana", "ana", "ana", "bob"],
            None => &["ana", "ana", "ana", "bob", "dan", "nobody"],
        };
        let person = is_delegated.then(|| dice.pick(people));
        let chained = is_delegated && by_token && delegation.is_none();
        let actors = chained.then(|| dice.sometimes(6, |dice| dice.pick(&["helper", "ghost"])));
        let scopes = chained.then(|| dice.sometimes(4, |dice| dice.pick(&["tools", "read"])));
        let tasks = made.tasks.len();
        let approvals = made.approvals.len();
        let what = what(dice);
        let id = match dice.below(4) {
            0 => json!("a-1"),
            1 => json!(i64::MAX),
            2 => json!("\u{e9}"),
            _ => json!(dice.below(1_000)),
        };
        Self {
            by,
            known,
            person,
            actors: actors.flatten().into_iter().collect(),
            scopes: scopes.flatten().into_iter().collect(),
            server: match &what {
                What::Tool("list" | "send", _) => "mail",
                _ => dice.pick(&["git", "git", "git", "git", "mail", "other"]),
            },
            what,
            session: dice.pick(&[None, Some("s-1"), Some("s-2"), Some("s-3")]),
            task: dice.sometimes(4, |dice| dice.below(tasks)),
            delegation,
            approval: dice
                .sometimes(8, |dice| dice.below(approvals.max(1)))
                .filter(|it| *it < approvals),
            id: Some(id),
            address: dice.pick(&[None, Some("10.1.2.3"), Some("2001:db8::1")]),
            traceparent: dice.sometimes(3, |_| TRACE),
        }
    }

    /// The claims of the token that names who calls, if a token does.
    pub fn token(&self) -> Option<Json> {
        let Known::Token(groups) = &self.known else {
            return None;
        };
        let mut token = json!({"groups": groups});
        match self.by {
            By::Person(person) => token["sub"] = json!(person),
            By::Agent(agent) => {
                token["sub"] = json!(self.person);
                // The innermost actor acted first.
                let first_to_last = self.actors.iter().chain([&agent]);
                token["act"] = first_to_last.fold(Json::Null, |inner, actor| match inner {
                    Json::Null => json!({"sub": actor}),
                    inner => json!({"sub": actor, "act": inner}),
                });
            }
        }
        if !self.scopes.is_empty() {
            token["scope"] = json!(self.scopes.join(" "));
        }
        Some(token)
    }

    /// What the token says of whoever acts, and what of the person for whom that acts.
    fn claims(&self) -> Option<(Struct, Option<Struct>)> {
        let mut token = self.token()?;
        let act = token.as_object_mut().and_then(|it| it.remove("act"));
        Some(match act {
            None => (structure(&token), None),
            Some(mut act) => {
                act.as_object_mut().map(|it| it.remove("act"));
                (structure(&act), Some(structure(&token)))
            }
        })
    }

    /// As the native protocol has it.
    pub fn native(&self, made: &Made) -> v1::CallContext {
        match self.what.is_servers() {
            true => self.servers(self.clients(made)),
            false => self.clients(made),
        }
    }

    /// What the server asks for in the middle of what a client has asked it: in its own name, and on behalf of
    /// the client and everyone for whom that acts.
    fn servers(&self, of_client: v1::CallContext) -> v1::CallContext {
        let client = of_client.subject.expect("somebody");
        let (client, claims) = (client.entity, client.claims);
        let delegation = match of_client.delegation {
            None => v1::Delegation {
                root: client,
                root_claims: claims,
                verified: true,
                ..v1::Delegation::default()
            },
            Some(mut delegation) => {
                if delegation.root.is_some() {
                    delegation.actors.extend(client);
                }
                delegation
            }
        };
        v1::CallContext {
            subject: Some(v1::Subject {
                entity: entity("Server", self.server),
                ..v1::Subject::default()
            }),
            delegation: Some(delegation),
            approval_ids: Vec::new(),
            ..of_client
        }
    }

    fn clients(&self, made: &Made) -> v1::CallContext {
        let (ty, name) = match self.by {
            By::Agent(name) => ("Agent", name),
            By::Person(name) => ("User", name),
        };
        let method = match self.known {
            Known::Named(method) => method,
            Known::Token(_) => "jwt",
        };
        let id = |ids: &[String], number: Option<usize>| number.map(|it| ids[it].clone());
        let delegation =
            (self.person.is_some() || self.delegation.is_some()).then(|| v1::Delegation {
                root: self.person.and_then(|person| entity("User", person)),
                actors: self
                    .actors
                    .iter()
                    .filter_map(|it| entity("Agent", it))
                    .collect(),
                scopes: self.scopes.iter().map(ToString::to_string).collect(),
                verified: self.person.is_some(),
                delegation_ids: id(&made.delegations, self.delegation).into_iter().collect(),
                root_claims: self.claims().and_then(|(_, of_root)| of_root),
                ..v1::Delegation::default()
            });
        v1::CallContext {
            subject: Some(v1::Subject {
                entity: entity(ty, name),
                identity: Some(v1::Identity {
                    method: method.to_owned(),
                    verified: true,
                }),
                claims: self.claims().map(|(of_subject, _)| of_subject),
            }),
            delegation,
            operation: Some(v1::Operation {
                server: self.server.to_owned(),
                kind: Some(self.what.native()),
                ..v1::Operation::default()
            }),
            workflow: Some(v1::Workflow {
                session_id: self.session.unwrap_or_default().to_owned(),
                task_id: id(&made.tasks, self.task).unwrap_or_default(),
                request_id: match &self.id {
                    Some(Json::String(id)) => id.clone(),
                    Some(id) => id.to_string(),
                    None => String::new(),
                },
                ..v1::Workflow::default()
            }),
            approval_ids: id(&made.approvals, self.approval).into_iter().collect(),
            environment: self.address.map(|address| v1::Environment {
                source_address: address.to_owned(),
            }),
            trace: self.traceparent.map(|traceparent| v1::TraceContext {
                traceparent: traceparent.to_owned(),
                tracestate: String::new(),
            }),
        }
    }
}

impl What {
    /// Whether only a server asks for this.
    pub fn is_servers(&self) -> bool {
        matches!(
            self,
            Self::Form(_) | Self::Page(_) | Self::Sample(_) | Self::Roots
        )
    }

    fn native(&self) -> Kind {
        let complete = |reference| v1::Complete {
            reference: Some(reference),
            ..v1::Complete::default()
        };
        match self {
            Self::Tool(tool, arguments) => {
                let json = arguments.to_string();
                Kind::CallTool(v1::CallTool {
                    tool: tool.to_string(),
                    input: Some(v1::call_tool::Input::ArgumentsJson(json.into())),
                    ..v1::CallTool::default()
                })
            }
            Self::ListTools => Kind::ListTools(v1::ListTools {}),
            Self::ListPrompts => Kind::ListPrompts(v1::ListPrompts {}),
            Self::ListResources => Kind::ListResources(v1::ListResources {}),
            Self::Read(uri) => Kind::ReadResource(v1::ReadResource {
                uri: uri.to_string(),
            }),
            Self::Subscribe(uri) => Kind::Subscribe(v1::Subscribe {
                uri: uri.to_string(),
            }),
            Self::CompleteResource(uri) => Kind::Complete(complete(
                v1::complete::Reference::ResourceUri(uri.to_string()),
            )),
            Self::CompletePrompt(name) => {
                Kind::Complete(complete(v1::complete::Reference::Prompt(name.to_string())))
            }
            Self::Prompt(name, arguments) => {
                let arguments = arguments.as_object().into_iter().flatten();
                let text = |value: &Json| value.as_str().expect("a text").to_owned();
                Kind::GetPrompt(v1::GetPrompt {
                    name: name.to_string(),
                    arguments: arguments
                        .map(|(name, it)| (name.clone(), text(it)))
                        .collect(),
                })
            }
            Self::Connect(method) => Kind::Connect(v1::Connect {
                method: method.to_string(),
            }),
            Self::Form(_) => {
                let schema = self.mcp().1["requestedSchema"].to_string();
                Kind::ElicitForm(v1::ElicitForm {
                    message: "Please say.".to_owned(),
                    requested_schema_json: schema.into(),
                })
            }
            Self::Page(url) => Kind::ElicitUrl(v1::ElicitUrl {
                message: "Please look.".to_owned(),
                url: url.to_string(),
            }),
            Self::Sample(tokens) => Kind::Sample(v1::Sample {
                max_tokens: *tokens,
                ..v1::Sample::default()
            }),
            Self::Roots => Kind::ListRoots(v1::ListRoots {}),
        }
    }

    /// As MCP has it: the method and its parameters.
    pub fn mcp(&self) -> (&'static str, Json) {
        match self {
            Self::Tool(tool, arguments) => {
                ("tools/call", json!({"name": tool, "arguments": arguments}))
            }
            Self::ListTools => ("tools/list", json!({})),
            Self::ListPrompts => ("prompts/list", json!({})),
            Self::ListResources => ("resources/templates/list", json!({})),
            Self::Read(uri) => ("resources/read", json!({"uri": uri})),
            Self::Subscribe(uri) => ("resources/subscribe", json!({"uri": uri})),
            Self::CompleteResource(uri) => (
                "completion/complete",
                json!({"ref": {"type": "ref/resource", "uri": uri}}),
            ),
            Self::CompletePrompt(name) => (
                "completion/complete",
                json!({"ref": {"type": "ref/prompt", "name": name}}),
            ),
            Self::Prompt(name, arguments) => {
                ("prompts/get", json!({"name": name, "arguments": arguments}))
            }
            Self::Connect(method) => (method, json!({})),
            Self::Form(field) => (
                "elicitation/create",
                json!({"message": "Please say.",
                    "requestedSchema": {"type": "object", "properties": {*field: {"type": "string"}}}}),
            ),
            Self::Page(url) => (
                "elicitation/create",
                json!({"mode": "url", "message": "Please look.", "url": url}),
            ),
            Self::Sample(tokens) => (
                "sampling/createMessage",
                json!({"maxTokens": tokens, "messages": []}),
            ),
            Self::Roots => ("roots/list", json!({})),
        }
    }
}

impl Cedar {
    /// Any question about records, and a few about nothing that is there.
    pub fn any(dice: &mut Dice) -> Self {
        let subjects = ["alice", "alice", "bob", "eve"].map(|id| ("user", id));
        let others = [("record", "record-1"), ("robot", "x")];
        let records = ["record-1", "record-2", "record-3"].map(|id| ("record", id));
        let action = dice.pick(&["read", "write", "delete", "delete", "fly", "list_tools"]);
        // What an action does not declare, AuthZEN leaves out and Cedar refuses: sent to neither here.
        let context = match action {
            "delete" => dice.pick(&[
                json!({}),
                json!({"soft": true}),
                json!({"soft": true}),
                json!({"soft": false}),
                json!({"soft": "x"}),
            ]),
            "read" | "write" => dice.pick(&[json!({}), json!({"time": "now"}), json!({"time": 7})]),
            _ => json!({}),
        };
        Self {
            subject: dice
                .sometimes(8, |dice| dice.pick(&others))
                .unwrap_or_else(|| dice.pick(&subjects)),
            action: match action {
                "list_tools" => ("Mcp::Action", action),
                _ => ("Action", action),
            },
            resource: dice
                .sometimes(8, |_| ("user", "bob"))
                .unwrap_or_else(|| dice.pick(&records)),
            context,
        }
    }

    /// As the native protocol has it.
    pub fn native(&self) -> v1::IsAuthorizedRequest {
        let context = self.context.to_string().into_bytes();
        v1::IsAuthorizedRequest {
            principal: entity(self.subject.0, self.subject.1),
            action: entity(self.action.0, self.action.1),
            resource: entity(self.resource.0, self.resource.1),
            context_form: Some(ContextForm::ContextJson(context.into())),
            ..v1::IsAuthorizedRequest::default()
        }
    }
}

//! A server of files and money, and every adapter that can be asked about its tools.

use std::collections::BTreeMap;

use callgate::proto::agentgateway::ext_mcp::McpRequest;
use callgate::proto::agentgateway::ext_mcp::ext_mcp_client::ExtMcpClient;
use callgate::proto::agentgateway::ext_mcp::mcp_request_result::Result as OfRequest;
use callgate::proto::envoy::auth::authorization_client::AuthorizationClient as EnvoyClient;
use callgate::proto::envoy::auth::check_response::HttpResponse;
use callgate::proto::envoy::auth::{AttributeContext, CheckRequest, HttpRequest, Request};
use callgate::proto::envoy::processing::processing_response::Response;
use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use callgate::proto::v1::call_tool::Input;
use callgate::proto::v1::operation::Kind;
use serde_json::{Value as Json, json};
use tonic::Code;
use tonic::transport::Channel;

use crate::envoy::ext_proc::{Exchange, POST, seen};
use crate::one_reading::panel::Known;
use crate::support::in_process::{Running, entity};
use crate::support::plain_http::{Reply, exchange};
use crate::support::wire::structure;
use crate::support::worlds;

pub const CONFIG: &str = r#"
[envoy]
servers = [{ path = "/mcp", server = "files" }]
verified_servers = ["files"]

[[envoy.identity]]
from = "header"
agent = "x-agent"
verified = true

[ext_mcp]
verified_servers = ["files"]

[[ext_mcp.identity]]
from = "keys"
agent = "agent"
verified = true
"#;

const POLICIES: &str = r#"
@id("read")
permit (principal, action in Mcp::Action::"call_read", resource);

@id("never-write")
forbid (principal, action, resource == Mcp::Tool::"files/write_file");

@id("never-this-account")
forbid (principal, action == Mcp::Action::"files/pay", resource)
when { context.input has account && context.input.account == 9007199254740992 };

@id("never-much")
forbid (principal, action == Mcp::Action::"files/pay", resource)
unless { context.input.amount.lessThan(decimal("100.0")) };

@id("look")
permit (principal, action in Mcp::Action::"discover", resource);

@id("use")
permit (principal, action in Mcp::Action::"use_context", resource);

@id("edit")
permit (principal, action == Mcp::Action::"edit_entities", resource);

@id("ask")
permit (principal == Mcp::Server::"files", action == Mcp::Action::"elicit_form", resource)
when { context.elicitation.secret_fields.isEmpty() };
"#;

/// The schema of a tool's arguments; `None` if nobody has pinned one.
fn schema(tool: &str) -> Option<Json> {
    let text = json!({"type": "string"});
    Some(match tool {
        "read_text_file" | "write_file" => json!({"type": "object", "required": ["path"],
            "properties": {"path": text, "head": {"type": "integer"}}}),
        "compare" => json!({"type": "object", "required": ["path", "Path"],
            "properties": {"path": text, "Path": text}}),
        "read_many" => json!({"type": "object", "required": ["files"], "properties": {
            "files": {"type": "array", "items": {"type": "object", "required": ["path"],
                "properties": {"path": text, "mode": text}}}}}),
        "pay" => json!({"type": "object", "required": ["amount"], "properties": {
            "account": {"type": "integer"}, "amount": {"type": "number"}, "memo": text}}),
        _ => return None,
    })
}

/// What a server of a tool knows of its arguments.
pub fn known(tool: &str) -> Known {
    let any = Known::default;
    match tool {
        "read_text_file" | "write_file" => Known::object([("path", any()), ("head", any())]),
        "compare" => Known::object([("path", any()), ("Path", any())]),
        "read_many" => {
            let file = Known::object([("path", any()), ("mode", any())]);
            Known::object([("files", Known::list(file))])
        }
        "pay" => {
            let typed = Known::typed;
            Known::object([("account", typed()), ("amount", typed()), ("memo", any())])
        }
        _ => any(),
    }
}

/// What a server knows of the parameters of a call.
pub fn known_params(tool: &str) -> Known {
    let any = Known::default;
    Known::object([
        ("name", any()),
        ("arguments", known(tool)),
        ("_meta", any()),
    ])
}

pub const TOOLS: [&str; 6] = [
    "read_text_file",
    "write_file",
    "compare",
    "read_many",
    "pay",
    "free",
];

/// The server, of which `pinned` has the pinned digests.
pub async fn start(pinned: &[(&str, &str)]) -> Running {
    let mut world = worlds::small().policies(POLICIES).server("files", "ana");
    for name in TOOLS.into_iter().chain(pinned.iter().map(|it| it.0)) {
        let mut more = json!({});
        if let Some(schema) = schema(name) {
            more["input_schema"] = schema;
            more["typed"] = json!(name == "pay");
        }
        if let Some((_, digest)) = pinned.iter().find(|it| it.0 == name) {
            more["digest"] = json!(digest);
        }
        world = world.tool_with(name, "read", more);
    }
    world.start(CONFIG).await
}

/// What an adapter answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The call may happen.
    Allowed,
    /// It may not, by this decision; ToolHive is not told why.
    Denied(Option<String>),
    /// It was not decided: the question cannot be read.
    Refused,
}

impl Said {
    /// Whether two adapters say the same, as far as both say it.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Denied(one), Self::Denied(other)) => {
                one.is_none() || other.is_none() || one == other
            }
            (one, other) => one == other,
        }
    }
}

/// What each adapter answers, by its name.
pub type All = BTreeMap<&'static str, Said>;

/// Every adapter of one server.
pub struct Doors {
    pub server: Running,
    native: AuthorizationClient<Channel>,
    ext_authz: EnvoyClient<Channel>,
    pub ext_mcp: ExtMcpClient<Channel>,
    pub channel: Channel,
}

impl Doors {
    pub async fn open(server: Running) -> Self {
        let channel = server.channel().await;
        Self {
            server,
            native: AuthorizationClient::new(channel.clone()),
            ext_authz: EnvoyClient::new(channel.clone()),
            ext_mcp: ExtMcpClient::new(channel.clone()),
            channel,
        }
    }

    /// Every adapter that can be asked about a call of this tool with this text of arguments.
    pub async fn call(&mut self, tool: &str, arguments: &[u8]) -> All {
        let tool_text = Json::from(tool).to_string();
        let mut params = format!(r#"{{"name":{tool_text},"arguments":"#).into_bytes();
        params.extend_from_slice(arguments);
        params.push(b'}');
        let mut all = self.params(&params).await;
        let json = Input::ArgumentsJson(arguments.to_vec().into());
        all.insert("native", self.native(tool, Some(json)).await);
        all.insert("toolhive", self.toolhive(tool, arguments).await);
        if let Some(said) = as_struct(arguments) {
            let said = Input::Arguments(structure(&said));
            all.insert("native, a Struct", self.native(tool, Some(said)).await);
        }
        all
    }

    /// Every adapter that is asked with the parameters of a message.
    pub async fn params(&mut self, params: &[u8]) -> All {
        let mut message = br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":"#.to_vec();
        message.extend_from_slice(params);
        message.push(b'}');
        let mut all = self.message(&message).await;
        all.insert("ext_mcp", self.ext_mcp("tools/call", params).await);
        all
    }

    /// Every adapter about a prompt with this text of arguments.
    pub async fn prompt(&mut self, arguments: &str) -> All {
        let params = format!(r#"{{"name":"review","arguments":{arguments}}}"#);
        let message =
            format!(r#"{{"jsonrpc":"2.0","id":7,"method":"prompts/get","params":{params}}}"#);
        let mut all = self.message(message.as_bytes()).await;
        all.insert(
            "ext_mcp",
            self.ext_mcp("prompts/get", params.as_bytes()).await,
        );
        let asked = ("prompt", "get", "review");
        all.insert(
            "toolhive",
            self.toolhive_about(asked, arguments.as_bytes()).await,
        );
        if let Ok(arguments) = serde_json::from_str(arguments) {
            let kind = Kind::GetPrompt(v1::GetPrompt {
                name: "review".into(),
                arguments,
            });
            all.insert("native", self.native_about(kind).await);
        }
        all
    }

    async fn ext_mcp(&mut self, method: &str, params: &[u8]) -> Said {
        let request = McpRequest {
            service_names: vec!["files".to_owned()],
            method: method.to_owned(),
            metadata_context: Some(structure(&json!({"agent": "coder"}))),
            mcp_request: Some(params.to_vec().into()),
            headers: Vec::new(),
        };
        let answer = self.ext_mcp.check_request(request).await;
        match answer.expect("an answer").into_inner().result {
            Some(OfRequest::Pass(_)) => Said::Allowed,
            Some(OfRequest::Error(error)) => match error.mcp_error.as_deref() {
                None => Said::Refused,
                Some(data) => {
                    let data: Json = serde_json::from_slice(data).expect("JSON");
                    Said::Denied(code(&data))
                }
            },
            other => panic!("{other:?}"),
        }
    }

    /// Every adapter that is asked with a whole message.
    pub async fn message(&mut self, message: &[u8]) -> All {
        let json = Some("application/json");
        All::from([
            ("ext_authz", self.ext_authz(message, json).await),
            ("ext_proc", self.ext_proc(message, json).await),
        ])
    }

    pub async fn native(&mut self, tool: &str, input: Option<Input>) -> Said {
        let tool = v1::CallTool {
            tool: tool.into(),
            input,
            ..v1::CallTool::default()
        };
        self.native_about(Kind::CallTool(tool)).await
    }

    async fn native_about(&mut self, kind: Kind) -> Said {
        let request = v1::AuthorizeRequest {
            call_context: Some(Box::new(v1::CallContext {
                subject: Some(v1::Subject {
                    entity: entity("Agent", "coder"),
                    identity: Some(v1::Identity {
                        method: "test".into(),
                        verified: true,
                    }),
                    claims: None,
                }),
                operation: Some(v1::Operation {
                    server: "files".into(),
                    kind: Some(kind),
                    ..v1::Operation::default()
                }),
                ..v1::CallContext::default()
            })),
            ..v1::AuthorizeRequest::default()
        };
        match self.native.authorize(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                match answer.decision() {
                    v1::Decision::Allow => Said::Allowed,
                    _ => {
                        let first = answer.reasons.first().expect("a reason");
                        let name = first.code().as_str_name();
                        Said::Denied(Some(name.replace("REASON_CODE_", "")))
                    }
                }
            }
            Err(status) => {
                assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
                Said::Refused
            }
        }
    }

    pub async fn ext_authz(&mut self, body: &[u8], content_type: Option<&str>) -> Said {
        let mut headers = vec![("x-agent", "coder")];
        headers.extend(content_type.map(|it| ("content-type", it)));
        let http = HttpRequest {
            method: "POST".to_owned(),
            path: "/mcp".to_owned(),
            host: "gateway.example.org".to_owned(),
            size: -1,
            headers: headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            raw_body: body.to_vec().into(),
            ..HttpRequest::default()
        };
        let attributes = AttributeContext {
            request: Some(Request { http: Some(http) }),
            ..AttributeContext::default()
        };
        let attributes = Some(attributes);
        let answer = self.ext_authz.check(CheckRequest { attributes }).await;
        let answer = answer.expect("an answer").into_inner();
        match answer.http_response.expect("a response") {
            HttpResponse::OkResponse(_) => Said::Allowed,
            HttpResponse::DeniedResponse(denied) => {
                let body = serde_json::from_str(&denied.body).expect("JSON");
                of_error(&body)
            }
        }
    }

    pub async fn ext_proc(&mut self, body: &[u8], content_type: Option<&str>) -> Said {
        let mut headers: Vec<_> = POST
            .into_iter()
            .filter(|it| it.0 != "content-type")
            .collect();
        headers.extend(content_type.map(|it| ("content-type", it)));
        let mut exchange = Exchange::open_with(self.channel.clone(), None).await;
        match exchange.ask(&headers, body).await.expect("an answer") {
            Response::RequestBody(_) => Said::Allowed,
            Response::ImmediateResponse(immediate) => of_error(&seen(immediate).2),
            other => panic!("{other:?}"),
        }
    }

    pub async fn toolhive(&mut self, tool: &str, arguments: &[u8]) -> Said {
        self.toolhive_about(("tool", "call", tool), arguments).await
    }

    async fn toolhive_about(&mut self, asked: (&str, &str, &str), arguments: &[u8]) -> Said {
        let (feature, verb, name) = asked;
        let named = Json::from(format!("mrn:mcp:files:{feature}:{name}"));
        let mut body = format!(
            r#"{{"principal":{{"sub":"ana"}},"operation":"mcp:{feature}:{verb}","resource":{named},"context":{{"mcp":{{"args":"#
        )
        .into_bytes();
        body.extend_from_slice(arguments);
        body.extend_from_slice(b"}}}");
        let json = Some("application/json");
        let reply = self.post("/toolhive/decision", &body, json).await;
        match reply.status {
            200 => match reply.json()["allow"].as_bool().expect("a boolean") {
                true => Said::Allowed,
                false => Said::Denied(None),
            },
            400 => Said::Refused,
            _ => panic!("{reply:?}"),
        }
    }

    /// Posts bytes to an endpoint of plain HTTP.
    pub async fn post(&self, path: &str, body: &[u8], content_type: Option<&str>) -> Reply {
        let length = body.len();
        let of_type = content_type.map(|it| format!("content-type: {it}\r\n"));
        let of_type = of_type.unwrap_or_default();
        let mut text = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{of_type}content-length: {length}\r\n\r\n"
        )
        .into_bytes();
        text.extend_from_slice(body);
        let stream = tokio::net::TcpStream::connect(self.server.http_address).await;
        exchange(stream.expect("a connection"), &text).await
    }
}

/// What an error of JSON-RPC says: the code of the first reason, if it was decided.
fn of_error(body: &Json) -> Said {
    match &body["error"]["data"] {
        Json::Null => Said::Refused,
        data => Said::Denied(code(data)),
    }
}

fn code(data: &Json) -> Option<String> {
    let authorization = &data["authorization"];
    authorization["reason"].as_str().map(str::to_owned)
}

/// The arguments as a Struct says them: each name once, and numbers that doubles hold.
fn as_struct(arguments: &[u8]) -> Option<Json> {
    let tree = crate::one_reading::panel::parse(arguments)?;
    let json: Json = serde_json::from_slice(arguments).ok()?;
    (json.is_object() && is_sayable(&tree)).then_some(json)
}

fn is_sayable(tree: &crate::one_reading::panel::Tree) -> bool {
    use crate::one_reading::panel::Tree;
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match tree {
        Tree::Word(_) | Tree::Text(_) => true,
        Tree::Number(literal) => {
            let found = callgate::domain::request::json_text::inexact_number(literal.as_bytes());
            found.is_none() && literal.parse().is_ok_and(|it: f64| it.abs() < EXACT)
        }
        Tree::List(items) => items.iter().all(is_sayable),
        Tree::Object(members) => {
            let names: std::collections::BTreeSet<_> = members.iter().map(|it| &it.0).collect();
            names.len() == members.len() && members.iter().all(|(_, value)| is_sayable(value))
        }
    }
}

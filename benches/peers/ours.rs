//! Callgate: its native RPC, and the same call as Envoy asks about it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use callgate::proto::envoy::auth::check_response::HttpResponse;
use callgate::proto::envoy::auth::{
    AttributeContext, CheckRequest, CheckResponse, HttpRequest, Metadata, Request,
};
use callgate::proto::v1;
use serde_json::json;

use crate::question::{AGENT, Call, LABELS, Question};
use crate::served::{Fault, bundle};
use crate::wire::structure;

/// Where Envoy finds the server of the tools.
pub const SLACK: &str = "/slack";
/// What Envoy's token filter keeps, and under which name.
pub const TOKENS: &str = "envoy.filters.http.jwt_authn";

const SETTINGS: &str = r#"
[envoy]
servers = [{ path = "/slack", server = "slack" }]
[[envoy.identity]]
from = "jwt"
payload = "jwt_payload"
"#;

const HEADERS: [(&str, &str); 11] = [
    (":method", "POST"),
    (":path", SLACK),
    (":authority", "mcp.example.org"),
    ("content-type", "application/json"),
    ("accept", "application/json, text/event-stream"),
    ("user-agent", "python-httpx/0.28.1"),
    ("mcp-session-id", "0197-session"),
    ("mcp-protocol-version", "2025-11-25"),
    ("x-forwarded-proto", "https"),
    ("x-request-id", "f2b7c5a8-6f0e-4f57-9a53-0a8f7c1f7f10"),
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
];

/// Says in a directory's settings what Envoy's requests mean.
pub fn configure(dir: &Path) -> Result<(), Fault> {
    let path = dir.join("callgate.toml");
    let mut file = OpenOptions::new().append(true).open(path)?;
    Ok(file.write_all(SETTINGS.as_bytes())?)
}

/// `callgate.v1.Authorization/Authorize`.
pub struct Native;

impl Question for Native {
    type Request = v1::AuthorizeRequest;
    type Response = v1::AuthorizeResponse;
    const PATH: &'static str = "/callgate.v1.Authorization/Authorize";

    fn request(&self, call: &Call) -> v1::AuthorizeRequest {
        let mut request = bundle::typical_call();
        let context = request.call_context.get_or_insert_default();
        context.operation = Some(v1::Operation {
            server: "slack".to_owned(),
            kind: Some(v1::operation::Kind::CallTool(v1::CallTool {
                tool: call.tool.to_owned(),
                input: Some(v1::call_tool::Input::ArgumentsJson(
                    call.arguments().to_string().into(),
                )),
                ..Default::default()
            })),
            ..Default::default()
        });
        let root = v1::EntityRef {
            r#type: "User".to_owned(),
            id: call.person.to_owned(),
        };
        context.delegation.get_or_insert_default().root = Some(root);
        request
    }

    fn is_allow(response: &v1::AuthorizeResponse) -> bool {
        response.decision() == v1::Decision::Allow
    }
}

/// `envoy.service.auth.v3.Authorization/Check`.
pub struct ExtAuthz {
    /// Whether the labels of the session come with the call, for a server that keeps no sessions.
    pub with_labels: bool,
}

impl Question for ExtAuthz {
    type Request = CheckRequest;
    type Response = CheckResponse;
    const PATH: &'static str = "/envoy.service.auth.v3.Authorization/Check";

    fn request(&self, call: &Call) -> CheckRequest {
        let body = json!({
            "jsonrpc": "2.0", "id": 7, "method": "tools/call",
            "params": {"name": call.tool, "arguments": call.arguments()},
        });
        let token = json!({
            "iss": "https://login.example.org", "aud": "mcp", "sub": call.person, "scope": "tools",
            "act": {"sub": AGENT},
        });
        let mut found = vec![(TOKENS, json!({"jwt_payload": token}))];
        if self.with_labels {
            found.push(("session", json!({"labels": LABELS})));
        }
        let http = HttpRequest {
            method: "POST".to_owned(),
            path: SLACK.to_owned(),
            host: "mcp.example.org".to_owned(),
            size: -1,
            headers: HEADERS
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            raw_body: body.to_string().into(),
            ..HttpRequest::default()
        };
        let filter_metadata = found
            .iter()
            .map(|(name, json)| ((*name).to_owned(), structure(json)))
            .collect();
        CheckRequest {
            attributes: Some(AttributeContext {
                request: Some(Request { http: Some(http) }),
                metadata_context: Some(Metadata { filter_metadata }),
                ..AttributeContext::default()
            }),
        }
    }

    /// Envoy goes by the status; a server may leave out that it is fine.
    fn is_allow(response: &CheckResponse) -> bool {
        let is_denied = matches!(
            response.http_response,
            Some(HttpResponse::DeniedResponse(_))
        );
        let code = response.status.as_ref().map(|status| status.code);
        !is_denied && code == Some(0)
    }
}

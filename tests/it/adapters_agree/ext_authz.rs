//! Envoy's external authorization.

use std::collections::BTreeMap;

use callgate::proto::envoy::auth::authorization_client::AuthorizationClient;
use callgate::proto::envoy::auth::check_response::HttpResponse;
use callgate::proto::envoy::auth::{
    Address, AttributeContext, CheckRequest, HttpRequest, Metadata, Peer, Request, SocketAddress,
};
use prost_types::Struct;
use serde_json::{Value as Json, json};
use tonic::transport::Channel;

use crate::adapters_agree::call::{By, Call, Known, Question};
use crate::adapters_agree::company::Company;
use crate::adapters_agree::{Answer, Challenge, Door, listed};
use crate::support::wire::structure;

pub struct ExtAuthz(AuthorizationClient<Channel>);

/// Where Envoy keeps what its JWT filter has verified.
const JWT: &str = "envoy.filters.http.jwt_authn";

/// The headers of a request, as a client and the filters before it have written them.
pub fn headers(call: &Call, company: &Company) -> Vec<(&'static str, String)> {
    let made = &company.made;
    let mut headers = vec![("content-type", "application/json".to_owned())];
    if let (By::Agent(agent), Known::Named("header")) = (&call.by, &call.known) {
        headers.push(("x-agent", (*agent).to_owned()));
        headers.extend(call.person.map(|it| ("x-person", it.to_owned())));
    }
    headers.extend(call.session.map(|it| ("mcp-session-id", it.to_owned())));
    headers.extend(call.task.map(|it| ("x-task", made.tasks[it].clone())));
    headers.extend(
        call.delegation
            .map(|it| ("x-grants", made.delegations[it].clone())),
    );
    let approval = call.approval.map(|it| made.approvals[it].clone());
    headers.extend(approval.map(|it| ("x-approvals", it)));
    headers.extend(call.traceparent.map(|it| ("traceparent", it.to_owned())));
    headers
}

/// The body of a request.
pub fn body(call: &Call) -> Json {
    let (method, params) = call.what.mcp();
    json!({"jsonrpc": "2.0", "id": call.id, "method": method, "params": params})
}

/// Whom the client's certificate names.
pub fn principal(call: &Call) -> Option<String> {
    match (&call.by, &call.known) {
        (By::Agent(agent), Known::Named("spiffe")) => {
            Some(format!("spiffe://example.org/agent/{agent}"))
        }
        _ => None,
    }
}

/// What Envoy's JWT filter has found.
pub fn found(call: &Call) -> BTreeMap<String, Struct> {
    let payload = |token| (JWT.to_owned(), structure(&json!({"jwt_payload": token})));
    call.token().map(payload).into_iter().collect()
}

/// What a client sees in place of an answer: what it is told, and what would have to be approved.
pub fn seen(body: &[u8], call: &Call) -> (String, Option<Challenge>) {
    let body: Json = serde_json::from_slice(body).expect("JSON");
    assert_eq!(body["id"], json!(call.id));
    let said = body["error"]["message"].as_str().expect("a sentence");
    (said.to_owned(), Challenge::of(&body["error"]["data"]))
}

fn attributes(call: &Call, company: &Company) -> AttributeContext {
    let headers = headers(call, company).into_iter();
    let headers = headers.map(|(name, value)| (name.to_owned(), value));
    let http = HttpRequest {
        method: "POST".to_owned(),
        path: format!("/{}", call.server),
        host: "gateway.example.org".to_owned(),
        size: -1,
        headers: headers.collect(),
        raw_body: body(call).to_string().into(),
        ..HttpRequest::default()
    };
    let address = call.address.map(|address| Address {
        socket_address: Some(SocketAddress {
            address: address.to_owned(),
        }),
    });
    let peer = Peer {
        address,
        principal: principal(call).unwrap_or_default(),
    };
    AttributeContext {
        source: Some(peer),
        request: Some(Request { http: Some(http) }),
        metadata_context: Some(Metadata {
            filter_metadata: found(call),
        }),
        ..AttributeContext::default()
    }
}

impl Door for ExtAuthz {
    const CONFIG: &'static str = r#"
[envoy]
servers = [
  { path = "/git", server = "git" }, { path = "/mail", server = "mail" }, { path = "/other", server = "other" },
  { path = "/fetch", server = "fetch" }, { path = "/filesystem", server = "filesystem" },
]
task_header = "x-task"
approval_header = "x-approvals"
delegation_header = "x-grants"
[[envoy.identity]]
from = "spiffe"
prefix = "spiffe://example.org/agent/"
[[envoy.identity]]
from = "jwt"
payload = "jwt_payload"
claims = true
[[envoy.identity]]
from = "header"
agent = "x-agent"
person = "x-person"
verified = true
"#;

    async fn of(company: &Company) -> Self {
        Self(AuthorizationClient::new(company.server.channel().await))
    }

    fn sayable(question: Question) -> Option<Question> {
        matches!(question, Question::Call(_)).then_some(question)
    }

    async fn ask(&mut self, company: &Company, question: &Question) -> Answer {
        let Question::Call(call) = question else {
            unreachable!("it is asked about calls");
        };
        let attributes = Some(attributes(call, company));
        let answer = self.0.check(CheckRequest { attributes }).await;
        let answer = answer.expect("an answer").into_inner();
        let (said, challenge) = match &answer.http_response {
            Some(HttpResponse::DeniedResponse(denied)) => {
                let (said, challenge) = seen(denied.body.as_bytes(), call);
                (Some(said), challenge)
            }
            _ => (None, None),
        };
        let told = answer.dynamic_metadata.as_ref();
        let told = told.unwrap_or_else(|| panic!("nothing was decided: {answer:?}"));
        Answer {
            is_allow: answer.status.as_ref().is_some_and(|it| it.code == 0),
            reasons: Some(listed(told, "reasons")),
            said: said.map(|said| company.made.named(&said)),
            obligations: Some(listed(told, "obligations")),
            challenge: Some(challenge),
        }
    }
}

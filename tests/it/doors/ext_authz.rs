//! Envoy's external authorization.

use callgate::proto::envoy::auth::authorization_client::AuthorizationClient;
use callgate::proto::envoy::auth::check_response::HttpResponse;
use callgate::proto::envoy::auth::{
    Address, AttributeContext, CheckRequest, CheckResponse, HttpRequest, Metadata, Peer, Request,
    SocketAddress,
};
use prost_types::value::Kind;
use serde_json::{Value as Json, json};
use tonic::transport::Channel;

use crate::doors::call::{By, Call, Known, Question, structure};
use crate::doors::company::Company;
use crate::doors::{Answer, Challenge, Door};

pub struct ExtAuthz(AuthorizationClient<Channel>);

/// The texts of a list in the dynamic metadata.
fn listed(answer: &CheckResponse, name: &str) -> Vec<String> {
    let metadata = answer.dynamic_metadata.as_ref();
    let metadata = metadata.unwrap_or_else(|| panic!("nothing was decided: {answer:?}"));
    let Some(Kind::ListValue(list)) = &metadata.fields[name].kind else {
        panic!("{metadata:?}");
    };
    let text = |value: &prost_types::Value| match &value.kind {
        Some(Kind::StringValue(text)) => text.clone(),
        other => panic!("{other:?}"),
    };
    list.values.iter().map(text).collect()
}

fn attributes(call: &Call, company: &Company) -> AttributeContext {
    let made = &company.made;
    let mut headers = vec![];
    if let (By::Agent(agent), Known::Header) = (&call.by, &call.known) {
        headers.push(("x-agent", (*agent).to_owned()));
        headers.extend(call.person.map(|it| ("x-person", it.to_owned())));
    }
    headers.extend(call.session.map(|it| ("mcp-session-id", it.to_owned())));
    headers.extend(call.task.map(|it| ("x-task", made.tasks[it].clone())));
    headers.extend(call.grant.map(|it| ("x-grants", made.grants[it].clone())));
    let approval = call.approval.map(|it| made.approvals[it].clone());
    headers.extend(approval.map(|it| ("x-approvals", it)));
    headers.extend(call.traceparent.map(|it| ("traceparent", it.to_owned())));
    let headers = headers
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));

    let (method, params) = call.what.mcp();
    let body = json!({"jsonrpc": "2.0", "id": call.id, "method": method, "params": params});
    let http = HttpRequest {
        method: "POST".to_owned(),
        path: format!("/{}", call.server),
        host: "gateway.example.org".to_owned(),
        size: -1,
        headers: headers.collect(),
        raw_body: body.to_string().into(),
        ..HttpRequest::default()
    };
    let token = call.token().map(|token| Metadata {
        filter_metadata: [(
            "envoy.filters.http.jwt_authn".to_owned(),
            structure(&json!({"jwt_payload": token})),
        )]
        .into(),
    });
    let peer = call.address.map(|address| Peer {
        address: Some(Address {
            socket_address: Some(SocketAddress {
                address: address.to_owned(),
            }),
        }),
        ..Peer::default()
    });
    AttributeContext {
        source: peer,
        request: Some(Request { http: Some(http) }),
        metadata_context: token,
        ..AttributeContext::default()
    }
}

impl Door for ExtAuthz {
    const CONFIG: &'static str = r#"
[envoy]
servers = [
  { path = "/git", server = "git" }, { path = "/mail", server = "mail" }, { path = "/other", server = "other" },
]
task_header = "x-task"
approval_header = "x-approvals"
grant_header = "x-grants"
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
                let body: Json = serde_json::from_str(&denied.body).expect("JSON");
                assert_eq!(body["id"], json!(call.id));
                let authorization = &body["error"]["data"]["authorization"];
                let hint = authorization["remediationHints"]
                    .get(0)
                    .map(|it| Challenge {
                        digest: it["digest"].as_str().expect("a digest").to_owned(),
                        expires_at: it["expiresAt"].as_i64().expect("a time"),
                    });
                let said = body["error"]["message"].as_str().expect("a sentence");
                (Some(said.to_owned()), hint)
            }
            _ => (None, None),
        };
        Answer {
            is_allow: answer.status.as_ref().is_some_and(|it| it.code == 0),
            reasons: Some(listed(&answer, "reasons")),
            said: said.map(|said| company.made.named(&said)),
            obligations: Some(listed(&answer, "obligations")),
            challenge: Some(challenge),
        }
    }
}

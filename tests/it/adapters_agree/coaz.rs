//! OpenID AuthZEN, asked about calls of MCP (COAZ-MCP).

use serde_json::{Value as Json, json};

use crate::adapters_agree::call::{By, Call, Known, Question, What};
use crate::adapters_agree::company::Company;
use crate::adapters_agree::{Answer, Challenge, Door};
use crate::http::authzen::EVALUATION;
use crate::support::plain_http::send;

pub struct Coaz;

fn texts(list: &Json, key: &str) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .map(|it| it[key].as_str().expect("a text").to_owned())
        .collect()
}

/// What the binding asks about, and what else an enforcement point may tell of it.
fn asked(what: &What) -> (&'static str, &'static str, String, Json) {
    let server = || "https://mcp.example.com".to_owned();
    match what {
        What::Tool(tool, arguments) => {
            let properties = json!({"arguments": arguments});
            ("tools/call", "tool", (*tool).to_owned(), properties)
        }
        What::Prompt(name, arguments) => {
            let properties = json!({"arguments": arguments});
            ("prompts/get", "prompt", (*name).to_owned(), properties)
        }
        What::ListTools => ("tools/list", "mcp_server", server(), json!({})),
        What::ListPrompts => ("prompts/list", "mcp_server", server(), json!({})),
        What::ListResources => ("resources/list", "mcp_server", server(), json!({})),
        What::Read(uri) => ("resources/read", "resource", (*uri).to_owned(), json!({})),
        What::Subscribe(uri) => (
            "resources/subscribe",
            "resource",
            (*uri).to_owned(),
            json!({}),
        ),
        What::CompletePrompt(name) => (
            "completion/complete",
            "prompt",
            (*name).to_owned(),
            json!({}),
        ),
        What::CompleteResource(uri) => (
            "completion/complete",
            "resource",
            (*uri).to_owned(),
            json!({}),
        ),
        What::Connect(method) => (method, "mcp_server", server(), json!({})),
        other => unreachable!("the binding does not ask about {other:?}"),
    }
}

impl Door for Coaz {
    const CONFIG: &'static str = r#"
[[authzen.mcp]]
server_from = "properties"
session_key = "session"
task_key = "task"
approvals_key = "approvals"
delegations_key = "grants"
"#;

    async fn of(_: &Company) -> Self {
        Self
    }

    /// It knows a person and an agent, and no claims, chains or addresses.
    fn sayable(question: Question) -> Option<Question> {
        let Question::Call(call) = question else {
            return None;
        };
        let is_asked = match &call.what {
            What::Connect(method) => ["initialize", "logging/setLevel"].contains(method),
            what => !what.is_servers(),
        };
        let is_agent = matches!(call.by, By::Agent(_));
        is_asked.then_some(Question::Call(Call {
            known: Known::Named("jwt"),
            person: is_agent.then(|| call.person.unwrap_or("ana")),
            actors: Vec::new(),
            scopes: Vec::new(),
            id: None,
            address: None,
            ..call
        }))
    }

    async fn ask(&mut self, company: &Company, question: &Question) -> Answer {
        let Question::Call(call) = question else {
            unreachable!("it is asked about calls");
        };
        let (method, ty, id, mut properties) = asked(&call.what);
        properties["server"] = json!(call.server);
        let mut context = json!({});
        let person = match call.by {
            By::Person(person) => person,
            By::Agent(agent) => {
                context["agent"] = json!(agent);
                call.person.expect("a person")
            }
        };
        context["session"] = json!(call.session);
        let made = &company.made;
        context["task"] = json!(call.task.map(|it| &made.tasks[it]));
        context["approvals"] = json!(call.approval.map(|it| &made.approvals[it]));
        context["grants"] = json!(call.delegation.map(|it| [&made.delegations[it]]));
        let body = json!({
            "subject": {"type": "identity", "id": person},
            "action": {"name": method},
            "resource": {"type": ty, "id": id, "properties": properties},
            "context": context,
        });
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(call.traceparent.map(|it| ("traceparent", it)));
        let address = company.server.http_address;
        let reply = send(address, "POST", EVALUATION, &headers, &body.to_string()).await;
        assert_eq!(reply.status, 200, "{body}: {reply:?}");
        let json = reply.json();
        let context = &json["context"];
        let said = context["reasons"][0]["message"].as_str();
        let challenge = context.get("approval").map(|it| {
            let at = it["expires_at"].as_str().expect("a time");
            let at = humantime::parse_rfc3339(at).expect("a time");
            let since = at.duration_since(std::time::UNIX_EPOCH).expect("a time");
            Challenge {
                digest: it["digest"].as_str().expect("a digest").to_owned(),
                expires_at: i64::try_from(since.as_secs()).expect("seconds"),
            }
        });
        Answer {
            is_allow: json["decision"].as_bool().expect("a boolean"),
            reasons: Some(texts(&context["reasons"], "code")),
            said: said.map(|said| made.named(said)),
            obligations: Some(texts(&context["obligations"], "id")),
            challenge: Some(challenge),
        }
    }
}

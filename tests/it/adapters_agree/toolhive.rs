//! ToolHive's question.

use serde_json::{Value as Json, json};

use crate::adapters_agree::call::{By, Call, Known, Question, What};
use crate::adapters_agree::company::Company;
use crate::adapters_agree::{Answer, Door};
use crate::support::plain_http::send;

pub struct Toolhive;

/// Whether a whole number beyond 2^53 - 1 is in there.
fn holds_what_it_rounds(arguments: &Json) -> bool {
    match arguments {
        Json::Number(number) => number
            .as_f64()
            .is_some_and(|it| it.fract() == 0.0 && it.abs() > 9_007_199_254_740_991.0),
        Json::Array(items) => items.iter().any(holds_what_it_rounds),
        Json::Object(members) => members.values().any(holds_what_it_rounds),
        _ => false,
    }
}

impl Door for Toolhive {
    const CONFIG: &'static str = "";

    async fn of(_: &Company) -> Self {
        Self
    }

    /// It knows people and their tokens, and nothing of whatever else belongs to a call.
    fn sayable(question: Question) -> Option<Question> {
        let Question::Call(call) = question else {
            return None;
        };
        let what = match call.what {
            What::Prompt(name, _) => What::Prompt(name, json!({})),
            // What it may have rounded is refused at this door, and decided at the others.
            What::Tool(_, arguments) if holds_what_it_rounds(&arguments) => return None,
            What::Tool(..) | What::ListTools | What::ListPrompts | What::ListResources => call.what,
            What::Read(uri) => What::Read(uri),
            _ => return None,
        };
        let groups = match call.known {
            Known::Token(groups) => groups,
            Known::Named(_) => Vec::new(),
        };
        Some(Question::Call(Call {
            by: By::Person(match call.by {
                By::Person(person) => person,
                By::Agent(_) => call.person.unwrap_or("ana"),
            }),
            known: Known::Token(groups),
            person: None,
            actors: Vec::new(),
            scopes: Vec::new(),
            session: None,
            task: None,
            delegation: None,
            approval: None,
            id: None,
            address: None,
            what,
            ..call
        }))
    }

    async fn ask(&mut self, company: &Company, question: &Question) -> Answer {
        let Question::Call(call) = question else {
            unreachable!("it is asked about calls");
        };
        let (feature, verb, name, args) = match &call.what {
            What::Tool(tool, arguments) => ("tool", "call", *tool, arguments.clone()),
            What::Prompt(name, arguments) => ("prompt", "get", *name, arguments.clone()),
            What::Read(uri) => ("resource", "read", *uri, json!({})),
            What::ListTools => ("tool", "list", "", json!({})),
            What::ListPrompts => ("prompt", "list", "", json!({})),
            What::ListResources => ("resource", "list", "", json!({})),
            other => unreachable!("it has no words for {other:?}"),
        };
        let body = json!({
            "principal": call.token(),
            "operation": format!("mcp:{feature}:{verb}"),
            "resource": format!("mrn:mcp:{}:{feature}:{name}", call.server),
            "context": {"mcp": {"feature": feature, "operation": verb, "resource_id": name, "args": args}},
        });
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(call.traceparent.map(|it| ("traceparent", it)));
        let address = company.server.http_address;
        let path = "/toolhive/decision";
        let reply = send(address, "POST", path, &headers, &body.to_string()).await;
        assert_eq!(reply.status, 200, "{body}: {reply:?}");
        Answer {
            is_allow: reply.json()["allow"].as_bool().expect("a boolean"),
            reasons: None,
            said: None,
            obligations: None,
            challenge: None,
        }
    }
}

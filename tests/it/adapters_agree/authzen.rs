//! OpenID AuthZEN.

use serde_json::{Value as Json, json};

use crate::adapters_agree::call::Question;
use crate::adapters_agree::company::Company;
use crate::adapters_agree::{Answer, Door};
use crate::http::authzen::EVALUATION;
use crate::support::plain_http::post;

pub struct Authzen;

fn texts(list: &Json, key: &str) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .map(|it| it[key].as_str().expect("a text").to_owned())
        .collect()
}

impl Door for Authzen {
    const CONFIG: &'static str = "";

    async fn of(_: &Company) -> Self {
        Self
    }

    fn sayable(question: Question) -> Option<Question> {
        matches!(question, Question::Cedar(_)).then_some(question)
    }

    async fn ask(&mut self, company: &Company, question: &Question) -> Answer {
        let Question::Cedar(cedar) = question else {
            unreachable!("it asks Cedar's own question");
        };
        let action = match cedar.action {
            ("Action", name) => name.to_owned(),
            (namespaced, name) => format!("{namespaced}::\"{name}\""),
        };
        let body = json!({
            "subject": {"type": cedar.subject.0, "id": cedar.subject.1},
            "action": {"name": action},
            "resource": {"type": cedar.resource.0, "id": cedar.resource.1},
            "context": cedar.context,
        });
        let reply = post(&company.server, EVALUATION, &body).await;
        assert_eq!(reply.status, 200, "{body}: {reply:?}");
        let json = reply.json();
        let context = &json["context"];
        let said = context["reasons"][0]["message"].as_str();
        Answer {
            is_allow: json["decision"].as_bool().expect("a boolean"),
            reasons: Some(texts(&context["reasons"], "code")),
            said: said.map(str::to_owned),
            obligations: Some(texts(&context["obligations"], "id")),
            challenge: None,
        }
    }
}

//! A decision as it is on record.

use std::collections::BTreeMap;

use opentelemetry_sdk::trace::SpanData;

use crate::adapters_agree::company::Made;

/// What differs from one decision to the next, and from one door to the next.
const OWN: [&str; 2] = ["callgate.decision.id", "callgate.adapter"];

/// Everything that is on record of one decision, but its id, the door and the time.
#[derive(Debug, PartialEq)]
pub struct Record {
    /// The name and status of its span, the trace it is part of, every attribute, and what it is linked to.
    facts: BTreeMap<String, String>,
}

impl Record {
    /// What a span says.
    pub fn of(span: &SpanData, made: &Made) -> Self {
        let mut facts = BTreeMap::from([
            ("name".to_owned(), span.name.to_string()),
            ("status".to_owned(), format!("{:?}", span.status)),
            ("parent".to_owned(), span.parent_span_id.to_string()),
        ]);
        if span.parent_span_id.to_string() != "0000000000000000" {
            let trace = span.span_context.trace_id().to_string();
            facts.insert("trace".to_owned(), trace);
        }
        for attribute in &span.attributes {
            let value = made.named(&attribute.value.to_string());
            let known = facts.insert(attribute.key.to_string(), value);
            assert!(known.is_none(), "{} comes twice", attribute.key);
        }
        for link in &span.links.links {
            let [kind, about] = [0, 1].map(|at| link.attributes[at].value.to_string());
            // Decisions have ids of their own in each company.
            let about = match kind.as_str() {
                "denied" | "parent" => "a decision".to_owned(),
                _ => made.named(&about),
            };
            let is_known = link.span_context.is_valid();
            facts.insert(
                format!("link {kind}"),
                format!("{about}, known: {is_known}"),
            );
        }
        for own in OWN {
            assert!(facts.remove(own).is_some(), "{own} is on record: {facts:?}");
        }
        Self { facts }
    }

    /// One of its attributes.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.facts.get(key).map(String::as_str)
    }
}

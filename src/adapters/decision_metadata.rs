//! What a gateway receives beside the decision: headers, and metadata for its filters and access log.

use std::collections::BTreeMap;

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as WireValue};
use serde_json::{Map, Value as Json};

use crate::adapters::input::json;
use crate::adapters::outcome::PassedDecision;
use crate::domain::decide::verdict::{Decision, Verdict};
use crate::service::request::Response;
use callgate_engine::obligation::Obligation;

/// The header with the decision id.
pub(in crate::adapters) const DECISION_ID: &str = "x-callgate-decision-id";
/// The header with the names of the obligations.
pub(in crate::adapters) const OBLIGATIONS: &str = "x-callgate-obligations";
/// The header with the obligations in full, as a JSON list, set if any of them has properties.
pub(in crate::adapters) const OBLIGATION_DETAILS: &str = "x-callgate-obligation-details";

/// The header that says that the decision was not enforced: `false`. Absent where it was.
pub(in crate::adapters) const ENFORCED: &str = "x-callgate-enforced";

/// Replaces what may not stand in a quoted header value.
pub(in crate::adapters) fn quotable(text: &str) -> String {
    let is_plain = |c: char| (' '..='~').contains(&c) && c != '"' && c != '\\';
    text.chars()
        .map(|c| if is_plain(c) { c } else { '\'' })
        .collect()
}

/// The obligations of several verdicts without duplicates: name and JSON form.
fn obligations(answers: &[Response<Box<Verdict>>]) -> Vec<(String, Map<String, Json>)> {
    let mut all: Vec<(String, Map<String, Json>)> = Vec::new();
    for decision in answers.iter().map(|it| &it.value) {
        for obligation in decision.obligations() {
            let whole = obligation_json(obligation, decision);
            // The same obligation may carry another root in another verdict.
            if !all.iter().any(|(_, known)| *known == whole) {
                all.push((quotable(&obligation.id), whole));
            }
        }
    }
    all
}

/// An obligation in the JSON form of AuthZEN's profile.
pub(in crate::adapters) fn obligation_json(
    obligation: &Obligation,
    decision: &Verdict,
) -> Map<String, Json> {
    let properties = obligation.properties(decision.about());
    Map::from_iter([
        ("id".to_owned(), Json::from(&*obligation.id)),
        ("type".to_owned(), obligation.kind.into()),
        ("properties".to_owned(), properties.into()),
    ])
}

/// JSON with non-ASCII characters escaped, as header values require.
fn ascii(json: &Json) -> String {
    let mut escaped = String::new();
    for c in json.to_string().chars() {
        if c.is_ascii() && !c.is_ascii_control() {
            escaped.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}

/// What a gateway applies to an allowed request.
#[derive(Debug)]
pub(in crate::adapters) struct RequestMutation {
    /// Headers to set, replacing those of the client.
    pub(in crate::adapters) headers: Vec<(&'static str, String)>,
    /// Headers to remove.
    pub(in crate::adapters) without: Vec<&'static str>,
    /// Metadata for later filters and the access log.
    pub(in crate::adapters) metadata: Struct,
    /// The decision, for the record of the outcome.
    pub(in crate::adapters) decision: Option<PassedDecision>,
}

/// The mutation of an allowed request.
pub(in crate::adapters) fn allowed(answers: &[Response<Box<Verdict>>]) -> RequestMutation {
    let (mut headers, mut without) = (Vec::new(), Vec::new());
    let obligations = obligations(answers);
    let id = answers.first().map(|it| it.decision_id.to_string());
    let names: Vec<&str> = obligations.iter().map(|(name, _)| &**name).collect();
    let joined = (!names.is_empty()).then(|| names.join(","));
    let details = has_details(answers).then(|| {
        let each = obligations
            .iter()
            .map(|(_, whole)| Json::from(whole.clone()));
        ascii(&each.collect())
    });
    for (name, value) in [
        (DECISION_ID, id),
        (OBLIGATIONS, joined),
        (OBLIGATION_DETAILS, details),
        (ENFORCED, observed(answers).map(|_| "false".to_owned())),
    ] {
        match value {
            Some(value) => headers.push((name, value)),
            None => without.push(name),
        }
    }
    RequestMutation {
        headers,
        without,
        metadata: with_obligations(answers, &obligations),
        decision: PassedDecision::first(answers),
    }
}

/// Metadata for later filters and the access log.
pub(in crate::adapters) fn metadata(answers: &[Response<Box<Verdict>>]) -> Struct {
    with_obligations(answers, &obligations(answers))
}

/// Of requests of which any is only observed: the decision that would have been enforced on all of them.
fn observed(answers: &[Response<Box<Verdict>>]) -> Option<Decision> {
    let mut observed = answers.iter().filter_map(|it| it.observed).peekable();
    observed.peek()?;
    match observed.any(|decision| decision == Decision::Deny) {
        true => Some(Decision::Deny),
        false => Some(Decision::Allow),
    }
}

/// Whether any obligation has more than a name.
fn has_details(answers: &[Response<Box<Verdict>>]) -> bool {
    let mut obligations = answers.iter().flat_map(|it| it.value.obligations());
    obligations.any(|it| !it.is_a_name())
}

fn with_obligations(
    answers: &[Response<Box<Verdict>>],
    obligations: &[(String, Map<String, Json>)],
) -> Struct {
    let text = |text: &str| WireValue {
        kind: Some(Kind::StringValue(text.to_owned())),
    };
    let list = |values: Vec<WireValue>| WireValue {
        kind: Some(Kind::ListValue(ListValue { values })),
    };
    let is_allow = answers.iter().all(|answer| answer.value.is_allow());
    let decision = if is_allow { "allow" } else { "deny" };
    let ids = answers.iter().map(|it| text(&it.decision_id.to_string()));
    let reasons = answers.iter().flat_map(|answer| &answer.value.reasons);
    let reasons = reasons.map(|it| text(it.code.as_str()));
    let details = obligations.iter().map(|(_, whole)| WireValue {
        kind: Some(Kind::StructValue(json::to_struct(whole))),
    });
    let obligations = obligations.iter().map(|(name, _)| text(name));
    let named = |name: &str, it| (name.to_owned(), it);
    let mut fields = BTreeMap::from([
        named("decision", text(decision)),
        named("decision_ids", list(ids.collect())),
        named("reasons", list(reasons.collect())),
        named("obligations", list(obligations.collect())),
        named("obligation_details", list(details.collect())),
    ]);
    // Only there where it is not enforced, so that an access log can filter by it.
    if let Some(decision) = observed(answers) {
        let enforced = Some(Kind::BoolValue(false));
        fields.extend([
            named("enforced", WireValue { kind: enforced }),
            named("observed_decision", text(decision.as_str())),
        ]);
    }
    if let Some(answer) = answers.first() {
        // Revisions count up from 1 and stay far below 2^53.
        let revision = answer.revision.to_string().parse().unwrap_or_default();
        let kind = Some(Kind::NumberValue(revision));
        fields.extend([named("revision", WireValue { kind })]);
    }
    Struct { fields }
}

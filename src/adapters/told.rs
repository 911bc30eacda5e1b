//! What a gateway is told beside yes or no, whichever gateway it is.

use std::collections::BTreeMap;

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as WireValue};

use crate::call::decision::Decision;
use crate::service::decisions::Answer;

/// The header with the name of the decision.
pub(in crate::adapters) const DECISION_ID: &str = "x-callgate-decision-id";
/// The header with what an allow does not hold without.
pub(in crate::adapters) const OBLIGATIONS: &str = "x-callgate-obligations";

/// Text as it may stand in a header, and between quotes there.
pub(in crate::adapters) fn quotable(text: &str) -> String {
    let is_plain = |c: char| (' '..='~').contains(&c) && c != '"' && c != '\\';
    text.chars()
        .map(|c| if is_plain(c) { c } else { '\'' })
        .collect()
}

/// What an allow does not hold without, each once.
pub(in crate::adapters) fn obligations(answers: &[Answer<Decision>]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let policies = answers.iter().flat_map(|answer| &answer.value.determining);
    for obligation in policies.flat_map(|policy| policy.obligations.iter()) {
        let obligation = quotable(obligation);
        if !all.contains(&obligation) {
            all.push(obligation);
        }
    }
    all
}

/// What goes along with a request that passes.
#[derive(Debug)]
pub(in crate::adapters) struct Passes {
    /// Headers to set, over whatever a client sent under the same names.
    pub(in crate::adapters) headers: Vec<(&'static str, String)>,
    /// Headers of these names are taken away.
    pub(in crate::adapters) without: Vec<&'static str>,
    /// For whatever comes after in the gateway, and for its access log.
    pub(in crate::adapters) metadata: Struct,
}

/// These answers let a request through.
pub(in crate::adapters) fn passes(answers: &[Answer<Decision>]) -> Passes {
    let (mut headers, mut without) = (Vec::new(), Vec::new());
    let obligations = obligations(answers);
    let id = answers.first().map(|it| it.decision_id.to_string());
    let joined = (!obligations.is_empty()).then(|| obligations.join(","));
    for (name, value) in [(DECISION_ID, id), (OBLIGATIONS, joined)] {
        match value {
            Some(value) => headers.push((name, value)),
            None => without.push(name),
        }
    }
    Passes {
        headers,
        without,
        metadata: with_obligations(answers, &obligations),
    }
}

/// For whatever comes after in the gateway, and for its access log.
pub(in crate::adapters) fn metadata(answers: &[Answer<Decision>]) -> Struct {
    with_obligations(answers, &obligations(answers))
}

fn with_obligations(answers: &[Answer<Decision>], obligations: &[String]) -> Struct {
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
    let obligations = obligations.iter().map(|it| text(it));
    let mut fields = BTreeMap::from([
        ("decision", text(decision)),
        ("decision_ids", list(ids.collect())),
        ("reasons", list(reasons.collect())),
        ("obligations", list(obligations.collect())),
    ]);
    if let Some(answer) = answers.first() {
        // Revisions count up from 1: a double holds them for longer than anything runs.
        let revision = answer.revision.to_string().parse().unwrap_or_default();
        let kind = Some(Kind::NumberValue(revision));
        fields.insert("revision", WireValue { kind });
    }
    let fields = fields.into_iter();
    Struct {
        fields: fields.map(|(name, it)| (name.to_owned(), it)).collect(),
    }
}

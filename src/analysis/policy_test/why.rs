//! Why a case was decided as it was: the policies that decided, and those that were wanted, with the conditions that
//! each of them hung on.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::analysis::clauses::{
    ClauseTree, ConditionOutcome, PolicyOutcome, Truth, evaluate_scope,
};
use crate::analysis::policy_test::World;
use crate::analysis::policy_test::prepare::PreparedCase;
use crate::analysis::policy_test::run::{self, CaseOutcome};
use crate::bundle::Bundle;
use crate::domain::decide::observer::{EvaluationObserver, ObservedEvaluation};

/// The most lines about one case.
const MAX_LINES: usize = 60;
/// The longest value that is shown, in characters.
const MAX_VALUE_CHARS: usize = 120;

/// Runs the case again and says what decided.
pub(super) fn explain(
    case: &PreparedCase,
    world: &World,
    bundle: &Bundle,
    outcome: &CaseOutcome,
) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for reason in &outcome.verdict.reasons {
        let detail = reason.detail.as_deref();
        let detail = detail.map(|it| format!(" ({it})")).unwrap_or_default();
        lines.push(format!(
            "{}: {}{detail}",
            reason.code.as_str(),
            reason.message
        ));
    }
    let wanted = case.wanted.policies.iter().flatten().cloned();
    let decided = outcome.verdict.determining_policies.iter();
    let decided = decided.map(|policy| policy.id.to_string());
    let failed = outcome.verdict.principals.iter();
    let failed = failed
        .flat_map(|it| &it.errors)
        .map(|(it, _)| it.id.to_string());
    let observer = Explainer {
        bundle,
        policies: wanted.chain(decided).chain(failed).collect(),
        lines: RefCell::new(Vec::new()),
    };
    run::run(case, world, &bundle.config, Some(&observer));
    for line in observer.lines.into_inner() {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    if lines.len() > MAX_LINES {
        let more = lines.len() - MAX_LINES;
        lines.truncate(MAX_LINES);
        lines.push(format!("… and {more} more lines"));
    }
    lines
}

#[derive(Debug)]
struct Explainer<'b> {
    bundle: &'b Bundle,
    policies: BTreeSet<String>,
    lines: RefCell<Vec<String>>,
}

impl EvaluationObserver for Explainer<'_> {
    fn evaluated(&self, seen: ObservedEvaluation<'_>) {
        let Some(request) = seen.snapshot.materialize(seen.query, seen.principal) else {
            return;
        };
        let evaluator = request.evaluator();
        let mut lines = self.lines.borrow_mut();
        for candidate in seen.snapshot.policies() {
            let id = &candidate.info.id;
            if !self.policies.contains(id.as_str()) {
                continue;
            }
            let scope = evaluate_scope(candidate.policy, &evaluator);
            let place = self.place(id);
            if !scope.matches() {
                let parts = [
                    ("principal", scope.principal),
                    ("action", scope.action),
                    ("resource", scope.resource),
                ];
                let parts: Vec<&str> = parts
                    .into_iter()
                    .filter_map(|(part, matches)| (!matches).then_some(part))
                    .collect();
                let parts = parts.join(" and ");
                let (who, action) = (seen.principal, seen.query.action);
                lines.push(format!(
                    "{id} ({place}) is not about this: its {parts} does not match {who}, {action}"
                ));
                continue;
            }
            let tree = ClauseTree::from_policy(candidate.policy.template());
            let outcome = tree.evaluate(&evaluator, candidate.policy.env());
            let what = match &outcome.truth {
                Truth::True => "applies to",
                Truth::False => "does not apply to",
                Truth::Error(_) => "fails for",
            };
            lines.push(format!("{id} ({place}) {what} {}", seen.principal));
            lines.extend(conditions(&tree, &outcome));
        }
    }
}

impl Explainer<'_> {
    fn place(&self, id: &str) -> String {
        let entry = self.bundle.policies.iter().find(|policy| policy.id == id);
        match entry {
            Some(entry) => format!("{}:{}", entry.file, entry.line),
            None => "from a template".to_owned(),
        }
    }
}

/// The conditions that the outcome hangs on; without any such, all that were reached.
fn conditions(tree: &ClauseTree, outcome: &PolicyOutcome) -> Vec<String> {
    let is_error = |it: &ConditionOutcome| it.is_reached && matches!(it.truth, Truth::Error(_));
    let deciding: Vec<&ConditionOutcome> = outcome
        .conditions
        .iter()
        .filter(|it| it.is_decisive || is_error(it))
        .collect();
    let shown = match deciding.is_empty() {
        true => outcome
            .conditions
            .iter()
            .filter(|it| it.is_reached)
            .collect(),
        false => deciding,
    };
    shown.into_iter().map(|it| condition(tree, it)).collect()
}

fn condition(tree: &ClauseTree, outcome: &ConditionOutcome) -> String {
    let node = tree.node(outcome.node);
    let (line, text) = match &node.place {
        Some(place) => (place.line.to_string(), place.text.clone()),
        None => ("-".to_owned(), node.expr.to_string()),
    };
    let truth = match &outcome.truth {
        Truth::True => "true".to_owned(),
        Truth::False => "false".to_owned(),
        Truth::Error(error) => format!("error: {error}"),
    };
    let values = outcome.values.iter().map(|seen| match &seen.value {
        Ok(value) => format!("{} = {}", seen.expression, shortened(&value.to_string())),
        Err(_) => format!("{} is absent", seen.expression),
    });
    let values: Vec<String> = values.collect();
    let values = match values.is_empty() {
        true => String::new(),
        false => format!("   [{}]", values.join("; ")),
    };
    format!("    line {line}: `{}` is {truth}{values}", shortened(&text))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_VALUE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

//! An explanation as text.

use std::fmt;

use prost_types::value::Kind;
use serde_json::Value as Json;

use crate::bundle::diagnostic::Excerpt;
use crate::cli::commands::authorize::outcome;
use crate::cli::render::{self, count, printable, printables};
use crate::proto::v1;

/// The explanation as text.
pub(super) struct ExplainText<'a> {
    pub(super) response: &'a v1::AuthorizeResponse,
    pub(super) explanation: &'a v1::Explanation,
    pub(super) is_all: bool,
}

impl fmt::Display for ExplainText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.response.observed {
            true => writeln!(
                f,
                "{}, NOT ENFORCED: it is only observed",
                outcome(self.decision())
            )?,
            false => writeln!(f, "{}", outcome(self.decision()))?,
        }
        for reason in &self.response.reasons {
            f.write_str(&render::reason(reason))?;
        }
        self.chain(f)?;
        self.facts(f)?;
        for request in &self.explanation.requests {
            self.request(f, request)?;
        }
        self.proposals(f)?;
        let for_agent = printable(&self.explanation.for_agent);
        writeln!(f, "\nWhat the agent may hear\n  {for_agent}")
    }
}

impl ExplainText<'_> {
    /// The decision, whether it is enforced or not.
    fn decision(&self) -> v1::Decision {
        match self.response.observed {
            true => self.response.observed_decision(),
            false => self.response.decision(),
        }
    }

    fn chain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nWho acts for whom")?;
        for link in &self.explanation.chain {
            let entity = link.entity.as_ref().map(render::entity).unwrap_or_default();
            write!(f, "  {:8} {entity}", link.role)?;
            if !link.delegation_id.is_empty() {
                write!(f, ", by delegation {}", printable(&link.delegation_id))?;
            }
            if !link.status.is_empty() {
                write!(f, ", {}", printable(&link.status))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn facts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(facts) = &self.explanation.facts else {
            return writeln!(f, "\nNo policy was asked: evidence denies the call.");
        };
        writeln!(f, "\nWhat policies may read")?;
        let facts: std::collections::BTreeMap<_, _> = facts.fields.iter().collect();
        for (name, value) in facts {
            writeln!(
                f,
                "  {} = {}",
                printable(name),
                printable(&fact(value).to_string())
            )?;
        }
        Ok(())
    }

    fn request(&self, f: &mut fmt::Formatter<'_>, request: &v1::RequestExplanation) -> fmt::Result {
        let entity =
            |of: &Option<v1::EntityRef>| of.as_ref().map(render::entity).unwrap_or_default();
        write!(
            f,
            "\n{}: {} {} {}",
            outcome(request.decision()),
            entity(&request.principal),
            entity(&request.action),
            entity(&request.resource)
        )?;
        match request.target.as_str() {
            "" => writeln!(f)?,
            target => writeln!(f, ", acting upon {}", printable(target))?,
        }
        let is_idle = |it: &&v1::PolicyExplanation| {
            it.effect == "forbid" && it.state() == v1::PolicyState::Unsatisfied
        };
        for it in &request.policies {
            if self.is_all || !is_idle(&it) {
                policy(f, it)?;
            }
        }
        let idle = request.policies.iter().filter(is_idle).count();
        if idle > 0 && !self.is_all {
            let forbids = count(idle, "forbid");
            writeln!(
                f,
                "  {forbids} could apply and did not (`--all` shows them)"
            )?;
        }
        if request.policies_left_out > 0 {
            writeln!(f, "  and {} more policies", request.policies_left_out)?;
        }
        Ok(())
    }

    fn proposals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { explanation, .. } = self;
        if self.decision() == v1::Decision::Allow {
            return Ok(());
        }
        let most = match (
            explanation.proposals_exhaustive,
            explanation.proposals_out_of_time,
        ) {
            (true, _) => "",
            (false, true) => " (cut short: the time was up, and there may be others)",
            (false, false) => " (there may be others)",
        };
        if explanation.proposals.is_empty() {
            return writeln!(f, "\nNo change that was tried would allow it{most}.");
        }
        writeln!(f, "\nWhat would allow it; each was tried{most}")?;
        for (number, proposal) in explanation.proposals.iter().enumerate() {
            let texts: Vec<String> = proposal
                .changes
                .iter()
                .map(|it| printable(&it.text))
                .collect();
            writeln!(f, "  {}. {}", number + 1, texts.join(",\n     and "))?;
        }
        Ok(())
    }
}

/// A value of the facts as JSON. Counts are whole numbers, which the wire has as floating ones.
fn fact(value: &prost_types::Value) -> Json {
    match &value.kind {
        Some(Kind::BoolValue(bool)) => Json::from(*bool),
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() < 9e15 => {
            Json::from(*number as i64)
        }
        Some(Kind::NumberValue(number)) => Json::from(*number),
        Some(Kind::StringValue(text)) => Json::from(text.as_str()),
        Some(Kind::ListValue(list)) => list.values.iter().map(fact).collect(),
        Some(Kind::StructValue(fields)) => {
            let fields = fields
                .fields
                .iter()
                .map(|(name, it)| (name.clone(), fact(it)));
            Json::Object(fields.collect())
        }
        Some(Kind::NullValue(_)) | None => Json::Null,
    }
}

fn policy(f: &mut fmt::Formatter<'_>, it: &v1::PolicyExplanation) -> fmt::Result {
    let state = match it.state() {
        v1::PolicyState::Satisfied => "applies".to_owned(),
        v1::PolicyState::Unsatisfied => "does not apply".to_owned(),
        v1::PolicyState::Failed => "cannot be evaluated".to_owned(),
        v1::PolicyState::OutOfScope => {
            format!("is not about this {}", printables(&it.scope_misses))
        }
        v1::PolicyState::Unspecified => "unknown".to_owned(),
    };
    let shadow = if it.shadow { ", in shadow mode" } else { "" };
    writeln!(f, "  {} {} {state}{shadow}", it.effect, printable(&it.id))?;
    let Some(condition) = &it.condition else {
        return Ok(());
    };
    let verdict = match condition.truth.as_str() {
        "error" => printable(&condition.error),
        truth => format!("is {truth}"),
    };
    if condition.line > 0 {
        let start = condition.column.saturating_sub(1) as usize;
        let excerpt = Excerpt::new(&condition.source, start, condition.length as usize);
        writeln!(f, "    {:>4} | {}", condition.line, excerpt.text)?;
        writeln!(f, "         | {} {verdict}", excerpt.carets())?;
    } else {
        writeln!(f, "         {} {verdict}", printable(&condition.text))?;
    }
    for seen in &condition.values {
        let value = match seen.error.as_str() {
            "" => printable(&seen.value),
            error => format!("({})", printable(error)),
        };
        writeln!(f, "         | {} = {value}", printable(&seen.expression))?;
    }
    Ok(())
}

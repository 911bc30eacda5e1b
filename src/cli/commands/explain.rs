//! `callgate explain`: why a call is decided as it is, and what would allow it.

use std::fmt;

use anyhow::bail;
use prost_types::value::Kind;
use serde_json::Value as Json;

use crate::cli::call_args::CallArgs;
use crate::cli::commands::authorize::{self, DecisionPointArgs, outcome};
use crate::cli::output::{Exit, Output};
use crate::cli::render::{self, count, printable, printables};
use crate::proto::{json, v1};

/// Explains the decision on one call, and what would allow it
///
/// Shows the parties of the call link by link, the facts that policies read, every policy that could apply with the
/// condition that decided and the values it saw, and for a deny the smallest changes that would allow the call. Each of
/// them was tried: the changed call is allowed, and denied with any part left out. The call is decided as a dry run. It
/// comes from flags or a file, as for `callgate authorize`; a server explains only to callers with the right `explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    call: CallArgs,
    #[command(flatten)]
    place: DecisionPointArgs,
    /// Only what the agent may hear: no policies, groups, entities or other people
    #[arg(long, help_heading = "The answer")]
    for_agent: bool,
    /// Also the forbids that do not apply
    #[arg(long, help_heading = "The answer")]
    all: bool,
    /// How to answer
    #[arg(long, value_enum, default_value_t, help_heading = "The answer")]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  Why may the support agent, working for Sam, not merge, and what would allow it?
    callgate explain --agent support --user sam --server github --tool merge_pull_request \\
        --arg owner=acme --arg repo=shop --arg pull_number=7

  The same as a running server would decide it, with its delegations, tasks and sessions:
    callgate explain --endpoint http://127.0.0.1:50051 --agent support --user sam \\
        --server github --tool get_issue --arg owner=acme --arg repo=shop --arg issue_number=7

  What to tell the agent:
    callgate explain --file call.json --for-agent

Exit codes: 0 allowed, 1 error, 2 denied, 3 the directory has faults.";

/// Has the call decided and prints the explanation.
///
/// # Errors
///
/// If the call is invalid, the server does not answer, or it does not explain.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let request = v1::AuthorizeRequest {
        call_context: Some(Box::new(args.call.context()?)),
        explain: true,
        dry_run: true,
        ..v1::AuthorizeRequest::default()
    };
    let response = match authorize::ask(&args.call, &args.place, request, args.output)? {
        Ok(answered) => answered.response,
        Err(exit) => return Ok(exit),
    };
    let Some(explanation) = &response.explanation else {
        bail!("the server does not explain to this caller: it needs the right `explain`");
    };
    if explanation.for_agent.is_empty() {
        bail!("the state changed while the call was explained: try again");
    }
    match args.for_agent {
        true => {
            let text = format!("{}\n", printable(&explanation.for_agent));
            let json = serde_json::json!({ "forAgent": explanation.for_agent });
            args.output.answer(&text, &json)?;
        }
        false => {
            let text = ExplainText {
                response: &response,
                explanation,
                is_all: args.all,
            };
            let json = json::write("AuthorizeResponse", &response)?;
            args.output.answer(&text, &json)?;
        }
    }
    Ok(authorize::exit(&response))
}

/// The explanation as text.
struct ExplainText<'a> {
    response: &'a v1::AuthorizeResponse,
    explanation: &'a v1::Explanation,
    is_all: bool,
}

impl fmt::Display for ExplainText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", outcome(self.response.decision()))?;
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
        if self.response.decision() == v1::Decision::Allow {
            return Ok(());
        }
        let most = match explanation.proposals_exhaustive {
            true => "",
            false => " (there may be others)",
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
        let (line, column) = (condition.line, condition.column.saturating_sub(1) as usize);
        // Carets stand below the source only if both are escaped the same way.
        let beginning: String = condition.source.chars().take(column).collect();
        let marked: String = condition
            .source
            .chars()
            .skip(column)
            .take(condition.length as usize)
            .collect();
        let before = printable(&beginning).chars().count();
        let carets = printable(&marked).chars().count().max(1);
        writeln!(f, "    {line:>4} | {}", printable(&condition.source))?;
        writeln!(
            f,
            "         | {:before$}{} {verdict}",
            "",
            "^".repeat(carets)
        )?;
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

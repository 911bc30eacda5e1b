//! Explains a decision of the decision log.

use std::fmt;

use anyhow::{Context, bail};
use serde::Serialize;
use uuid::Uuid;

use crate::adapters::callgate_v1::explanation;
use crate::analysis::explain::limits::ExplainLimits;
use crate::analysis::replay::RecordedDecision;
use crate::analysis::replay::candidate::Candidate;
use crate::analysis::replay::explained::{RecordedExplanation, explain};
use crate::bundle;
use crate::cli::commands::authorize;
use crate::cli::commands::explain::Args;
use crate::cli::commands::explain::text::ExplainText;
use crate::cli::log_place::LogPlace;
use crate::cli::output::Exit;
use crate::cli::render::printable;
use crate::proto::json;

/// Finds the decision, makes it again and prints why.
///
/// # Errors
///
/// If the log does not have it, or what it was made from.
pub(super) fn run(args: &Args, id: Uuid) -> anyhow::Result<Exit> {
    let directory = args.place.directory();
    let bundle = match bundle::load(directory) {
        Ok(bundle) => bundle,
        Err(faults) => return args.output.faults(&faults),
    };
    let place = LogPlace {
        directory,
        config: None,
        log: args.log.as_deref(),
        key: args.key.as_deref(),
    };
    let source = place.source(&bundle.config)?;
    let found = source.decision(id).map_err(anyhow::Error::msg)?;
    let record = found.with_context(|| format!("the decision log has no decision {id}"))?;
    let explained = explain(
        &Candidate::from_bundle(&bundle),
        &record,
        ExplainLimits::default(),
    );
    let explained = explained.with_context(|| format!("decision {id} cannot be explained"))?;
    let recorded = Recorded::new(&record, &explained, directory.display().to_string());
    let policies = u32::try_from(bundle.snapshot.policy_count()).unwrap_or(u32::MAX);
    let response = explanation::response(explained.explanation, id, policies);
    let Some(explanation) = &response.explanation else {
        bail!("decision {id} cannot be explained");
    };
    let for_agent = format!("{}\n", printable(&explanation.for_agent));
    let page = ExplainText {
        response: &response,
        explanation,
        is_all: args.all,
    };
    let shown = match args.for_agent {
        true => args.output.answer(
            &for_agent,
            &serde_json::json!({ "recorded": recorded, "forAgent": explanation.for_agent }),
        ),
        false => {
            let response = json::write("AuthorizeResponse", &response)?;
            let json = serde_json::json!({ "recorded": recorded, "response": response });
            args.output.answer(&format!("{recorded}{page}"), &json)
        }
    };
    shown?;
    Ok(authorize::exit(&response))
}

/// What the record says, and how the directory compares with it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recorded {
    decision_id: String,
    /// RFC 3339, UTC.
    at: String,
    decision: &'static str,
    /// Whether the deny was enforced; observe mode lets calls through.
    enforced: bool,
    reasons: Vec<String>,
    determining_policies: Vec<String>,
    policy_set_digest: String,
    directory: String,
    same_bundle: bool,
    same_decision: bool,
}

impl Recorded {
    fn new(record: &RecordedDecision, explained: &RecordedExplanation, directory: String) -> Self {
        let texts = |each: &[smol_str::SmolStr]| each.iter().map(ToString::to_string).collect();
        Self {
            decision_id: record.decision_id.clone(),
            at: humantime::format_rfc3339_millis(record.at).to_string(),
            decision: if record.is_allow { "allow" } else { "deny" },
            enforced: record.is_enforced,
            reasons: texts(&record.codes),
            determining_policies: texts(&record.policies),
            policy_set_digest: explained.policy_set_digest.to_string(),
            directory,
            same_bundle: explained.is_same_bundle,
            same_decision: explained.is_same_decision,
        }
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |each: &[String]| {
            let each: Vec<String> = each.iter().map(|it| printable(it)).collect();
            each.join(", ")
        };
        writeln!(f, "Recorded")?;
        write!(f, "  {} at {}", self.decision, self.at)?;
        if !self.enforced {
            write!(f, ", NOT ENFORCED: it was only observed")?;
        }
        writeln!(f)?;
        if !self.reasons.is_empty() {
            writeln!(f, "  reasons   {}", listed(&self.reasons))?;
        }
        if !self.determining_policies.is_empty() {
            writeln!(f, "  policies  {}", listed(&self.determining_policies))?;
        }
        let directory = printable(&self.directory);
        match self.same_bundle {
            true => writeln!(f, "  decided with what is in {directory}")?,
            false => writeln!(
                f,
                "  decided with another bundle than {directory}: {}",
                printable(&self.policy_set_digest)
            )?,
        }
        let other = if self.same_decision {
            "the same"
        } else {
            "ANOTHER DECISION OR REASON"
        };
        writeln!(f, "\nMade again with {directory}: {other}")
    }
}

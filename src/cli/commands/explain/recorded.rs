//! Explains a decision of the decision log, or has the server explain it that decided.

use std::fmt;
use std::time::SystemTime;

use anyhow::{Context, bail};
use prost_types::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::adapters::callgate_v1::explanation;
use crate::analysis::explain::limits::ExplainLimits;
use crate::analysis::replay::candidate::Candidate;
use crate::analysis::replay::explained::explain;
use crate::audit::find::SearchScope;
use crate::bundle;
use crate::cli::commands::authorize;
use crate::cli::commands::explain::Args;
use crate::cli::commands::explain::text::ExplainText;
use crate::cli::connect::{self, RpcError, ServerConnection};
use crate::cli::log_place::LogPlace;
use crate::cli::output::{Exit, note_observed};
use crate::cli::render::{self, printable};
use crate::proto::{json, v1};

/// Finds the decision, makes it again and prints why.
///
/// # Errors
///
/// If the log does not have it, or what it was made from, or the server does not say.
pub(super) fn run(args: &Args, id: Uuid) -> anyhow::Result<Exit> {
    let is_here = args.log.is_some() || args.key.is_some();
    match args.place.server()?.filter(|_| !is_here) {
        Some(endpoint) => by_server(args, id, &endpoint),
        None => from_log(args, id),
    }
}

/// Has a server explain it.
fn by_server(args: &Args, id: Uuid, endpoint: &str) -> anyhow::Result<Exit> {
    let asked = v1::ExplainDecisionRequest {
        decision_id: id.to_string(),
    };
    let explained = connect::block_on(async {
        let server = ServerConnection::connect(endpoint, &args.place.credentials).await?;
        let request = server.request(asked);
        let explained = server.control().explain_decision(request).await;
        Ok(explained.map_err(RpcError::question)?.into_inner())
    })?;
    answer(args, explained, None)
}

/// The time of a record, RFC 3339 with milliseconds.
fn moment(at: &Timestamp) -> String {
    match SystemTime::try_from(*at) {
        Ok(time) if time >= SystemTime::UNIX_EPOCH => {
            humantime::format_rfc3339_millis(time).to_string()
        }
        _ => render::moment(at),
    }
}

/// Explains it from a log, with the policies of a directory.
fn from_log(args: &Args, id: Uuid) -> anyhow::Result<Exit> {
    args.place.no_server_is_named()?;
    let directory = args.place.directory();
    let bundle = match bundle::load_with(directory, args.place.config.as_deref()) {
        Ok(bundle) => bundle,
        Err(faults) => return args.output.faults(&faults),
    };
    let place = LogPlace {
        directory,
        config: args.place.config.as_deref(),
        log: args.log.as_deref(),
        key: args.key.as_deref(),
    };
    let source = place.source(&bundle.config)?;
    let found = source.decision(id, SearchScope::WholeLog);
    let found = found.map_err(anyhow::Error::msg)?;
    let record = found.with_context(|| source.why_not_found(id))?;
    note_observed(&bundle.config.observe);
    let candidate = Candidate::from_bundle(&bundle);
    let explained = explain(&candidate, &record, ExplainLimits::default());
    let explained = explained.with_context(|| format!("decision {id} cannot be explained"))?;
    let policies = bundle.snapshot.policy_count();
    let explained = explanation::of_record(&record, id, explained, policies);
    answer(args, explained, Some(directory.display().to_string()))
}

/// Prints an explanation with the policies of a directory, or with those in service.
fn answer(
    args: &Args,
    explained: v1::ExplainDecisionResponse,
    directory: Option<String>,
) -> anyhow::Result<Exit> {
    let (Some(recorded), Some(response)) = (explained.recorded, explained.response) else {
        bail!("the server did not explain the decision");
    };
    let recorded = Recorded::new(recorded, directory);
    let Some(explanation) = &response.explanation else {
        bail!("decision {} cannot be explained", recorded.decision_id);
    };
    let for_agent = format!("{}\n", printable(&explanation.for_agent));
    let page = ExplainText {
        response: &response,
        explanation,
        is_all: args.all,
    };
    match args.for_agent {
        true => args.output.answer(
            &for_agent,
            &serde_json::json!({ "recorded": recorded, "forAgent": explanation.for_agent }),
        )?,
        false => {
            let response = json::write("AuthorizeResponse", &response)?;
            let json = serde_json::json!({ "recorded": recorded, "response": response });
            args.output.answer(&format!("{recorded}{page}"), &json)?;
        }
    }
    Ok(authorize::exit(&response))
}

/// What the record says, and how the policies that explain it compare with it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recorded {
    decision_id: String,
    /// RFC 3339, UTC.
    at: String,
    /// As in the response.
    decision: &'static str,
    #[serde(skip)]
    is_allow: bool,
    /// Whether the deny was enforced; observe mode lets calls through.
    enforced: bool,
    reasons: Vec<String>,
    determining_policies: Vec<String>,
    policy_set_digest: String,
    /// The directory with the policies; absent for those that are in service.
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<String>,
    same_bundle: bool,
    same_decision: bool,
}

impl Recorded {
    fn new(recorded: v1::RecordedDecision, directory: Option<String>) -> Self {
        Self {
            at: recorded.at.as_ref().map(moment).unwrap_or_default(),
            decision: recorded.decision().as_str_name(),
            is_allow: recorded.decision() == v1::Decision::Allow,
            decision_id: recorded.decision_id,
            enforced: !recorded.observed,
            reasons: recorded.reasons,
            determining_policies: recorded.determining_policies,
            policy_set_digest: recorded.policy_set_digest,
            directory,
            same_bundle: recorded.same_bundle,
            same_decision: recorded.same_decision,
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
        let decision = if self.is_allow { "allow" } else { "deny" };
        write!(f, "  {decision} at {}", self.at)?;
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
        let directory = self.directory.as_deref().map(printable);
        let directory = directory.as_deref().unwrap_or("the bundle in service");
        match (self.same_bundle, &self.directory) {
            (true, Some(_)) => writeln!(f, "  decided with what is in {directory}")?,
            (true, None) => writeln!(f, "  decided with {directory}")?,
            (false, _) => writeln!(
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

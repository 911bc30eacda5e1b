//! One decision as a story: who asked for what on whose behalf, what each of them was told and why, what it used up, and
//! what became of it.

use crate::audit::find::FoundRecord;
use crate::audit::json;
use crate::audit::record::schema::{
    ActorChain, Decision, Policy, PrincipalVerdict, SideEffects, record,
};
use crate::audit::tree::hash::TreeHash;
use crate::cli::commands::audit::line::{self, Paint};
use crate::cli::render::{Details, printable, printables};
use crate::cli::value_parser::short_name;

/// A decision with the records that belong to it.
pub struct Story<'a> {
    /// The record.
    pub record: &'a FoundRecord,
    /// The record of the decision that it follows from.
    pub parent: Option<&'a FoundRecord>,
    /// The writes that requested, gave and took away the approvals that it names, before it.
    pub approvals: &'a [FoundRecord],
    /// Outcomes of the call, and decisions that follow from this one.
    pub later: &'a [FoundRecord],
    /// The size of the tree in the last checkpoint, if there is one.
    pub signed: Option<u64>,
}

impl Story<'_> {
    /// The text.
    pub fn text(&self) -> String {
        match &self.record.message.kind {
            Some(record::Kind::Decision(decision)) => self.decision(decision).to_string(),
            // The other kinds are told in a line.
            _ => self.proof(Details::new(told(self.record))).to_string(),
        }
    }

    fn decision(&self, it: &Decision) -> Details {
        let verdict = json::verdict(it.verdict()).to_ascii_uppercase();
        let dry_run = match (it.is_dry_run, it.is_observed) {
            (true, _) => ", a dry run",
            (false, true) => ", observed: it was allowed",
            (false, false) => "",
        };
        let took =
            humantime::format_duration(std::time::Duration::from_micros(it.took_nanos / 1_000));
        let mut story = Details::new(format!("{verdict} {}{dry_run}", line::operation(it)))
            .fact("decision", json::uuid(&it.id))
            .fact(
                "at",
                format!("{}, in {took}", json::time(self.record.message.at)),
            )
            .fact("asked by", by(it))
            .fact("chain", chain(it))
            .fact(
                "granted",
                it.chain.as_ref().map(granted).unwrap_or_default(),
            )
            .fact("session", printable(&it.session_id))
            .fact("task", task(it))
            .fact("approvals", printables(&it.approval_ids));
        for approval in self.approvals {
            story = story.fact("approval", told(approval));
        }
        if let Some(parent) = self.parent {
            story = story.fact("follows", told(parent));
        } else if !it.parent_decision_id.is_empty() {
            let parent = json::uuid(&it.parent_decision_id);
            story = story.fact("follows", format!("{parent}, which is not in the log"));
        }
        for target in &it.targets {
            let parts = [&target.kind, &target.role, &target.name_hmac];
            story = story.fact("target", printables(&parts));
        }
        for reason in &it.reasons {
            story = story.fact("because", because(reason));
        }
        for principal in &it.principals {
            story = story.fact("verdict", principal_verdict(principal));
        }
        for policy in &it.determining_policies {
            story = story.fact("policy", policy_text(policy));
        }
        for policy in &it.shadow_policies {
            story = story.fact("in shadow", policy_text(policy));
        }
        story = story
            .fact("kept", list_counts(it))
            .fact("must do", printables(&it.obligations))
            .fact("challenge", printable(&it.challenge));
        for used in it.side_effects.iter().flat_map(side_effects) {
            story = story.fact("used", used);
        }
        story = self.later(story, it);
        story = story
            .fact(
                "trace",
                crate::domain::request::canonical::hex(&it.trace_id),
            )
            .fact(
                "decided",
                format!(
                    "at revision {}, by policies sha256:{}",
                    it.revision,
                    crate::domain::request::canonical::hex(&it.policy_set_digest)
                ),
            );
        self.proof(story)
    }

    /// What came of it.
    fn later(&self, mut story: Details, it: &Decision) -> Details {
        let mut has_outcome = false;
        for later in self.later {
            match &later.message.kind {
                Some(record::Kind::Outcome(outcome)) => {
                    has_outcome = true;
                    let after = later.message.at.saturating_sub(self.record.message.at);
                    let after = std::time::Duration::from_millis(after / 1_000_000);
                    let after = humantime::format_duration(after);
                    let parts = [
                        line::outcome_text(outcome),
                        format!("after {after}"),
                        line::told_by(outcome),
                        line::doubts_text(later),
                    ];
                    let parts = parts.into_iter().filter(|part| !part.is_empty());
                    story = story.fact("outcome", parts.collect::<Vec<_>>().join(", "));
                }
                _ => story = story.fact("led to", told(later)),
            }
        }
        let is_allow = json::verdict(it.verdict()) == "allow";
        match is_allow && !has_outcome && !it.is_dry_run {
            true => story.fact("outcome", "nobody reported one"),
            false => story,
        }
    }

    /// Where the record is in the tree.
    fn proof(&self, story: Details) -> Details {
        let index = self.record.stored.index;
        let leaf = TreeHash::leaf(&self.record.stored.bytes).to_hex();
        let covered = match self.signed {
            Some(size) if index < size => format!(", in the checkpoint over {size}"),
            Some(_) => ", not yet in a checkpoint".to_owned(),
            None => String::new(),
        };
        story.fact("record", format!("{index}{covered}, leaf {leaf}"))
    }
}

/// Another record, in a line without its end.
fn told(record: &FoundRecord) -> String {
    Paint::plain().line(&record.message).trim_end().to_owned()
}

fn by(it: &Decision) -> String {
    let request = match it.request_id.as_str() {
        "" => String::new(),
        id => format!(", request {}", printable(id)),
    };
    let initiator = match it.initiator.as_str() {
        "" => String::new(),
        initiator => format!(", the {} began it", printable(initiator)),
    };
    format!(
        "{} through {}{request}{initiator}",
        printable(&it.caller),
        it.adapter
    )
}

/// `user:sam → agent:planner → agent:support`.
fn chain(it: &Decision) -> String {
    let mut parties = Vec::new();
    if let Some(chain) = &it.chain {
        parties.push(&chain.root);
        parties.extend(&chain.actors);
    }
    parties.push(&it.subject);
    let parties: Vec<_> = parties
        .into_iter()
        .filter(|party| !party.is_empty())
        .map(|party| printable(&short_name(party)))
        .collect();
    parties.join(" → ")
}

fn granted(chain: &ActorChain) -> String {
    let mut parts = Vec::new();
    if !chain.delegation_ids.is_empty() {
        parts.push(format!("delegations {}", printables(&chain.delegation_ids)));
    }
    if !chain.scopes.is_empty() {
        parts.push(format!("scopes {}", printables(&chain.scopes)));
    }
    if chain.is_verified {
        parts.push("verified by the caller".to_owned());
    }
    parts.join("; ")
}

fn task(it: &Decision) -> String {
    match it.step.as_str() {
        "" => printable(&it.task_id),
        step => format!("{}, step {}", printable(&it.task_id), printable(step)),
    }
}

fn because(reason: &crate::audit::record::schema::Reason) -> String {
    let mut text = printable(&reason.code);
    if !reason.principal.is_empty() {
        text.push_str(&format!(
            ", for {}",
            printable(&short_name(&reason.principal))
        ));
    }
    if !reason.missing.is_empty() {
        text.push_str(&format!(", missing {}", printables(&reason.missing)));
    }
    if !reason.policies.is_empty() {
        text.push_str(&format!(", by {}", printables(&reason.policies)));
    }
    text
}

fn principal_verdict(it: &PrincipalVerdict) -> String {
    let lists = [
        ("permitted by", &it.permits),
        ("forbidden by", &it.forbids),
        ("failed", &it.errors),
    ];
    let lists = lists.iter().filter(|(_, ids)| !ids.is_empty());
    let mut parts: Vec<_> = lists
        .map(|(word, ids)| format!("{word} {}", printables(ids)))
        .collect();
    if parts.is_empty() {
        parts.push("no policy permits it".to_owned());
    }
    format!(
        "{} {}: {} on {} — {} ({} policies evaluated)",
        json::verdict(it.verdict()),
        printable(&short_name(&it.principal)),
        printable(&it.action),
        printable(&short_name(&it.resource)),
        parts.join("; "),
        it.policies_evaluated
    )
}

fn policy_text(it: &Policy) -> String {
    let owner = match it.owner.as_str() {
        "" => String::new(),
        owner => format!(", owned by {}", printable(owner)),
    };
    let controls = match it.controls.as_slice() {
        [] => String::new(),
        controls => format!(", controls {}", printables(controls)),
    };
    format!("{}{owner}{controls}", printable(&it.id))
}

fn list_counts(it: &Decision) -> String {
    match (it.kept, it.hidden) {
        (0, 0) => String::new(),
        (kept, hidden) => format!("{kept} entries, {hidden} hidden"),
    }
}

fn side_effects(it: &SideEffects) -> Vec<String> {
    let mut used = Vec::new();
    let mut ids = |what: &str, id: &str| {
        if !id.is_empty() {
            used.push(format!("{what} {}", printable(id)));
        }
    };
    ids("a use of the approval", &it.approval_id);
    ids("a call of the task", &it.budget_task_id);
    ids(
        "a call of the tool in the task, counter",
        &it.tool_budget_id,
    );
    if !it.added_labels.is_empty() {
        used.push(format!(
            "labels for the session: {}",
            printables(&it.added_labels)
        ));
    }
    if !it.target_labels.is_empty() {
        used.push(format!(
            "labels for its targets: {}",
            printables(&it.target_labels)
        ));
    }
    used
}

#[cfg(test)]
#[path = "story_tests.rs"]
mod tests;

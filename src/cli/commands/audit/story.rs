//! One decision as a story: who asked for what on whose behalf, what each of them was told and why, what it used up, and
//! what became of it.

use crate::audit::find::FoundRecord;
use crate::audit::json;
use crate::audit::record::schema::{
    ActorChain, Decision, Policy, PrincipalVerdict, Reason, SideEffects, Stop, record,
};
use crate::audit::tree::hash::TreeHash;
use crate::audit::verify::coverage::Coverage;
use crate::cli::commands::audit::line::{self, Paint};
use crate::cli::commands::audit::names::{entity, name, names};
use crate::cli::render::{Details, count};
use crate::domain::request::canonical::hex;

/// A decision with the records that belong to it.
pub struct Story<'a> {
    /// The record.
    pub record: &'a FoundRecord,
    /// The record of the decision that it follows from.
    pub parent: Option<&'a FoundRecord>,
    /// The writes that requested, gave and took away the approvals that it names, before it.
    pub approvals: &'a [FoundRecord],
    /// The writes that granted, narrowed and revoked the delegations that it names, before it.
    pub delegations: &'a [FoundRecord],
    /// The write that made the stop for which it was denied, if it is in this log.
    pub stop: Option<&'a FoundRecord>,
    /// Outcomes of the call, and decisions that follow from this one.
    pub later: &'a [FoundRecord],
    /// What of the log before it and after it cannot be read.
    pub damage: Damage,
    /// What the signed tree says of the record.
    pub coverage: Coverage,
}

/// What of a log cannot be read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Damage {
    /// Something before the record.
    pub is_before: bool,
    /// Something after it.
    pub is_after: bool,
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
            .fact("session", name(&it.session_id))
            .fact("task", task(it))
            .fact("approvals", names(&it.approval_ids));
        for approval in self.approvals {
            story = story.fact("approval", told(approval));
        }
        for delegation in self.delegations {
            story = story.fact("delegated", told(delegation));
        }
        if let Some(stop) = stop_of(it) {
            story = story.fact("stopped", stopped(stop));
            let write = self.stop.map(told);
            let write = write.unwrap_or_else(|| "no write in this log".to_owned());
            story = story.fact("its write", write);
        }
        story = story.fact("follows", self.follows(it));
        for target in &it.targets {
            let mut parts = vec![&target.kind, &target.role, &target.name_hmac];
            // A target that no argument names has no role.
            parts.retain(|part| !part.is_empty());
            story = story.fact("target", names(&parts));
        }
        story = verdicts(story, it);
        let (counted, counts) = list_counts(it);
        story = story
            .fact(counted, counts)
            .fact("must do", names(&it.obligations))
            .fact("challenge", hex(&it.challenge_digest));
        for used in it.side_effects.iter().flat_map(side_effects) {
            story = story.fact("used", used);
        }
        for used in it.would_use.iter().flat_map(side_effects) {
            story = story.fact("would use", used);
        }
        story = self.later(story, it);
        story = story.fact("trace", hex(&it.trace_id)).fact(
            "decided",
            format!(
                "at revision {}, by policies sha256:{}",
                it.revision,
                hex(&it.policy_set_digest)
            ),
        );
        if self.record.message.is_cut {
            story = story.fact("cut", line::CUT);
        }
        self.proof(self.damage(story))
    }

    /// The decision that it follows from: nobody but the caller says so.
    fn follows(&self, it: &Decision) -> String {
        let caller = name(&it.caller);
        match self.parent {
            Some(parent) => {
                let asked = match &parent.message.kind {
                    Some(record::Kind::Decision(parent)) if parent.caller != it.caller => {
                        format!(", although {} had asked for it", name(&parent.caller))
                    }
                    _ => String::new(),
                };
                format!("{}, as {caller} says{asked}", told(parent))
            }
            None if it.parent_decision_id.is_empty() => String::new(),
            None => {
                let of_log = match self.damage.is_before || self.damage.is_after {
                    true => "in what can be read of the log, which is damaged",
                    false => "in the log",
                };
                let parent = json::uuid(&it.parent_decision_id);
                format!("{parent}, as {caller} says, which is not {of_log}")
            }
        }
    }

    /// What came of it.
    fn later(&self, mut story: Details, it: &Decision) -> Details {
        let mut has_outcome = false;
        for later in self.later {
            let parts = match &later.message.kind {
                Some(record::Kind::Outcome(outcome)) => {
                    has_outcome = true;
                    let after = later.message.at.saturating_sub(self.record.message.at);
                    let after = std::time::Duration::from_millis(after / 1_000_000);
                    let after = humantime::format_duration(after);
                    [
                        line::outcome_text(outcome),
                        format!("after {after}"),
                        line::told_by(outcome),
                    ]
                }
                Some(record::Kind::Decision(next)) => {
                    let said = format!("as {} says", name(&next.caller));
                    [told(later), said, String::new()]
                }
                _ => [told(later), String::new(), String::new()],
            };
            let doubts = line::doubts_text(later);
            let cut = match (&later.message.kind, later.message.is_cut) {
                (Some(record::Kind::Outcome(_)), true) => line::CUT.to_owned(),
                _ => String::new(),
            };
            let parts = parts.into_iter().chain([cut, doubts]);
            let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
            let label = match &later.message.kind {
                Some(record::Kind::Outcome(_)) => "outcome",
                _ => "led to",
            };
            story = story.fact(label, parts.join(", "));
        }
        let was_let_pass = json::verdict(it.verdict()) == "allow" || it.is_observed;
        let is_call = !it.operation.starts_with("cedar") && !it.operation.ends_with("/filter");
        match was_let_pass && is_call && !has_outcome && !it.is_dry_run {
            true if self.damage.is_after => {
                story.fact("outcome", "none in what can be read of the log")
            }
            true => story.fact("outcome", "nobody reported one"),
            false => story,
        }
    }

    /// What may be missing from the story.
    fn damage(&self, story: Details) -> Details {
        let place = match (self.damage.is_before, self.damage.is_after) {
            (false, false) => return story,
            (true, false) => "before this record",
            (false, true) => "after this record",
            (true, true) => "before and after this record",
        };
        let told = format!("parts of the log {place} cannot be read: more may belong to it");
        story.fact("damaged", told)
    }

    /// Where the record is in the tree.
    fn proof(&self, story: Details) -> Details {
        let index = self.record.stored.index;
        let leaf = TreeHash::leaf(&self.record.stored.bytes).to_hex();
        let covered = match self.coverage {
            Coverage::Proven(size) => format!("in the checkpoint over {size}"),
            Coverage::NotYet => "not yet in a checkpoint".to_owned(),
            Coverage::NoCheckpoint => "in no checkpoint that can be verified".to_owned(),
            Coverage::Other(size) => format!("NOT THE ONE in the checkpoint over {size}"),
            Coverage::Unproven(size) => {
                format!("NOT PROVEN to be in the checkpoint over {size}")
            }
        };
        story.fact("record", format!("{index}, {covered}, leaf {leaf}"))
    }
}

/// Another record, in a line without its end.
fn told(record: &FoundRecord) -> String {
    Paint::plain().line(&record.message).trim_end().to_owned()
}

/// The stop for which a call was denied.
pub(super) fn stop_of(decision: &Decision) -> Option<&Stop> {
    decision.reasons.iter().find_map(|it| it.stop.as_ref())
}

/// `agent:helper by user:ines at 2030-01-31T15:00:00Z, reason INC-4711`.
fn stopped(it: &Stop) -> String {
    let [entity, actor] = [&it.entity, &it.actor].map(|uid| entity(uid));
    let reason = match it.reason.as_str() {
        "" => String::new(),
        reason => format!(", reason {}", name(reason)),
    };
    format!("{entity} by {actor} at {}{reason}", json::time(it.at))
}

fn by(it: &Decision) -> String {
    let request = match it.request_id.as_str() {
        "" => String::new(),
        id => format!(", request {}", name(id)),
    };
    let initiator = match it.initiator.as_str() {
        "" => String::new(),
        initiator => format!(", the {} began it", name(initiator)),
    };
    format!(
        "{} through {}{request}{initiator}",
        name(&it.caller),
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
        .map(|party| entity(party))
        .collect();
    parties.join(" → ")
}

fn granted(chain: &ActorChain) -> String {
    let mut parts = Vec::new();
    if !chain.delegation_ids.is_empty() {
        parts.push(format!("delegations {}", names(&chain.delegation_ids)));
    }
    if !chain.scopes.is_empty() {
        parts.push(format!("scopes {}", names(&chain.scopes)));
    }
    if chain.is_verified {
        parts.push("verified, as the caller says".to_owned());
    }
    parts.join("; ")
}

fn task(it: &Decision) -> String {
    match it.step.as_str() {
        "" => name(&it.task_id),
        step => format!("{}, step {}", name(&it.task_id), name(step)),
    }
}

/// Why, and what each principal was told.
fn verdicts(mut story: Details, it: &Decision) -> Details {
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
    story
}

fn because(reason: &Reason) -> String {
    let mut text = name(&reason.code);
    if !reason.principal.is_empty() {
        text.push_str(&format!(", for {}", entity(&reason.principal)));
    }
    if !reason.missing.is_empty() {
        text.push_str(&format!(", missing {}", names(&reason.missing)));
    }
    if !reason.policies.is_empty() {
        text.push_str(&format!(", by {}", names(&reason.policies)));
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
        .map(|(word, ids)| format!("{word} {}", names(ids)))
        .collect();
    if parts.is_empty() {
        parts.push("no policy permits it".to_owned());
    }
    format!(
        "{} {}: {} on {} — {} ({} policies evaluated)",
        json::verdict(it.verdict()),
        entity(&it.principal),
        entity(&it.action),
        entity(&it.resource),
        parts.join("; "),
        it.policies_evaluated
    )
}

fn policy_text(it: &Policy) -> String {
    let owner = match it.owner.as_str() {
        "" => String::new(),
        owner => format!(", owned by {}", name(owner)),
    };
    let controls = match it.controls.as_slice() {
        [] => String::new(),
        controls => format!(", controls {}", names(controls)),
    };
    format!("{}{owner}{controls}", name(&it.id))
}

/// How much of a list was kept, or how many candidates a search found.
fn list_counts(it: &Decision) -> (&'static str, String) {
    match (it.kept, it.hidden) {
        (kept, hidden) if !it.sought.is_empty() => {
            let all = kept.saturating_add(hidden);
            ("found", format!("{kept} of {all} candidates"))
        }
        (0, 0) => ("kept", String::new()),
        (kept, hidden) if it.is_observed && hidden > 0 => {
            let kept = count(kept, "entry");
            let would = format!("would have kept {kept} and hidden {hidden}");
            match it.shown {
                // Of before it was on record.
                0 => ("list", would),
                shown => ("list", format!("{would}; {shown} of those were shown")),
            }
        }
        (kept, hidden) => ("kept", format!("{}, {hidden} hidden", count(kept, "entry"))),
    }
}

fn side_effects(it: &SideEffects) -> Vec<String> {
    let mut used = Vec::new();
    let mut ids = |what: &str, id: &str| {
        if !id.is_empty() {
            used.push(format!("{what} {}", name(id)));
        }
    };
    ids("a use of the approval", &it.approval_id);
    ids("a call of the task", &it.budget_task_id);
    ids(
        "a call of the tool in the task, counter",
        &it.tool_budget_id,
    );
    if !it.added_labels.is_empty() {
        used.push(format!("labels it brings: {}", names(&it.added_labels)));
    }
    if !it.target_labels.is_empty() {
        used.push(format!(
            "labels for its targets: {}",
            names(&it.target_labels)
        ));
    }
    used
}

#[cfg(test)]
#[path = "story_tests.rs"]
mod tests;

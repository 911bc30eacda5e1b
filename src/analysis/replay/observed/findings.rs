//! What one pass over the observed calls finds.
//!
//! Start at [`Findings::add`]. A call is decided again, and each Cedar request that the verdict is made of is looked at as it
//! is evaluated: what it lacks, and in which circumstances.
//!
//! Invariant: a call leads to permits only if all that it lacks are permits, and approvals that somebody can give.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::analysis::replay::candidate::{Obstacle, Replayer};
use crate::analysis::replay::observed::circumstances::{AskedOf, CallKind, Circumstances};
use crate::analysis::replay::observed::lack::{Lack, Lacks};
use crate::analysis::replay::observed::permits::{MissingPermits, PermitKey, PermittedAction};
use crate::analysis::replay::observed::proposal::Left;
use crate::analysis::replay::observed::registrations::Unregistered;
use crate::analysis::replay::report::operation;
use crate::analysis::replay::{RecordedDecision, Replayed, open_capsule};
use crate::audit::capsule_content::{Capsule, CapsuleRequest};
use crate::domain::decide::inputs::DecisionInputs;
use crate::domain::decide::observer::{EvaluationObserver, ObservedEvaluation};
use crate::domain::decide::verdict::Verdict;
use crate::domain::decide::{call, is_authorized};
use crate::domain::reason::ReasonCode;
use crate::domain::schema::{self, TYPES};

/// The most policies and tools that are told of by name.
const MAX_BY_HAND: usize = 1_000;

/// What one pass finds.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Calls.
    pub seen: u64,
    /// Those that are allowed.
    pub allowed: u64,
    /// Those for which an approval is asked.
    pub asks_for_approval: u64,
    /// Those that were not replayed as their capsule is damaged or missing, or does not open.
    pub unreadable: u64,
    /// Those that were not replayed, by why.
    pub not_replayed: BTreeMap<String, u64>,
    /// What is not registered.
    pub unregistered: Unregistered,
    /// Which permits are missing.
    pub missing: MissingPermits,
    /// What is left, by code.
    pub left: BTreeMap<String, Left>,
    /// Permits that would apply in other circumstances, by their ids.
    pub conditional: BTreeMap<SmolStr, u64>,
    /// What keeps calls of registered servers and tools from being evaluated.
    pub entries: BTreeMap<KeptBack, u64>,
}

/// What keeps calls from being evaluated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeptBack {
    /// The server that was called.
    pub server: SmolStr,
    /// The tool, unless it is the entry of the server.
    pub tool: Option<SmolStr>,
    /// What it is.
    pub by: KeptBackBy,
    /// The reason that they were given.
    pub why: String,
}

/// What it is that keeps calls from being evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum KeptBackBy {
    /// What is registered.
    Entry,
    /// Their arguments do not fit what is registered: either may be wrong.
    Arguments,
    /// They do not say what every call has to.
    Call,
}

/// Sees the Cedar requests of one decision.
#[derive(Debug)]
struct Watch<'l, 's> {
    lacks: &'l Lacks<'s>,
    seen: RefCell<Vec<Option<Seen>>>,
}

/// A Cedar request that is not allowed.
#[derive(Debug)]
struct Seen {
    lack: Lack,
    principal: EntityUID,
    action: EntityUID,
    resource: EntityUID,
    kind: CallKind,
    circumstances: Circumstances,
}

impl EvaluationObserver for Watch<'_, '_> {
    fn evaluated(&self, evaluation: ObservedEvaluation<'_>) {
        let seen = self.lacks.of(&evaluation).map(|lack| {
            let (query, principal) = (evaluation.query, evaluation.principal);
            let snapshot = evaluation.snapshot;
            let declares = |name: &str| snapshot.declares_context_attribute(query.action, name);
            let asked = AskedOf {
                principal,
                resource: query.resource,
                context: query.context,
                overlays: query.overlays,
                declares: &declares,
            };
            let is_asked = lack == Lack::Permit { is_asked: true };
            Seen {
                principal: principal.clone(),
                action: query.action.clone(),
                resource: query.resource.clone(),
                kind: CallKind::from_context(asked),
                circumstances: Circumstances::from_context(asked, is_asked),
                lack,
            }
        });
        self.seen.borrow_mut().push(seen);
    }
}

impl Watch<'_, '_> {
    /// What the requests that a verdict is made of lack. Of several approvals the last one that was tried counts.
    fn of_verdict(self, verdict: &Verdict) -> Vec<Seen> {
        let mut seen = self.seen.into_inner();
        let tried_before = seen.len().saturating_sub(verdict.principals.len());
        seen.drain(..tried_before);
        seen.into_iter().flatten().collect()
    }
}

/// Decides again what a record holds, and tells what it lacks.
///
/// # Errors
///
/// What there is in place of a decision.
pub(super) fn decide_again(
    replayer: &mut Replayer<'_>,
    lacks: &Lacks<'_>,
    record: &RecordedDecision,
) -> Result<Decided, Replayed> {
    // The service turns a panic into a deny; here it is one record that tells nothing.
    let decided = catch_unwind(AssertUnwindSafe(|| decide(replayer, lacks, record)));
    decided.unwrap_or(Err(Replayed::Obstacle(Obstacle::Failed)))
}

fn decide(
    replayer: &mut Replayer<'_>,
    lacks: &Lacks<'_>,
    record: &RecordedDecision,
) -> Result<Decided, Replayed> {
    let capsule = open_capsule(record)?;
    let watch = Watch {
        lacks,
        seen: RefCell::default(),
    };
    let verdict = match &capsule.request {
        CapsuleRequest::Cedar(request) => {
            let snapshot = replayer
                .snapshot_for(&capsule)
                .map_err(Replayed::Obstacle)?;
            is_authorized::decide_observed(snapshot, &capsule.authority, request, Some(&watch))
        }
        CapsuleRequest::Call(call, history) => replayer
            .inspect(&capsule, history, |inputs, requester| {
                let inputs = DecisionInputs {
                    observer: Some(&watch),
                    ..*inputs
                };
                call::decide(inputs, call, requester, capsule.now)
            })
            .map_err(Replayed::Obstacle)?,
        CapsuleRequest::List(..) | CapsuleRequest::Search(_) => return Err(Replayed::List),
    };
    let seen = watch.of_verdict(&verdict);
    Ok(Decided {
        capsule,
        verdict,
        seen,
    })
}

/// A call, decided again.
pub(super) struct Decided {
    capsule: Capsule,
    verdict: Verdict,
    seen: Vec<Seen>,
}

impl Findings {
    /// Adds a call.
    pub(super) fn add(&mut self, decided: Result<Decided, Replayed>, snapshot: &Snapshot) {
        self.seen += 1;
        let decided = match decided {
            Ok(decided) => decided,
            Err(nothing) => {
                self.unreadable += u64::from(is_unreadable(&nothing));
                return count(&mut self.not_replayed, why_not(&nothing));
            }
        };
        let (capsule, verdict) = (&decided.capsule, &decided.verdict);
        if verdict.is_allow() {
            self.allowed += 1;
            return;
        }
        let reason = verdict.reasons.first();
        let code = reason.map(|reason| reason.code);
        if code == Some(ReasonCode::ApprovalRequired) {
            self.asks_for_approval += 1;
        } else {
            let name = code.map_or("NONE", ReasonCode::as_str).to_owned();
            let why = reason.map_or("", |it| &it.message);
            self.left
                .entry(name)
                .or_default()
                .add(operation(capsule), why);
        }
        self.add_unregistered(capsule, verdict, snapshot);
        self.add_lacks(decided.seen, snapshot);
    }

    /// Adds what is not registered, and what is and keeps the call from being evaluated.
    fn add_unregistered(&mut self, capsule: &Capsule, verdict: &Verdict, snapshot: &Snapshot) {
        let (CapsuleRequest::Call(call, _), Some(reason)) =
            (&capsule.request, verdict.reasons.first())
        else {
            return;
        };
        let server = &call.operation.server;
        let is_known = snapshot.contains(&schema::server_uid(server));
        let tool = call.operation.kind.tool_call().map(|it| it.tool.clone());
        let of_arguments = |fact: &String| fact.starts_with("arguments");
        let by = match reason.code {
            ReasonCode::ServerUnknown if is_known => KeptBackBy::Entry,
            ReasonCode::ToolChanged => KeptBackBy::Entry,
            ReasonCode::ContextMissing | ReasonCode::ContextInvalid
                if verdict.principals.is_empty() && tool.is_some() =>
            {
                match reason.missing.is_empty() || reason.missing.iter().any(of_arguments) {
                    true => KeptBackBy::Arguments,
                    false => KeptBackBy::Call,
                }
            }
            ReasonCode::ToolUnknown
            | ReasonCode::ServerUnknown
            | ReasonCode::ContextMissing
            | ReasonCode::ContextInvalid => {
                self.unregistered.add(capsule);
                return;
            }
            _ => return,
        };
        let entry = KeptBack {
            server: server.clone(),
            tool: tool.filter(|_| reason.code != ReasonCode::ServerUnknown),
            by,
            why: reason.message.clone(),
        };
        count_some(&mut self.entries, entry);
    }

    /// Adds the permits that a call lacks, if it lacks nothing else.
    fn add_lacks(&mut self, seen: Vec<Seen>, snapshot: &Snapshot) {
        let mut is_left = false;
        let mut conditional = BTreeSet::new();
        for lack in seen.iter().map(|it| &it.lack) {
            is_left |= matches!(lack, Lack::Other | Lack::Circumstances(_));
            if let Lack::Circumstances(policies) = lack {
                conditional.extend(policies);
            }
        }
        for id in conditional {
            count_some(&mut self.conditional, id.clone());
        }
        if is_left {
            return;
        }
        for it in seen {
            if let Lack::Permit { .. } = it.lack {
                let key = PermitKey {
                    action: permitted_action(&it.action, &it.resource, snapshot),
                    principal: it.principal,
                    resource_type: it.resource.entity_type().clone(),
                    kind: it.kind,
                };
                self.missing.add(key, it.resource, it.circumstances);
            }
        }
    }

    /// Adds what another worker found.
    pub(super) fn merge(&mut self, other: Self) {
        self.seen += other.seen;
        self.allowed += other.allowed;
        self.asks_for_approval += other.asks_for_approval;
        self.unreadable += other.unreadable;
        self.unregistered.merge(other.unregistered);
        self.missing.merge(other.missing);
        for (code, left) in other.left {
            self.left.entry(code).or_default().merge(left);
        }
        add_counts(&mut self.not_replayed, other.not_replayed);
        add_counts(&mut self.conditional, other.conditional);
        add_counts(&mut self.entries, other.entries);
    }
}

/// The action that a permit names. What a client calls of a tool that nobody has confirmed has another action once somebody
/// does.
fn permitted_action(
    action: &EntityUID,
    resource: &EntityUID,
    snapshot: &Snapshot,
) -> PermittedAction {
    let is_call = *resource.entity_type() == TYPES.tool
        && snapshot.is_in(action, &schema::action_uid("call_tool"));
    let confirmed = snapshot.entity(resource);
    let confirmed = confirmed.and_then(|it| it.attribute("confirmed"));
    match is_call && confirmed == Some(false.into()) {
        true => PermittedAction::CallTool,
        false => PermittedAction::Is(action.clone()),
    }
}

/// Whether a record was not replayed for what somebody can put right: the key, or files that are damaged or missing.
fn is_unreadable(nothing: &Replayed) -> bool {
    matches!(
        nothing,
        Replayed::Obstacle(
            Obstacle::Sealed(_) | Obstacle::Capsule(_) | Obstacle::Lost | Obstacle::Failed
        )
    )
}

/// Why a record was not replayed.
fn why_not(nothing: &Replayed) -> String {
    match nothing {
        Replayed::NotEvaluated => "it was denied without an evaluation".to_owned(),
        Replayed::Gone => "it has no capsule".to_owned(),
        Replayed::List | Replayed::Entries(..) | Replayed::Obstacle(Obstacle::Several) => {
            "it is about a list or a search, of which nothing is proposed".to_owned()
        }
        Replayed::Obstacle(obstacle) => obstacle.to_string(),
        Replayed::Answer(..) => Obstacle::Failed.to_string(),
    }
}

fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, of: K) {
    *counts.entry(of).or_default() += 1;
}

/// The same, as long as there is room.
fn count_some<K: Ord>(counts: &mut BTreeMap<K, u64>, of: K) {
    if counts.len() < MAX_BY_HAND || counts.contains_key(&of) {
        count(counts, of);
    }
}

fn add_counts<K: Ord>(all: &mut BTreeMap<K, u64>, more: BTreeMap<K, u64>) {
    for (key, count) in more {
        *all.entry(key).or_default() += count;
    }
}

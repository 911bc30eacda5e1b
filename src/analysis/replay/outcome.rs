//! What a decision is compared by, and whom it was about.

use callgate_engine::cedar::EntityUID;
use serde::Serialize;
use smol_str::SmolStr;

use crate::analysis::replay::{CutLists, RecordedDecision};
use crate::audit::capsule_content::{Capsule, CapsuleRequest};
use crate::audit::wire::as_recorded;
use crate::domain::decide::verdict::Verdict;
use crate::domain::request::call_context::CallContext;

/// A decision with its reason, and with what makes it hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct OutcomeKey {
    /// `allow` or `deny`.
    pub decision: &'static str,
    /// The code of the first reason of a deny.
    pub code: Option<SmolStr>,
    /// The determining policies, ordered.
    pub policies: Vec<SmolStr>,
    /// The ids of the obligations, ordered.
    pub obligations: Vec<SmolStr>,
    /// `false` of a deny that is only observed.
    pub enforced: bool,
}

impl OutcomeKey {
    pub(in crate::analysis::replay) fn recorded(record: &RecordedDecision) -> Self {
        let decided = Self::new(
            record.is_allow,
            record.codes.first().cloned(),
            record.policies.clone(),
        );
        decided.holding(record.obligations.clone(), record.is_enforced)
    }

    /// Of an entry of a list, hidden for this reason or shown.
    pub(in crate::analysis::replay) fn of_entry(hidden: Option<SmolStr>) -> Self {
        Self::new(hidden.is_none(), hidden, Vec::new())
    }

    pub(in crate::analysis::replay) fn of_verdict(verdict: &Verdict, is_enforced: bool) -> Self {
        let code = verdict.reasons.first();
        let policies = verdict.determining_policies.iter();
        let decided = Self::new(
            verdict.is_allow(),
            code.map(|it| SmolStr::new_static(it.code.as_str())),
            policies.map(|it| it.id.clone()).collect(),
        );
        // A name may be longer than records hold it.
        let obligations = verdict.obligations().map(|it| as_recorded(&it.id).into());
        decided.holding(obligations.collect(), is_enforced)
    }

    pub(in crate::analysis::replay) fn new(
        is_allow: bool,
        code: Option<SmolStr>,
        mut policies: Vec<SmolStr>,
    ) -> Self {
        policies.sort();
        Self {
            decision: if is_allow { "allow" } else { "deny" },
            code: code.filter(|_| !is_allow),
            policies,
            obligations: Vec::new(),
            enforced: true,
        }
    }

    /// The same with obligations, and whether it is enforced, which says nothing of an allow.
    fn holding(mut self, mut obligations: Vec<SmolStr>, is_enforced: bool) -> Self {
        obligations.sort();
        self.obligations = obligations;
        self.enforced = is_enforced || self.decision == "allow";
        self
    }

    /// With what another has in lists of which the record does not hold everything: it may have had that as well.
    pub(in crate::analysis::replay) fn completed(mut self, cut: CutLists, by: &Self) -> Self {
        let complete = |own: &mut Vec<SmolStr>, by: &[SmolStr]| {
            let missing = by.iter().filter(|it| !own.contains(it));
            let missing: Vec<SmolStr> = missing.cloned().collect();
            own.extend(missing);
            own.sort();
        };
        if cut.policies {
            complete(&mut self.policies, &by.policies);
        }
        if cut.obligations {
            complete(&mut self.obligations, &by.obligations);
        }
        self
    }

    /// Whether the same decision holds less than another: without one of its obligations, or no longer enforced.
    pub(in crate::analysis::replay) fn is_weaker_than(&self, other: &Self) -> bool {
        let is_kept = |it: &SmolStr| self.obligations.contains(it);
        (other.enforced && !self.enforced) || !other.obligations.iter().all(is_kept)
    }
}

/// Who acts, and for whom: `Mcp::Agent::"helper" for Mcp::User::"alice"`.
pub(in crate::analysis::replay) fn parties(capsule: &Capsule) -> String {
    match &capsule.request {
        CapsuleRequest::Cedar(request) => request.principal.to_string(),
        CapsuleRequest::Call(call, _) | CapsuleRequest::List(call, ..) => {
            parties_of_call(capsule, call)
        }
        CapsuleRequest::Search(candidates) => {
            let first = candidates.first();
            first.map_or_else(String::new, |it| it.request.principal.to_string())
        }
    }
}

/// The same of a call.
pub(in crate::analysis::replay) fn parties_of_call(
    capsule: &Capsule,
    call: &CallContext,
) -> String {
    let subject = &call.subject.entity;
    match root(capsule, call) {
        Some(root) => format!("{subject} for {root}"),
        None => subject.to_string(),
    }
}

/// The root of the chain, as the call states it or its first stored delegation does.
fn root<'c>(capsule: &'c Capsule, call: &'c CallContext) -> Option<&'c EntityUID> {
    let chain = call.actor_chain.as_ref()?;
    if let Some(root) = &chain.root {
        return Some(root);
    }
    let mut link = capsule
        .authority
        .delegations
        .get(chain.delegation_ids.last()?)?;
    // Chains are short; a longer one is broken and has no root.
    for _ in 0..crate::domain::authority::chain::MAX_LINKS {
        match &link.parent {
            None => return Some(&link.from),
            Some(parent) => link = capsule.authority.delegations.get(parent)?,
        }
    }
    None
}

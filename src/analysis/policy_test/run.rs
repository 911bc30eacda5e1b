//! Decides one case and compares the verdict with what is wanted.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::analysis::policy_test::World;
use crate::analysis::policy_test::coverage::Coverage;
use crate::analysis::policy_test::form::{ApprovalForm, Want};
use crate::analysis::policy_test::prepare::{GovernQuestion, PreparedCase, Question};
use crate::config::Config;
use crate::domain::authority::approval::{Approval, ApprovalDecision};
use crate::domain::authority::chain::DelegationChain;
use crate::domain::authority::state::Authority;
use crate::domain::authority::stated_identity::StatedIdentity;
use crate::domain::decide::call::decide;
use crate::domain::decide::govern::{ApproverWish, GovernRequest, approve, govern};
use crate::domain::decide::inputs::{DecisionInputs, History, Requester};
use crate::domain::decide::is_authorized;
use crate::domain::decide::observer::EvaluationObserver;
use crate::domain::decide::verdict::{Challenge, Decision, Verdict};
use crate::domain::request::call_context::{CallContext, Subject};
use crate::domain::schema::{self, TYPES};

/// The validity of an approval in a test.
const APPROVAL_VALIDITY: Duration = Duration::from_secs(900);
/// The id of a case's approval.
const APPROVAL_ID: &str = "approval";

/// The result of all cases.
#[derive(Debug, Serialize)]
pub struct RunReport {
    /// Every case, in the order of files and lines.
    pub cases: Vec<CaseReport>,
    /// The time that all of it took.
    #[serde(skip)]
    pub took: Duration,
    /// Which conditions were exercised, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
}

impl RunReport {
    /// The cases that are not decided as they say.
    pub fn failures(&self) -> impl Iterator<Item = &CaseReport> {
        self.cases.iter().filter(|case| !case.is_passed())
    }

    /// Whether every case is decided as it says.
    pub fn is_passed(&self) -> bool {
        self.failures().next().is_none()
    }
}

/// The result of one case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseReport {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The name.
    pub name: String,
    /// The time it took, in microseconds.
    pub micros: u64,
    /// What is not as wanted; empty if it passed.
    pub differences: Vec<Difference>,
    /// What decided instead, for a case that did not pass: one line each.
    pub why: Vec<String>,
}

impl CaseReport {
    /// Whether it is decided as it says.
    pub fn is_passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// One thing that is not as wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The field of the case, e.g. `policies`.
    pub field: &'static str,
    /// What is wanted.
    pub wanted: Vec<String>,
    /// What came.
    pub got: Vec<String>,
}

/// What came of a case.
#[derive(Debug)]
pub struct CaseOutcome {
    /// The verdict; that on the approver if the approval was not his to give.
    pub verdict: Verdict,
    /// The verdict on the approver.
    pub approving: Option<Verdict>,
    /// Why the case could not be played to its end.
    pub fault: Option<&'static str>,
}

/// Decides one case.
pub fn run(
    case: &PreparedCase,
    world: &World,
    config: &Config,
    observer: Option<&dyn EvaluationObserver>,
) -> CaseOutcome {
    let requester = Requester {
        caller: &case.caller,
        claims: &config.claims,
    };
    let uses = [case.approval.as_ref().map_or(0, |approval| approval.used)];
    let live = &case.live;
    let inputs = DecisionInputs {
        authority: &live.authority,
        history: History {
            session: live.session.as_ref(),
            carried: Some(&live.carried),
            usage: live.usage,
            calls_left: live.calls_left,
            tool_calls_left: live.tool_calls_left,
            approval_uses: &uses,
            ..History::default()
        },
        named_approvers: &world.named_approvers,
        observer,
        ..DecisionInputs::from(&world.snapshot)
    };
    let verdict = match &case.question {
        Question::Call(call) => return decide_call(case, &inputs, call, requester),
        Question::Govern(question) => decide_change(case, &inputs, question, requester),
        Question::Parc(question) => {
            let authority = &live.authority;
            is_authorized::decide_observed(&world.snapshot, authority, question, observer)
        }
    };
    CaseOutcome {
        verdict,
        approving: None,
        fault: None,
    }
}

fn decide_call(
    case: &PreparedCase,
    inputs: &DecisionInputs<'_>,
    call: &CallContext,
    requester: Requester<'_>,
) -> CaseOutcome {
    let verdict = decide(*inputs, call, requester, case.now);
    let Some(given) = &case.approval else {
        return CaseOutcome {
            verdict,
            approving: None,
            fault: None,
        };
    };
    let Some(challenge) = &verdict.challenge else {
        return CaseOutcome {
            verdict,
            approving: None,
            fault: Some("the call asks for no approval"),
        };
    };
    let approver = Subject {
        claims: given.claims.clone(),
        ..Subject::verified(schema::entity_uid(&TYPES.user, given.by.as_str()), "jwt")
    };
    let about = (&challenge.call, &challenge.circumstances);
    let by = (&approver, ApproverWish::Approve);
    let approving = approve(inputs, about, by, requester, case.now);
    if !approving.is_allow() {
        return CaseOutcome {
            verdict: approving.clone(),
            approving: Some(approving),
            fault: None,
        };
    }
    let mut authority: Authority = inputs.authority.clone();
    let identity = StatedIdentity::new(&approver.identity, requester.caller);
    let approval = approval(case, given, challenge, (approver, identity));
    authority.approvals.insert_mut(Arc::new(approval));
    let with_approval = CallContext {
        approval_ids: vec![APPROVAL_ID.into()],
        ..call.clone()
    };
    let inputs = DecisionInputs {
        authority: &authority,
        ..*inputs
    };
    CaseOutcome {
        verdict: decide(inputs, &with_approval, requester, case.now),
        approving: Some(approving),
        fault: None,
    }
}

/// The stored approval of the challenged call.
fn approval(
    case: &PreparedCase,
    given: &ApprovalForm,
    challenge: &Challenge,
    (approver, identity): (Subject, StatedIdentity),
) -> Approval {
    let expires_at = case.now + APPROVAL_VALIDITY;
    let age = Duration::from_secs(given.age);
    let at = case.now.checked_sub(age).unwrap_or(case.now);
    Approval {
        id: APPROVAL_ID.into(),
        digest: challenge.call.digest(expires_at),
        call: challenge.call.clone(),
        circumstances: Default::default(),
        requested_at: at,
        expires_at,
        word: Some(ApprovalDecision {
            by: approver.entity,
            at,
            uses: given.uses.unwrap_or(1),
            comment: None,
            claims: approver.claims,
            identity: Some(identity),
        }),
    }
}

fn decide_change(
    case: &PreparedCase,
    inputs: &DecisionInputs<'_>,
    question: &GovernQuestion,
    requester: Requester<'_>,
) -> Verdict {
    let delegations = question.delegation.iter().collect();
    let chain = question
        .chain
        .as_ref()
        .map(|(root, actors)| DelegationChain {
            root: Cow::Borrowed(root),
            actors: Cow::Borrowed(actors),
            scopes: &[],
            is_verified: true,
            delegations,
        });
    let request = GovernRequest {
        actor: &question.actor,
        action: question.action,
        resource: &question.resource,
        chain: chain.as_ref(),
        task: question.task.as_ref(),
        remembered: &[],
    };
    govern(inputs, &request, requester, case.now)
}

impl CaseOutcome {
    /// What is not as the case wants it.
    pub fn differences(&self, case: &PreparedCase) -> Vec<Difference> {
        let (verdict, wanted) = (&self.verdict, &case.wanted);
        let mut all = Vec::new();
        let mut compare = |field: &'static str, wanted: Option<Vec<String>>, got: Vec<String>| {
            if let Some(wanted) = wanted
                && wanted != got
            {
                all.push(Difference { field, wanted, got });
            }
        };
        if let Some(fault) = self.fault {
            compare("approval", Some(Vec::new()), vec![fault.to_owned()]);
        }
        let decision = match wanted.decision {
            Want::Allow => Decision::Allow,
            Want::Deny => Decision::Deny,
        };
        let one = |text: &str| vec![text.to_owned()];
        compare(
            "want",
            Some(one(decision.as_str())),
            one(verdict.outcome.as_str()),
        );
        let code = verdict.reasons.first();
        let code = code.map(|reason| reason.code.as_str().to_owned());
        compare(
            "code",
            wanted.code.clone().map(|code| vec![code]),
            code.into_iter().collect(),
        );
        compare("policies", wanted.policies.clone(), determining(verdict));
        let obligations = verdict.obligations().map(|it| it.id.to_string());
        compare(
            "obligations",
            wanted.obligations.clone(),
            sorted(obligations),
        );
        let asking = verdict.challenge.iter();
        let asking = asking.flat_map(|it| &it.circumstances.policies);
        let asking = asking.map(|policy| policy.id.to_string());
        compare("challenge", wanted.challenge.clone(), sorted(asking));
        let shadow = verdict.shadow.iter().map(|policy| policy.id.to_string());
        compare("shadow", wanted.shadow.clone(), sorted(shadow));
        let missing = verdict.reasons.iter().flat_map(|it| it.missing.clone());
        compare("missing", wanted.missing.clone(), sorted(missing));
        let approving = self.approving.as_ref().map(determining);
        compare(
            "approval.policies",
            wanted.approving.clone(),
            approving.unwrap_or_default(),
        );
        all
    }

    /// Whether the case passes.
    pub fn is_passed(&self, case: &PreparedCase) -> bool {
        self.differences(case).is_empty()
    }
}

fn determining(verdict: &Verdict) -> Vec<String> {
    let policies = verdict.determining_policies.iter();
    sorted(policies.map(|policy| policy.id.to_string()))
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let names: BTreeSet<String> = names.collect();
    names.into_iter().collect()
}

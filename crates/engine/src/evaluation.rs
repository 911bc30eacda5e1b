//! What the policies say of one request.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::policy::{CompiledPolicy, PolicyInfo};

/// Policies, of which there are seldom more than two in one list.
pub type PolicyList = SmallVec<[Arc<PolicyInfo>; 2]>;

/// What the policies say of one request for several principals: mostly an agent, and the person it acts for.
pub type Evaluations = SmallVec<[PolicyEvaluation; 2]>;

/// What the policies say of one request. Policies in `@mode("shadow")` appear in the `shadow` lists only.
#[derive(Debug, Clone, Default)]
pub struct PolicyEvaluation {
    /// Satisfied permits.
    pub permits: PolicyList,
    /// Satisfied forbids.
    pub forbids: PolicyList,
    /// Policies that could not be evaluated.
    pub errors: Vec<PolicyError>,
    /// Permits that depend on what is not known yet.
    pub undetermined_permits: PolicyList,
    /// Forbids that depend on what is not known.
    pub undetermined_forbids: PolicyList,
    /// Satisfied shadow permits.
    pub shadow_permits: PolicyList,
    /// Satisfied shadow forbids, and shadow policies that could not be evaluated.
    pub shadow_forbids: PolicyList,
    /// The number of policies that apply. They are evaluated, or their outcome is known.
    pub policies_evaluated: u32,
    /// Whether the request might be allowed if the attribute of [`evaluate_each_open_to`] had another value, or were there at
    /// all: what [`PolicyEvaluation::may_allow`] says if it is [unknown](crate::Query::unknown). Otherwise false.
    ///
    /// [`evaluate_each_open_to`]: crate::Snapshot::evaluate_each_open_to
    pub may_allow_otherwise: bool,
}

/// A policy that could not be evaluated.
#[derive(Debug, Clone, thiserror::Error)]
#[error("policy `{}`: {message}", policy.id)]
pub struct PolicyError {
    /// The policy.
    pub policy: Arc<PolicyInfo>,
    /// Cedar's message.
    pub message: String,
}

impl PolicyEvaluation {
    /// Whether some permit is satisfied, no forbid is, and no policy failed.
    ///
    /// Cedar alone ignores a policy that fails; a failing `forbid` would then silently allow.
    pub fn is_allow(&self) -> bool {
        !self.permits.is_empty() && self.forbids.is_empty() && self.errors.is_empty()
    }

    /// Whether the request could be allowed once the unknown attributes are known.
    pub fn may_allow(&self) -> bool {
        let has_permit = !self.permits.is_empty() || !self.undetermined_permits.is_empty();
        has_permit && self.forbids.is_empty() && self.errors.is_empty()
    }

    /// Whether the request is allowed whatever the unknown attributes are.
    pub fn is_allow_regardless(&self) -> bool {
        self.is_allow() && self.undetermined_forbids.is_empty()
    }

    /// The forbids marked `@mode("enforce")` that are satisfied, or that could not be evaluated.
    pub fn always_enforced(&self) -> impl Iterator<Item = &Arc<PolicyInfo>> {
        let failed = self.errors.iter().map(|error| &error.policy);
        let forbids = self.forbids.iter().chain(failed);
        forbids.filter(|policy| policy.is_always_enforced && policy.is_forbid)
    }

    /// Those, and the forbids with the mark that depend on what is not known.
    pub fn may_be_always_enforced(&self) -> impl Iterator<Item = &Arc<PolicyInfo>> {
        let open = self.undetermined_forbids.iter();
        self.always_enforced()
            .chain(open.filter(|policy| policy.is_always_enforced))
    }

    /// The shadow policies that would have changed the decision, had they been enforced.
    pub fn shadow_flips(&self) -> &[Arc<PolicyInfo>] {
        if self.is_allow() {
            &self.shadow_forbids
        } else if self.forbids.is_empty()
            && self.errors.is_empty()
            && self.shadow_forbids.is_empty()
        {
            &self.shadow_permits
        } else {
            &[]
        }
    }

    /// Puts a policy into the list that its outcome says.
    pub(crate) fn count(&mut self, compiled: &CompiledPolicy, outcome: PolicyOutcome) {
        let info = &compiled.info;
        let list = match (outcome, info.is_shadow, info.is_forbid) {
            (Ok(Outcome::Unsatisfied), _, _) => return,
            (Ok(Outcome::Satisfied), false, false) => &mut self.permits,
            (Ok(Outcome::Satisfied), false, true) => &mut self.forbids,
            (Ok(Outcome::Satisfied), true, false) => &mut self.shadow_permits,
            (Ok(Outcome::Satisfied) | Err(_), true, _) => &mut self.shadow_forbids,
            (Err(message), false, _) => {
                self.errors.push(PolicyError {
                    policy: Arc::clone(info),
                    message,
                });
                return;
            }
            (Ok(Outcome::Undetermined), false, false) => &mut self.undetermined_permits,
            // A forbid that may or may not apply decides nothing yet.
            (Ok(Outcome::Undetermined), false, true) => &mut self.undetermined_forbids,
            (Ok(Outcome::Undetermined), true, _) => return,
        };
        list.push(Arc::clone(info));
    }
}

/// The outcome of one policy, or why it could not be evaluated.
pub(crate) type PolicyOutcome = Result<Outcome, String>;

/// The outcome of one policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Satisfied,
    Unsatisfied,
    /// It reads what is not known yet.
    Undetermined,
}

//! What a party may do with a tool: always, never, or under conditions.

use std::sync::Arc;

use callgate_engine::cedar::Expr;
use serde::Serialize;
use smol_str::SmolStr;

/// What holds for all calls of one tool by the same parties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Every call is denied.
    Never,
    /// Some calls may be allowed.
    Conditional,
    /// Every call is allowed.
    Always,
}

/// What is decided on all calls of one tool by the same parties, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "access", rename_all = "lowercase")]
pub enum Outcome {
    /// Every call is denied.
    Never {
        /// Why, first of the subject, then of those for whom it acts.
        because: Vec<Denial>,
    },
    /// A call is allowed if the conditions of all principals hold, and denied otherwise.
    Conditional {
        /// Whether a call is denied unless a person approved it.
        needs_approval: bool,
        /// The conditions of each principal that has any.
        principals: Vec<PrincipalConditions>,
    },
    /// Every call is allowed.
    Always,
}

/// Why every call is denied.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Denial {
    /// The code of the reason, e.g. `NO_PERMIT`.
    pub code: &'static str,
    /// A sentence.
    pub message: String,
    /// The principal that is denied, if the reason is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The policies that forbid, or that cannot be evaluated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<SmolStr>,
}

/// What has to hold for one principal to be allowed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrincipalConditions {
    /// The principal.
    pub principal: String,
    /// At least one of these has to hold. Empty if another permit holds in every call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<Residual>,
    /// None of these may hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub none_of: Vec<Residual>,
    /// Permits that need not hold but have to be evaluated without an error. Those of `any_of` are among them where it has several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub no_error_in: Vec<Residual>,
}

/// What is left of a policy: a condition on the context of the call.
#[derive(Debug, Clone, Serialize)]
pub struct Residual {
    /// The id of the policy.
    pub policy: SmolStr,
    /// The `@reason` of the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// What has to hold, in words: the condition of a permit, the contrary of that of a forbid.
    pub words: String,
    /// The condition as a Cedar expression.
    pub cedar: String,
    /// Whether evaluating it may end in an error, which denies the call.
    pub may_fail: bool,
    /// The condition.
    #[serde(skip)]
    pub condition: Arc<Expr>,
}

impl Outcome {
    /// What holds for all calls.
    pub fn access(&self) -> Access {
        match self {
            Self::Never { .. } => Access::Never,
            Self::Conditional { .. } => Access::Conditional,
            Self::Always => Access::Always,
        }
    }

    /// Whether two outcomes, each for another root of the delegation, differ in nothing but that root.
    pub fn is_same_but_for_root(
        &self,
        root: Option<&str>,
        other: &Self,
        other_root: Option<&str>,
    ) -> bool {
        let is_same = |one: Option<&str>, other: Option<&str>| {
            one == other || (one.is_some() && one == root && other == other_root)
        };
        if self.needs_approval() != other.needs_approval() {
            return false;
        }
        match (self, other) {
            (Self::Always, Self::Always) => true,
            (Self::Never { because: one }, Self::Never { because: other }) => {
                let pairs = || one.iter().zip(other);
                one.len() == other.len()
                    && pairs().all(|(one, other)| {
                        is_same(one.principal.as_deref(), other.principal.as_deref())
                            && (one.code, &one.message, &one.policies)
                                == (other.code, &other.message, &other.policies)
                    })
            }
            (
                Self::Conditional {
                    principals: one, ..
                },
                Self::Conditional {
                    principals: other, ..
                },
            ) => {
                one.len() == other.len()
                    && one.iter().zip(other).all(|(one, other)| {
                        is_same(Some(&one.principal), Some(&other.principal))
                            && (&one.any_of, &one.none_of, &one.no_error_in)
                                == (&other.any_of, &other.none_of, &other.no_error_in)
                    })
            }
            _ => false,
        }
    }

    /// Whether a call is denied unless a person approved it.
    pub fn needs_approval(&self) -> bool {
        matches!(
            self,
            Self::Conditional {
                needs_approval: true,
                ..
            }
        )
    }
}

impl PartialEq for Residual {
    fn eq(&self, other: &Self) -> bool {
        self.policy == other.policy && self.cedar == other.cedar
    }
}

impl Access {
    /// `always`, `conditional` or `never`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Conditional => "conditional",
            Self::Never => "never",
        }
    }
}

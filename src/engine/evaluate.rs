//! One request against one snapshot.

use std::sync::Arc;

use cedar_policy_core::ast::{Context, EntityUID, Value};
use smol_str::SmolStr;

use crate::engine::policy::PolicyInfo;
use crate::engine::snapshot::Snapshot;

/// Cedar's question, with what this one request adds to its entities.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// Who.
    pub principal: EntityUID,
    /// Does what.
    pub action: EntityUID,
    /// To what.
    pub resource: EntityUID,
    /// Under which circumstances.
    pub context: Context,
    /// Entities known to this request only, and additions to stored ones.
    pub overlays: &'a [Overlay],
}

/// What one request adds to an entity. It never replaces anything: a stored attribute or tag wins.
#[derive(Debug, Clone)]
pub struct Overlay {
    /// Which entity.
    pub uid: EntityUID,
    /// Further parents.
    pub parents: Vec<EntityUID>,
    /// Attributes, where the stored entity has none of that name.
    pub attributes: Vec<(SmolStr, Value)>,
    /// Tags, where the stored entity has none of that name.
    pub tags: Vec<(SmolStr, Value)>,
}

/// What the policies say. Policies in `@mode("shadow")` appear in the `shadow` lists only.
#[derive(Debug, Clone, Default)]
pub struct Evaluation {
    /// Satisfied permits.
    pub permits: Vec<Arc<PolicyInfo>>,
    /// Satisfied forbids.
    pub forbids: Vec<Arc<PolicyInfo>>,
    /// Policies that could not be evaluated.
    pub errors: Vec<PolicyError>,
    /// Satisfied shadow permits.
    pub shadow_permits: Vec<Arc<PolicyInfo>>,
    /// Satisfied shadow forbids, and shadow policies that could not be evaluated.
    pub shadow_forbids: Vec<Arc<PolicyInfo>>,
    /// How many policies were evaluated.
    pub policies_evaluated: u32,
    /// How many entities the request could see.
    pub entities_in_slice: u32,
}

/// A policy that could not be evaluated.
#[derive(Debug, Clone)]
pub struct PolicyError {
    /// Which.
    pub policy: Arc<PolicyInfo>,
    /// Cedar's message.
    pub message: String,
    /// The attribute that was not there, if that was it.
    pub missing_attribute: Option<SmolStr>,
}

/// Why a request is not one that the schema knows.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RequestFault {
    /// Attributes that the action's context requires, as paths.
    #[error("the context lacks {}", .0.join(", "))]
    ContextMissing(Vec<String>),
    /// Something else, e.g. a principal type the action does not apply to.
    #[error("{0}")]
    Invalid(String),
}

impl Evaluation {
    /// Callgate's rule: some permit, no forbid, no error.
    pub fn is_allow(&self) -> bool {
        !self.permits.is_empty() && self.forbids.is_empty() && self.errors.is_empty()
    }
}

impl Snapshot {
    /// Checks a request against the schema; without a schema every request is fine.
    pub fn check(&self, query: &Query<'_>) -> Result<(), RequestFault> {
        let _ = query;
        todo!()
    }

    /// Evaluates every policy that can apply.
    pub fn evaluate(&self, query: &Query<'_>) -> Evaluation {
        let _ = query;
        todo!()
    }
}

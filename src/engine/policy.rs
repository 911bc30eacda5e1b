//! What is known of a policy besides its condition: its name, its owner and its annotations.

use std::sync::Arc;

use smol_str::SmolStr;

/// A policy's identity and annotations, made once at load and shared by every answer that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyInfo {
    /// Its id in the policy set.
    pub id: SmolStr,
    /// Who answers for it (`@owner`).
    pub owner: Option<Arc<str>>,
    /// The controls it implements (`@controls`, separated by commas).
    pub controls: Vec<Arc<str>>,
    /// The sentence an agent sees (`@reason`).
    pub reason: Option<Arc<str>>,
    /// What the gateway must do (`@obligation`, separated by commas).
    pub obligations: Vec<Arc<str>>,
    /// `@mode("shadow")`: evaluated and reported, never enforced.
    pub is_shadow: bool,
    /// Permit or forbid.
    pub is_forbid: bool,
}

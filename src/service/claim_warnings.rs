//! Warns once for each mapped claim that a token lacks.
//!
//! A misspelled name in `[[claims.groups]]` gives nobody a group and is no error: without a warning nobody would know
//! why calls are denied.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value as Json};

use crate::config::claims::ClaimMapping;
use crate::domain::request::call_context::CallContext;
use crate::domain::request::claims;

/// The mapped claims of one bundle, each with whether a warning was logged.
#[derive(Debug, Default)]
pub struct ClaimWarnings {
    told: Vec<AtomicBool>,
}

impl ClaimWarnings {
    /// No warning logged yet.
    pub fn new(mapping: &ClaimMapping) -> Self {
        Self {
            told: mapping.named().map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// Logs each mapped claim that the token of a call lacks, the first time that happens.
    pub fn warn_missing(&self, mapping: &ClaimMapping, call: &CallContext, caller: &str) {
        let Some(token) = token_of(call) else {
            return;
        };
        for ((field, name), told) in mapping.named().zip(&self.told) {
            if !told.load(Ordering::Relaxed)
                && claims::find(token, name).is_none()
                && !told.swap(true, Ordering::Relaxed)
            {
                tracing::warn!(
                    caller,
                    field,
                    claim = name,
                    "a token has no claim of the name that `[[claims]]` maps; told once, look whether the name is right"
                );
            }
        }
    }
}

/// The claims of the token: those about the root, or about a subject that acts for itself. Claims about an actor alone
/// may well lack most of the mapped ones.
fn token_of(call: &CallContext) -> Option<&Map<String, Json>> {
    let token = match &call.actor_chain {
        Some(delegation) => delegation.root_claims()?,
        None => &call.subject.claims,
    };
    (!token.is_empty()).then_some(token)
}

#[cfg(test)]
#[path = "claim_warnings_tests.rs"]
mod tests;

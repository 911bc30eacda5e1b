//! Being built.
#![allow(missing_docs, unused)]
use crate::call::live::usage::Usage;
use crate::state::store::{StoreError, StoredUsage, Write};
use cedar_policy_core::ast::EntityUID;
use std::time::SystemTime;
pub struct UsageLedger;
impl UsageLedger {
    pub fn new(capacity: usize) -> Self {
        Self
    }
    pub fn view(&self, actor: &EntityUID, tool: Option<&EntityUID>, now: SystemTime) -> Usage {
        Usage::default()
    }
    pub fn allowed(&self, actor: &EntityUID, tool: Option<&EntityUID>, now: SystemTime) -> bool {
        true
    }
    pub fn forget(&self, before: SystemTime) {}
    pub fn denied(&self, actor: &EntityUID, now: SystemTime) {}
    pub fn dirty(&self) -> Vec<Write> {
        Vec::new()
    }
    pub fn restore(&self, stored: Vec<StoredUsage>) -> Result<(), StoreError> {
        Ok(())
    }
}

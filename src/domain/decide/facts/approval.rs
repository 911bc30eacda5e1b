//! `context.approval`.

use std::time::SystemTime;

use callgate_engine::cedar::{Context, EntityUID};
use callgate_engine::{AttributeRef, ContextSource, collect_context};

use crate::domain::authority::approval::Approval;
use crate::domain::decide::facts::values::number;

/// The context attribute of an approval.
pub const APPROVAL: &str = "approval";

/// `context.approval`.
#[derive(Debug, Clone, Copy)]
pub struct ApprovalFacts<'c> {
    /// The user who approved.
    pub approver: &'c EntityUID,
    /// The age of the approval in seconds.
    pub age_seconds: i64,
}

impl<'c> ApprovalFacts<'c> {
    /// The facts of an approval; `None` if it is not decided.
    pub fn from_approval(approval: &'c Approval, now: SystemTime) -> Option<Self> {
        let word = approval.word.as_ref()?;
        let age = now.duration_since(word.at).unwrap_or_default();
        Some(Self {
            approver: &word.by,
            age_seconds: number(age.as_secs()),
        })
    }
}

impl ContextSource for ApprovalFacts<'_> {
    fn attribute(&self, name: &str) -> Option<AttributeRef<'_>> {
        Some(match name {
            "approver" => AttributeRef::Entity(self.approver),
            "age_seconds" => AttributeRef::Long(self.age_seconds),
            _ => return None,
        })
    }

    fn to_context(&self) -> Context {
        collect_context(self, &["approver", "age_seconds"])
    }
}

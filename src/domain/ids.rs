//! Ids of what is stored and asked about, each kind a type of its own: the compiler refuses the id of a task where
//! that of a delegation is wanted.
//!
//! ```compile_fail,E0308
//! use callgate::domain::ids::{DelegationId, TaskId};
//!
//! fn revoke(_: &DelegationId) {}
//! revoke(&TaskId::from("task-1"));
//! ```
//!
//! All are texts, and stand in databases, records and on the wire as those. What a caller may send as an id is checked
//! by the adapters; from there on it has its type. A clone allocates nothing. Ids compare, hash and sort like their
//! texts, so that maps of ids are also searched with a text that is not known to be an id. The default is the empty id,
//! which sorts before all others.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

#[cfg(test)]
#[path = "ids_tests.rs"]
mod tests;

/// Declares types of ids over texts.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(SmolStr);

        impl $name {
            /// The id with this text.
            pub fn new(text: impl Into<SmolStr>) -> Self {
                Self(text.into())
            }

            /// The id with a text of the program.
            pub const fn new_static(text: &'static str) -> Self {
                Self(SmolStr::new_static(text))
            }

            /// The text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text of the id, shared with it.
            pub fn text(&self) -> &SmolStr {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, text: &str) -> bool {
                self.0 == *text
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, text: &&str) -> bool {
                self.0 == **text
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl From<SmolStr> for $name {
            fn from(text: SmolStr) -> Self {
                Self(text)
            }
        }

        impl From<$name> for SmolStr {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    )+};
}

ids! {
    /// The id of a session: the calls of one conversation.
    SessionId;
    /// The id of a task.
    TaskId;
    /// The id of a stored delegation.
    DelegationId;
    /// The id of an approval.
    ApprovalId;
    /// The digest of one call, `sha256:<hex>`: what an approval and a challenge are for.
    CallDigest;
    /// The id of a budget in calls: of a task, or of one tool in a task.
    BudgetId;
    /// The id of the archive of a published bundle, `sha256:<hex>` of its manifest.
    BundleId;
    /// The id of a server's membership among those that share a store.
    MemberId;
}

impl BudgetId {
    /// The budget of a task.
    pub fn of_task(task: &TaskId) -> Self {
        Self(task.0.clone())
    }

    /// The budget of a tool in a task: `<task>/<tool>`.
    pub fn of_tool(task: &TaskId, tool: &str) -> Self {
        Self(format_smolstr!("{task}/{tool}"))
    }

    /// Whether it is the budget of one of these tasks, or of a tool in one of them.
    pub fn is_within(&self, tasks: &HashSet<TaskId>) -> bool {
        let task = self.0.split('/').next().unwrap_or_default();
        tasks.contains(task) || tasks.contains(self.as_str())
    }
}

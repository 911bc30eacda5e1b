//! Definitions of tools that are not the pinned ones, as servers showed them last.
//!
//! A gateway that passes lists on sees what a server says of its tools; a gateway that passes a call on does
//! not. So what a list shows is kept until another list shows the pinned definition again, and calls in
//! between are held against it. Only what differs is kept: usually there is nothing to look through.
//! Nothing of this outlives the process, as the next list tells it anew.

use std::sync::Arc;

use arc_swap::ArcSwap;
use cedar_policy_core::ast::EntityUID;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smol_str::SmolStr;

/// Digests of definitions by tool.
#[derive(Debug, Default)]
pub struct Definitions(ArcSwap<HashMap<EntityUID, SmolStr, RandomState>>);

impl Definitions {
    /// What was shown last of a tool, if that was not the pinned definition.
    pub fn of(&self, tool: &EntityUID) -> Option<SmolStr> {
        self.0.load().get(tool).cloned()
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.0.load().is_empty()
    }

    /// A list has shown this definition of a registered tool, and whether it is the pinned one.
    pub fn shown(&self, tool: &EntityUID, digest: &SmolStr, is_pinned: bool) {
        let known = self.of(tool);
        let is_known = match &known {
            None => is_pinned,
            Some(known) => !is_pinned && known == digest,
        };
        if is_known {
            return;
        }
        self.0.rcu(|all| {
            let mut all = HashMap::clone(all);
            match is_pinned {
                true => all.remove(tool),
                false => all.insert(tool.clone(), digest.clone()),
            };
            Arc::new(all)
        });
    }
}

#[cfg(test)]
mod tests;

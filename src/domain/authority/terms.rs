//! What whoever opened a task has said of single tools, and which places they have named.
//!
//! A scope says which calls belong to a task. [`ToolUse`] says what one of its tools is for: which targets, which values of
//! its arguments, how many calls. [`KnownPlace`] is a place that the person has named: to read from it, to send to it, or
//! both. One is not the other: who was told to read a page was not told to write to whoever owns it.

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use smol_str::{SmolStr, format_smolstr};

use crate::domain::authority::form;
use crate::domain::authority::scope::is_within;
use crate::domain::request::canonical;
use crate::domain::request::target::Target;

/// What a task says beyond its scope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskTerms {
    /// What single tools are for, each tool once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<ToolUse>,
    /// Places that the person has named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<KnownResource>,
}

/// What one tool may be used for in a task. A call of it has to fit every part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolUse {
    /// The tool.
    #[serde(with = "form::uid")]
    pub tool: EntityUID,
    /// What it may act upon, each with everything within it. Empty: anything.
    #[serde(with = "form::uids", default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<EntityUID>,
    /// Which values these arguments may have. Arguments that are not named may have any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<AllowedValues>,
    /// How many calls of it may be allowed; `None` without a limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u64>,
}

/// The values that one argument may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowedValues {
    /// The outermost name of the argument.
    pub argument: SmolStr,
    /// The values, as canonical JSON.
    pub values: Vec<SmolStr>,
}

/// A place that the person has named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownResource {
    /// The place, with everything within it.
    #[serde(with = "form::uid")]
    pub place: EntityUID,
    /// Whether it may be read from.
    pub read: bool,
    /// Whether something may be sent or written there.
    pub send: bool,
}

/// Which way something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowDirection {
    /// From a place.
    Read,
    /// To it.
    Send,
}

/// Why a call is not what its tool is for. The text stands for itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// A target that is not named.
    #[error("`{tool}` is not for acting upon `{target}`")]
    Target {
        /// The tool.
        tool: SmolStr,
        /// What it would act upon.
        target: SmolStr,
    },
    /// Acting upon nothing in particular, where targets are named.
    #[error("`{0}` is for some targets only, and the call names none")]
    NoTarget(SmolStr),
    /// An argument with a value that is not named, or none.
    #[error("`{tool}` is for other values of argument `{argument}`")]
    Argument {
        /// The tool.
        tool: SmolStr,
        /// The argument.
        argument: SmolStr,
    },
}

impl TaskTerms {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.uses.is_empty() && self.places.is_empty()
    }

    /// What is said of a tool.
    pub fn of(&self, tool: &EntityUID) -> Option<&ToolUse> {
        self.uses.iter().find(|it| it.tool == *tool)
    }

    /// Whether a place, or one that contains it, was named for this way.
    pub fn knows(
        &self,
        snapshot: &Snapshot,
        way: FlowDirection,
        place: &EntityUID,
        containing: &[EntityUID],
    ) -> bool {
        let mut named = self.places.iter().filter(|named| match way {
            FlowDirection::Read => named.read,
            FlowDirection::Send => named.send,
        });
        named.any(|named| is_within(snapshot, place, &named.place, containing))
    }
}

impl ToolUse {
    /// Whether a call of the tool is what it is for.
    pub fn covers(
        &self,
        snapshot: &Snapshot,
        targets: &[Target],
        arguments: &Map<String, Json>,
    ) -> Result<(), TermsError> {
        let tool = || id(&self.tool);
        if !self.targets.is_empty() {
            if targets.is_empty() {
                return Err(TermsError::NoTarget(tool()));
            }
            let is_named = |target: &&Target| {
                let (uid, containing) = (target.uid(), &target.overlay.parents);
                let mut named = self.targets.iter();
                !named.any(|whole| is_within(snapshot, uid, whole, containing))
            };
            if let Some(target) = targets.iter().find(is_named) {
                return Err(TermsError::Target {
                    tool: tool(),
                    target: id(target.uid()),
                });
            }
        }
        for named in &self.arguments {
            let given = arguments.get(named.argument.as_str());
            let given = given.map(|value| SmolStr::from(canonical::text(value)));
            if given.is_none_or(|given| !named.values.contains(&given)) {
                return Err(TermsError::Argument {
                    tool: tool(),
                    argument: named.argument.clone(),
                });
            }
        }
        Ok(())
    }

    /// Under which name its calls are counted.
    pub fn counter(&self, task: &SmolStr) -> SmolStr {
        let tool: &str = self.tool.eid().as_ref();
        format_smolstr!("{task}/{tool}")
    }
}

fn id(uid: &EntityUID) -> SmolStr {
    let id: &str = uid.eid().as_ref();
    SmolStr::new(id)
}

#[cfg(test)]
#[path = "terms_tests.rs"]
mod tests;

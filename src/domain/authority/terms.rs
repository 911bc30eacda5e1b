//! Terms of a task: what single tools are for, and which resources the user has named.
//!
//! The scope says which calls belong to a task. [`ToolUse`] restricts one tool: its targets, argument values
//! and number of calls, or says that its target is not known beforehand. [`KnownResource`] is a resource that the user named as a source, a destination or
//! both. The directions are separate: a user who asks to read a page has not asked to send anything to its
//! owner.

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::domain::authority::form;
use crate::domain::authority::scope::is_within;
use crate::domain::ids::{BudgetId, TaskId};
use crate::domain::registration::RegisteredTool;
use crate::domain::request::canonical;
use crate::domain::request::target::Target;
use crate::domain::request::target::argument::{ArgumentPath, PathStep, TargetArgument};
use crate::domain::request::target::extract;

/// The maximum length of a target that was not known beforehand, in bytes: that of a mail address (RFC 5321).
const MAX_OPEN_TARGET: usize = 254;

/// The terms of a task, beyond its scope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskTerms {
    /// What single tools are for, each tool once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<ToolUse>,
    /// The resources that the user has named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<KnownResource>,
}

/// What a tool may be used for in a task. A call has to match every part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolUse {
    /// The tool.
    #[serde(with = "form::uid")]
    pub tool: EntityUID,
    /// The allowed targets, each with everything it contains. Empty: any target.
    #[serde(with = "form::uids", default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<EntityUID>,
    /// The allowed values of arguments. Arguments not listed may have any value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<AllowedValues>,
    /// The maximum number of allowed calls; `None` for no limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u64>,
    /// Whether the target is not known beforehand: each call may have any one, and no argument besides it that
    /// is not listed. Requires `arguments` and `max_calls`, and excludes `targets`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any_target: bool,
}

/// The allowed values of an argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowedValues {
    /// The name of the argument, at the top level.
    pub argument: SmolStr,
    /// The values, as canonical JSON.
    pub values: Vec<SmolStr>,
}

/// A resource that the user has named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownResource {
    /// The resource, with everything it contains.
    #[serde(with = "form::uid")]
    pub place: EntityUID,
    /// Whether it may be read from.
    pub read: bool,
    /// Whether data may be sent or written to it.
    pub send: bool,
}

/// A direction of data flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowDirection {
    /// From a resource.
    Read,
    /// To a resource.
    Send,
}

/// Why a call violates the terms of its tool, as a clause of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// A target that is not allowed.
    #[error("`{tool}` is not for acting upon `{target}`")]
    Target {
        /// The tool.
        tool: SmolStr,
        /// The target.
        target: SmolStr,
    },
    /// No target, where the terms restrict targets.
    #[error("`{0}` is for some targets only, and the call names none")]
    NoTarget(SmolStr),
    /// An argument that is missing or has a value that is not allowed.
    #[error("`{tool}` is for other values of argument `{argument}`")]
    Argument {
        /// The tool.
        tool: SmolStr,
        /// The argument.
        argument: SmolStr,
    },
    /// An argument that is not listed, where the target is not known beforehand.
    #[error("`{tool}` is for any target, but not with argument `{argument}`")]
    Unlisted {
        /// The tool.
        tool: SmolStr,
        /// The argument.
        argument: SmolStr,
    },
    /// Not exactly one target, where it is not known beforehand.
    #[error("`{0}` is for any one target, and the call names none or several")]
    NotOneTarget(SmolStr),
    /// More than a target, where it is not known beforehand.
    #[error("`{0}` is for any target, and the call says more than its name")]
    MoreThanTarget(SmolStr),
    /// Something goes back to the server with the call, where the target is not known beforehand.
    #[error("`{0}` is for any target, and not with what goes back to a server that asked")]
    GoesBack(SmolStr),
}

impl TaskTerms {
    /// Whether there are no terms.
    pub fn is_empty(&self) -> bool {
        self.uses.is_empty() && self.places.is_empty()
    }

    /// Whether the target of any tool is not known beforehand.
    pub fn has_any_target(&self) -> bool {
        self.uses.iter().any(|it| it.any_target)
    }

    /// Whether the targets of any tool are named.
    pub fn has_targets(&self) -> bool {
        self.uses.iter().any(|it| !it.targets.is_empty())
    }

    /// The terms of a tool.
    pub fn for_tool(&self, tool: &EntityUID) -> Option<&ToolUse> {
        self.uses.iter().find(|it| it.tool == *tool)
    }

    /// Whether the user named a resource, or one that contains it, for this direction.
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
    /// Verifies that a call of the tool matches the terms. `registered` is the tool's registration, `goes_back` whether the call
    /// brings something back to a server that has asked: responses, or its own state.
    ///
    /// # Errors
    ///
    /// The first part of the terms that it violates.
    pub fn covers(
        &self,
        snapshot: &Snapshot,
        registered: Option<&RegisteredTool>,
        targets: &[Target],
        arguments: &Map<String, Json>,
        goes_back: bool,
    ) -> Result<(), TermsError> {
        if self.any_target {
            self.covers_open_target(registered, targets, arguments)?;
            if goes_back {
                return Err(TermsError::GoesBack(id(&self.tool)));
            }
        }
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

    /// The target arguments of the tool that are left open: at the top level, and not listed.
    pub fn open_arguments(&self, registered: &RegisteredTool) -> Vec<TargetArgument> {
        let targets = registered.target_arguments.iter().flatten();
        let is_open = |it: &&TargetArgument| top_level(&it.place).is_some_and(|it| !self.lists(it));
        targets.filter(is_open).cloned().collect()
    }

    fn lists(&self, argument: &str) -> bool {
        self.arguments.iter().any(|it| it.argument == argument)
    }

    /// Verifies that a call has exactly one target in the open arguments, and nothing else that is not listed.
    /// What the call carries to that target is then what the terms list, and its name.
    fn covers_open_target(
        &self,
        registered: Option<&RegisteredTool>,
        all: &[Target],
        arguments: &Map<String, Json>,
    ) -> Result<(), TermsError> {
        let open = registered.map(|it| self.open_arguments(it));
        let open = open.unwrap_or_default();
        let is_open = |name: &str| open.iter().any(|it| top_level(&it.place) == Some(name));
        let mut names = arguments.keys();
        if let Some(name) = names.find(|name| !self.lists(name) && !is_open(name)) {
            return Err(TermsError::Unlisted {
                tool: id(&self.tool),
                argument: SmolStr::from(name),
            });
        }
        let name: &str = self.tool.eid().as_ref();
        let server = name.split('/').next().unwrap_or_default();
        match extract::targets(server, &open, arguments, 1) {
            Ok(targets) if targets.len() == 1 => {}
            _ => return Err(TermsError::NotOneTarget(id(&self.tool))),
        }
        // A gateway may state what the arguments name, and nothing else.
        let known = registered.and_then(|it| it.target_arguments.as_ref().ok());
        let known = known.map_or(&[][..], Vec::as_slice);
        let named = extract::targets(server, known, arguments, all.len()).unwrap_or_default();
        let is_named = |target: &Target| named.iter().any(|it| it.uid() == target.uid());
        if !all.iter().all(is_named) {
            return Err(TermsError::NotOneTarget(id(&self.tool)));
        }
        let given = arguments.iter().filter(|(name, _)| is_open(name));
        if given.map(|(_, value)| value).all(is_bare) {
            return Ok(());
        }
        Err(TermsError::MoreThanTarget(id(&self.tool)))
    }

    /// The id of the budget in calls of the tool.
    pub fn budget_id(&self, task: &TaskId) -> BudgetId {
        BudgetId::of_tool(task, self.tool.eid().as_ref())
    }
}

/// The name of an argument at the top level that is a target itself, or a list of targets.
fn top_level(place: &ArgumentPath) -> Option<&str> {
    match place.steps().split_first() {
        Some((PathStep::Member(name), rest)) if !rest.iter().any(|it| *it != PathStep::Items) => {
            Some(name)
        }
        _ => None,
    }
}

/// Whether a value is a target and no more: a display name before a mail address is free text.
fn is_bare(value: &Json) -> bool {
    match value {
        Json::String(text) => text.len() <= MAX_OPEN_TARGET && !text.contains('<'),
        Json::Array(items) => items.len() <= 1 && items.iter().all(is_bare),
        Json::Number(_) | Json::Null => true,
        Json::Bool(_) | Json::Object(_) => false,
    }
}

fn id(uid: &EntityUID) -> SmolStr {
    let id: &str = uid.eid().as_ref();
    SmolStr::new(id)
}

#[cfg(test)]
#[path = "terms_tests.rs"]
mod tests;

//! Which calls a delegation or a task covers.

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;
use serde::{Deserialize, Serialize};

use crate::domain::authority::form;
use crate::domain::request::target::{self, Target};
use crate::domain::schema::{AccessLevel, TYPES};

/// Which calls something covers. A call has to fit every part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Single tools, as `Mcp::Tool`.
    #[serde(with = "form::uids", default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<EntityUID>,
    /// Everything of these servers, as `Mcp::Server`.
    #[serde(with = "form::uids", default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<EntityUID>,
    /// Every tool and server in these groups, as `Mcp::Group`.
    #[serde(with = "form::uids", default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<EntityUID>,
    /// The most a call may do.
    pub access: AccessLevel,
    /// The places a call may act upon, as `Mcp::Resource`, each with everything within it. Empty: any.
    #[serde(with = "form::uids", default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<EntityUID>,
}

/// What a call reaches for, as far as scopes look at it.
#[derive(Debug, Clone, Copy)]
pub struct RequestedAccess<'a> {
    /// The tool of a tool call.
    pub tool: Option<&'a EntityUID>,
    /// The server concerned.
    pub server: &'a EntityUID,
    /// What it can do; looking at lists and material is reading.
    pub access: AccessLevel,
    /// What it acts upon; `None` while nobody knows.
    pub targets: Option<&'a [Target]>,
}

/// Why a call, or a narrower scope, is not covered. The text completes "… does not cover".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// A tool that is not named.
    #[error("tool `{0}`")]
    Tool(String),
    /// A server that is not named.
    #[error("server `{0}`")]
    Server(String),
    /// A group that is not named.
    #[error("group `{0}`")]
    Group(String),
    /// Doing more than reading, or more than writing.
    #[error("calls that {}", verb(*.0))]
    Access(AccessLevel),
    /// A place that is not named.
    #[error("acting upon `{0}`")]
    Target(String),
    /// Acting upon nothing in particular, where only some places are covered.
    #[error("calls without a target")]
    NoTarget,
}

fn verb(access: AccessLevel) -> &'static str {
    match access {
        AccessLevel::Read => "read",
        AccessLevel::Write => "write",
        AccessLevel::Admin => "administer",
    }
}

impl Scope {
    /// Whether a call fits.
    pub fn covers(
        &self,
        snapshot: &Snapshot,
        reach: &RequestedAccess<'_>,
    ) -> Result<(), ScopeError> {
        if !self.covers_thing(snapshot, reach) {
            return Err(match reach.tool {
                Some(tool) => ScopeError::Tool(name(tool)),
                None => ScopeError::Server(name(reach.server)),
            });
        }
        if reach.access > self.access {
            return Err(ScopeError::Access(reach.access));
        }
        let Some(targets) = reach.targets.filter(|_| !self.targets.is_empty()) else {
            return Ok(());
        };
        // A scope of places says nothing of listing what there is; a call has to name its place.
        if targets.is_empty() && reach.tool.is_some() {
            return Err(ScopeError::NoTarget);
        }
        let outside = targets
            .iter()
            .find(|it| !self.covers_place(snapshot, it.uid(), &it.overlay.parents));
        outside.map_or(Ok(()), |it| Err(ScopeError::Target(name(it.uid()))))
    }

    /// Whether this scope covers nothing that `wider` does not cover.
    pub fn is_within(&self, snapshot: &Snapshot, wider: &Self) -> Result<(), ScopeError> {
        let named = |uid: &EntityUID| wider.names(snapshot, uid);
        if let Some(tool) = self.tools.iter().find(|tool| !named(tool)) {
            return Err(ScopeError::Tool(name(tool)));
        }
        if let Some(server) = self.servers.iter().find(|server| !named(server)) {
            return Err(ScopeError::Server(name(server)));
        }
        if let Some(group) = self.groups.iter().find(|group| !named(group)) {
            return Err(ScopeError::Group(name(group)));
        }
        if self.access > wider.access {
            return Err(ScopeError::Access(self.access));
        }
        if wider.targets.is_empty() {
            return Ok(());
        }
        if self.targets.is_empty() {
            return Err(ScopeError::NoTarget);
        }
        let outside = self
            .targets
            .iter()
            .find(|target| !wider.covers_place(snapshot, target, &[]));
        outside.map_or(Ok(()), |target| Err(ScopeError::Target(name(target))))
    }

    /// Whether the tool, or the server, is covered, whatever is done with it. A server of which only some
    /// tools are covered may be looked at, but none of its material be read.
    fn covers_thing(&self, snapshot: &Snapshot, reach: &RequestedAccess<'_>) -> bool {
        match reach.tool {
            Some(tool) => self.names(snapshot, tool),
            None => {
                self.names(snapshot, reach.server)
                    || (reach.targets.is_none_or(<[Target]>::is_empty)
                        && self
                            .tools
                            .iter()
                            .any(|tool| snapshot.is_in(tool, reach.server)))
            }
        }
    }

    /// Whether this entity is named, by itself or as part of something that is.
    pub fn names(&self, snapshot: &Snapshot, uid: &EntityUID) -> bool {
        let list = if *uid.entity_type() == TYPES.tool {
            &self.tools
        } else if *uid.entity_type() == TYPES.server {
            &self.servers
        } else {
            &self.groups
        };
        list.contains(uid)
            || self
                .servers
                .iter()
                .chain(&self.groups)
                .any(|whole| snapshot.is_in(uid, whole))
    }

    /// Whether a place lies in one of the targets; `containing` is what contains it, where only the call knows that.
    fn covers_place(
        &self,
        snapshot: &Snapshot,
        place: &EntityUID,
        containing: &[EntityUID],
    ) -> bool {
        self.targets
            .iter()
            .any(|whole| is_within(snapshot, place, whole, containing))
    }
}

/// Whether a place is another or lies within it, as far as the entities and the names of places tell.
pub(super) fn is_within(
    snapshot: &Snapshot,
    place: &EntityUID,
    whole: &EntityUID,
    containing: &[EntityUID],
) -> bool {
    if target::contains(whole, place) || snapshot.is_in(place, whole) {
        return true;
    }
    containing
        .iter()
        .any(|parent| snapshot.is_in(parent, whole))
}

fn name(uid: &EntityUID) -> String {
    let id: &str = uid.eid().as_ref();
    id.to_owned()
}

#[cfg(test)]
#[path = "scope_tests.rs"]
mod tests;

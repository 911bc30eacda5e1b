//! The scope of a delegation or task: which calls it covers.

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;
use serde::{Deserialize, Serialize};

use crate::domain::authority::form;
use crate::domain::request::target::{self, Target};
use crate::domain::schema::{AccessLevel, TYPES};

/// The calls that a delegation or task covers. A call has to match every part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Tools, as `Mcp::Tool`.
    #[serde(with = "form::uids", default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<EntityUID>,
    /// Servers with all their tools, as `Mcp::Server`.
    #[serde(with = "form::uids", default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<EntityUID>,
    /// Groups with all their tools and servers, as `Mcp::Group`.
    #[serde(with = "form::uids", default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<EntityUID>,
    /// The maximum access level.
    pub access: AccessLevel,
    /// The allowed targets, as `Mcp::Resource`, each with everything it contains. Empty: any target.
    #[serde(with = "form::uids", default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<EntityUID>,
}

/// The access that a call requests, compared with scopes.
#[derive(Debug, Clone, Copy)]
pub struct RequestedAccess<'a> {
    /// The tool of a tool call.
    pub tool: Option<&'a EntityUID>,
    /// The server.
    pub server: &'a EntityUID,
    /// The access level needed; lists, resources and prompts need `read`.
    pub access: AccessLevel,
    /// Whether it is no tool call, and authority for some of the server's tools is enough for it.
    pub is_incidental: bool,
    /// The targets; `None` while they are unknown.
    pub targets: Option<&'a [Target]>,
}

/// Why a call or a narrower scope is not covered. The text completes "… does not cover".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// A tool outside the scope.
    #[error("tool `{0}`")]
    Tool(String),
    /// A server outside the scope.
    #[error("server `{0}`")]
    Server(String),
    /// A group outside the scope.
    #[error("group `{0}`")]
    Group(String),
    /// A higher access level.
    #[error("calls that {}", verb(*.0))]
    Access(AccessLevel),
    /// A target outside the scope.
    #[error("acting upon `{0}`")]
    Target(String),
    /// No target, where the scope restricts targets.
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
    /// Verifies that the scope covers the requested access.
    ///
    /// # Errors
    ///
    /// The first part of the scope that does not.
    pub fn covers(
        &self,
        snapshot: &Snapshot,
        access: &RequestedAccess<'_>,
    ) -> Result<(), ScopeError> {
        if !self.covers_tool_or_server(snapshot, access) {
            return Err(match access.tool {
                Some(tool) => ScopeError::Tool(name(tool)),
                None => ScopeError::Server(name(access.server)),
            });
        }
        if access.access > self.access {
            return Err(ScopeError::Access(access.access));
        }
        let Some(targets) = access.targets.filter(|_| !self.targets.is_empty()) else {
            return Ok(());
        };
        // A scope with targets does not restrict what is incidental; whatever else has no target may act upon any.
        if targets.is_empty() && !access.is_incidental {
            return Err(ScopeError::NoTarget);
        }
        let outside = targets
            .iter()
            .find(|it| !self.covers_resource(snapshot, it.uid(), &it.overlay.parents));
        outside.map_or(Ok(()), |it| Err(ScopeError::Target(name(it.uid()))))
    }

    /// Verifies that this scope covers nothing that `wider` does not cover.
    ///
    /// # Errors
    ///
    /// The first part of this scope that is wider.
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
            .find(|target| !wider.covers_resource(snapshot, target, &[]));
        outside.map_or(Ok(()), |target| Err(ScopeError::Target(name(target))))
    }

    /// Whether the scope covers the tool, or the server if there is no tool. A server of which only some
    /// tools are covered may be listed, but neither its resources and prompts nor the results of earlier calls read.
    fn covers_tool_or_server(&self, snapshot: &Snapshot, access: &RequestedAccess<'_>) -> bool {
        match access.tool {
            Some(tool) => self.names(snapshot, tool),
            None => {
                self.names(snapshot, access.server)
                    || (access.is_incidental
                        && self
                            .tools
                            .iter()
                            .any(|tool| snapshot.is_in(tool, access.server)))
            }
        }
    }

    /// Whether the scope includes this entity, itself or by a server or group that contains it.
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

    /// Whether the scope includes a resource; `containing` are its parents known only to the call.
    fn covers_resource(
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

/// Whether `place` is `whole` or lies within it, by the entity hierarchy and by canonical names.
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

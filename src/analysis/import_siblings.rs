//! Servers that list the tools of an imported one, and the groups that they are in: policies about those leave it out.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::analysis::import::ToolImport;
use crate::bundle::parse::registration::{Registration, ToolEntry};

/// A registered server that lists tools with the same definitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SiblingServer {
    /// The server.
    pub server: String,
    /// The groups that it is in, and that the imported server is not in.
    pub groups: Vec<String>,
}

impl ToolImport {
    /// The other registered servers that list a tool of this one, with the groups that they are in and it is not: policies
    /// about those leave it out.
    pub fn siblings<'r>(
        &self,
        others: impl IntoIterator<Item = &'r Registration>,
    ) -> Vec<SiblingServer> {
        let own = &self.registration;
        let digests: BTreeSet<&str> = (own.tools.values())
            .filter_map(|tool| tool.digest.as_deref())
            .collect();
        let lists = |tool: &ToolEntry| {
            let digest = tool.digest.as_deref();
            digest.is_some_and(|it| digests.contains(it))
        };
        let siblings = others
            .into_iter()
            .filter(|it| it.server.name != own.server.name && it.tools.values().any(lists));
        let siblings = siblings.map(|other| SiblingServer {
            server: other.server.name.clone(),
            groups: {
                let groups = other.server.groups.iter();
                let is_missing = |group: &&String| !own.server.groups.contains(group);
                groups.filter(is_missing).cloned().collect()
            },
        });
        siblings.filter(|it| !it.groups.is_empty()).collect()
    }
}

//! `[bundle]`: strictness, and names that are defined outside of the bundle.

use serde::Deserialize;

/// Strictness, and names defined outside of the bundle. Reloaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BundleConfig {
    /// Whether warnings are faults, which keep a bundle out of service.
    pub strict: bool,
    /// Lints of `callgate check` that are not told. The server does not look for lints.
    pub allow: Vec<String>,
    /// Directories below that are bundles of their own: they have their own `callgate.toml`, and nothing in them is read.
    pub apart: Vec<String>,
    /// Names that policies may use without a definition in the bundle.
    pub known: KnownNames,
}

/// Names defined outside of the bundle. `*` matches any text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KnownNames {
    /// Entities, e.g. `Mcp::Tool::"notion/*"`, that are stored through the control API.
    pub entities: Vec<String>,
    /// Labels of sessions.
    pub labels: Vec<String>,
    /// Roles of targets.
    pub roles: Vec<String>,
    /// Methods of identity verification.
    pub methods: Vec<String>,
}

impl KnownNames {
    /// The most names of one list.
    const MAX_NAMES: usize = 1_000;
    /// The longest name, in bytes.
    const MAX_NAME_BYTES: usize = 1_024;

    /// Checks the names; each error with the path of its field.
    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let lists = [
            ("entities", &self.entities),
            ("labels", &self.labels),
            ("roles", &self.roles),
            ("methods", &self.methods),
        ];
        let mut faults = Vec::new();
        for (list, names) in lists {
            let field = format!("bundle.known.{list}");
            let most = Self::MAX_NAMES;
            if names.len() > most {
                faults.push((field, format!("has {} names, at most {most}", names.len())));
                continue;
            }
            for (index, name) in names.iter().enumerate() {
                let longest = Self::MAX_NAME_BYTES;
                let said = if name.is_empty() {
                    "is empty".to_owned()
                } else if name.len() > longest {
                    format!("is longer than {longest} bytes")
                } else if list == "entities" && !is_entity(name) {
                    format!("is `{name}`, but must be an entity such as `Mcp::Tool::\"notion/*\"`")
                } else {
                    continue;
                };
                faults.push((format!("{field}[{index}]"), said));
            }
        }
        faults
    }
}

/// Whether a text has the form of an entity's name: a type, `::` and a text in quotes.
fn is_entity(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let parts = name
        .strip_suffix('"')
        .and_then(|rest| rest.split_once("::\""));
    parts.is_some_and(|(kind, _)| {
        kind.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && kind.chars().all(allowed)
    })
}

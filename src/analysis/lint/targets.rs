//! Arguments that an import would propose as targets, and that a confirmed tool does not have among its own.
//!
//! Only those whose name says of which kind they are, and those to whom something is sent: a path within a remote repository, which has none, may well be no target
//! of its own.

use std::sync::Arc;

use serde_json::json;

use crate::analysis::import_changed::is_same_argument;
use crate::analysis::propose::{self, Prefixes};
use crate::analysis::tool_list;
use crate::bundle::diagnostic::SourceText;
use crate::bundle::parse::registration::{ConfirmationStatus, ToolEntry};

/// The arguments of a confirmed tool with a pinned schema that are no targets, and that a proposal would make targets.
pub(super) fn missing(server: &str, name: &str, tool: &ToolEntry) -> Vec<String> {
    let is_pinned = tool.status == ConfirmationStatus::Confirmed && tool.digest.is_some();
    let Some(schema) = tool.input_schema.as_ref().filter(|_| is_pinned) else {
        return Vec::new();
    };
    let text = json!({"tools": [{"name": name, "inputSchema": schema}]}).to_string();
    let file: Arc<str> = "<registration>".into();
    let origin = SourceText {
        file: &file,
        text: &text,
    };
    // A schema that cannot be read is a fault of the registration.
    let listed = tool_list::parse(origin).unwrap_or_default();
    let prefixes = Prefixes::from_tools(server, &listed);
    let proposed = listed.first().map(|it| propose::propose(it, &prefixes));
    let targets = proposed.map_or_else(Vec::new, |it| it.target_arguments);
    let targets = targets.into_iter();
    let is_recipient = |role: &Option<String>| role.as_deref() == Some("recipient");
    let known = targets.filter(|it| it.kind.is_some() || is_recipient(&it.role));
    let mut names: Vec<String> = known.map(|it| it.argument).collect();
    names.retain(|name| {
        let mut own = tool.target_arguments.iter();
        !own.any(|it| is_same_argument(&it.argument, name))
    });
    names
}

//! Proposes the arguments that name a call's targets.
//!
//! Start at [`propose`]. Every proposal passes [`check`].

use serde_json::Value as Json;

use crate::analysis::propose::places::ArgumentPlace;
use crate::analysis::propose::words::split;
use crate::analysis::tool_list::ListedTool;
use crate::domain::request::target::argument::TargetArgumentForm;
use crate::domain::request::target::check::check;
use crate::domain::request::target::json_schema::{JsonTypes, SchemaLocation};

/// Nesting depth of objects and lists that are inspected.
const MAX_DEPTH: usize = 4;
/// TargetProposals for one tool.
const MAX_PROPOSED: usize = 32;

/// Arguments with a path, alone or in a list.
const PATHS: [&str; 18] = [
    "absolute_path",
    "dir",
    "directories",
    "directory",
    "file",
    "file_path",
    "file_paths",
    "filename",
    "filepath",
    "folder",
    "path",
    "paths",
    "repo_dir",
    "repo_path",
    "target_directory",
    "target_file",
    "target_path",
    "working_directory",
];
/// Arguments with a path to which others are relative.
const BASES: [&str; 6] = [
    "cwd",
    "repo_dir",
    "repo_path",
    "root_path",
    "workdir",
    "working_directory",
];
/// Arguments with a URL.
const URLS: [&str; 5] = ["url", "urls", "webhook", "webhook_url", "target_url"];
/// Arguments with an email address.
const EMAILS: [&str; 4] = ["email", "emails", "email_address", "email_addresses"];
/// Arguments that name a target whose kind is detected from the value, and their roles.
const OTHERS: [(&str, Option<&str>); 12] = [
    ("attendees", Some("recipient")),
    ("bcc", Some("recipient")),
    ("cc", Some("recipient")),
    ("destination", Some("destination")),
    ("invitees", Some("recipient")),
    ("participants", Some("recipient")),
    ("recipient", Some("recipient")),
    ("recipients", Some("recipient")),
    ("resource_uri", None),
    ("source", Some("source")),
    ("uri", None),
    ("uris", None),
];

/// The target arguments that a tool's schema suggests, checked against the reduced schema of the registration.
pub(super) fn propose(tool: &ListedTool) -> Vec<TargetArgumentForm> {
    let top = SchemaLocation::top(&tool.schema);
    let mut proposals = TargetProposals {
        kept: &tool.shape,
        base: base_in(&top),
        is_in_a_repository: ["repo", "repository"]
            .iter()
            .any(|it| top.members().contains(it)),
        list: Vec::new(),
    };
    proposals.look_into(&top, "", 0);
    proposals.list
}

/// The required argument to which other paths are relative, if there is one.
fn base_in(top: &SchemaLocation<'_>) -> Option<String> {
    let names = top.members();
    let mut names = names.into_iter();
    names
        .find(|name| BASES.contains(&split(name).join("_").as_str()) && top.requires(name))
        .map(str::to_owned)
}

struct TargetProposals<'s> {
    kept: &'s Json,
    base: Option<String>,
    /// Whether paths are relative to a remote repository, not to this machine.
    is_in_a_repository: bool,
    list: Vec<TargetArgumentForm>,
}

impl TargetProposals<'_> {
    fn look_into(&mut self, place: &SchemaLocation<'_>, outer: &str, depth: usize) {
        for name in place.members() {
            // Argument paths cannot express empty names and names with these characters.
            if name.is_empty() || name.contains(['.', '[', ']']) || depth > MAX_DEPTH {
                continue;
            }
            let Some(member) = place.member(name, depth == 0) else {
                continue;
            };
            let at = match outer {
                "" => name.to_owned(),
                _ => format!("{outer}.{name}"),
            };
            let types = member.types();
            if types.has(JsonTypes::OBJECT) && types != JsonTypes::ANY {
                self.look_into(&member, &at, depth + 1);
            } else if types.has(JsonTypes::ARRAY) && types != JsonTypes::ANY {
                let items = member.items();
                if items.types().has(JsonTypes::OBJECT) && items.types() != JsonTypes::ANY {
                    self.look_into(&items, &format!("{at}[]"), depth + 1);
                    continue;
                }
            }
            self.consider(name, at, &member);
        }
    }

    fn consider(&mut self, name: &str, argument: String, member: &SchemaLocation<'_>) {
        let items = member.items();
        let has_format = |format: &str| member.has_format(format) || items.has_format(format);
        let parts = split(name);
        let words = parts.join("_");
        let role = OTHERS.iter().find(|(known, _)| *known == words);
        let is_path = PATHS.contains(&words.as_str());
        let is_time = ["date", "date-time", "time"]
            .iter()
            .any(|it| has_format(it));
        let is_text = member.types().has(JsonTypes::STRING)
            || member.types().has(JsonTypes::ARRAY) && items.types().has(JsonTypes::STRING);
        let is_open =
            is_text && !is_time && member.choices().is_none() && items.choices().is_none();
        let place = ArgumentPlace::from_words(&parts).filter(|_| is_open);
        let is_local = !self.is_in_a_repository;
        let kind = if has_format("email") || EMAILS.contains(&words.as_str()) {
            Some("email")
        } else if URLS.contains(&words.as_str()) {
            Some("url")
        } else if is_path {
            is_local.then_some("path")
        } else if role.is_some() {
            None
        } else {
            let told = place.and_then(|place| place.kind);
            told.filter(|kind| is_local || *kind != "path")
        };
        let is_known = kind.is_some() || role.is_some() || is_path || place.is_some();
        if !is_known || self.list.len() >= MAX_PROPOSED {
            return;
        }
        let role = match role {
            Some((_, role)) => *role,
            None if is_path => None,
            None => place.and_then(|place| place.role),
        };
        let base = self
            .base
            .clone()
            .filter(|base| kind == Some("path") && *base != argument);
        let mut written = TargetArgumentForm {
            kind: kind.map(str::to_owned),
            base,
            role: role.map(str::to_owned),
            optional: false,
            argument,
        };
        for is_optional in [false, true] {
            written.optional = is_optional;
            if check(std::slice::from_ref(&written), Some(self.kept)).is_empty() {
                self.list.push(written);
                return;
            }
        }
    }
}

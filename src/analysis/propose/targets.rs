//! Proposes the arguments that name a call's targets.
//!
//! Start at [`propose`]. Every proposal passes [`check`].

use serde_json::Value as Json;

use crate::analysis::propose::formats;
use crate::analysis::propose::lexicon::{
    ADDRESSED, FILE_WORDS, FORGES, MESSAGES, OWNERS, RELATIONS, SPEAKING, WRITING,
};
use crate::analysis::propose::places::ArgumentPlace;
use crate::analysis::propose::schema_walk::{DescribedValue, SchemaWalk};
use crate::analysis::propose::words::{ParsedToolName, split};
use crate::analysis::tool_list::ListedTool;
use crate::domain::request::target::argument::TargetArgumentForm;
use crate::domain::request::target::check::check;
use crate::domain::request::target::json_schema::{JsonTypes, SchemaLocation};
use crate::domain::request::visible::shown;

/// Target arguments of one entry, as a registration may have.
const MAX_PROPOSED: usize = 256;

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

/// The target arguments of a tool.
#[derive(Debug, Default)]
pub(super) struct TargetProposals {
    /// Those that a registration can have, checked against its reduced schema.
    pub(super) list: Vec<TargetArgumentForm>,
    /// An argument that would be one, but that a registration cannot name, and why.
    pub(super) unsaid: Option<String>,
}

/// The target arguments that a tool's schema suggests.
pub(super) fn propose(
    tool: &ListedTool,
    named: &ParsedToolName,
    walk: &SchemaWalk,
) -> TargetProposals {
    let top = SchemaLocation::top(&tool.schema);
    let repository = ["repo", "repository"]
        .into_iter()
        .find(|it| top.requires(it) && top.members().contains(it));
    let is_remote = FORGES.first(&named.with_server).is_some()
        || top
            .members()
            .iter()
            .any(|name| OWNERS.has(&split(name).join("_")) && top.requires(name));
    let is_in_a_repository = repository.is_some() && is_remote;
    let base = repository.filter(|_| !is_remote).map(str::to_owned);
    let says_file =
        |word: &String| FILE_WORDS.has(word) || matches!(word.as_str(), "filesystem" | "fs");
    let mut search = TargetSearch {
        kept: &tool.shape,
        walk,
        base: base_in(&top).or(base),
        is_in_a_repository,
        is_of_files: named.with_server.iter().any(says_file),
        is_of_relations: RELATIONS.first(&named.with_server).is_some(),
        is_speaking: speaks(named),
        found: TargetProposals::default(),
    };
    for value in &walk.values {
        search.consider(value);
    }
    search.found
}

/// The required argument to which other paths are relative, if there is one.
fn base_in(top: &SchemaLocation<'_>) -> Option<String> {
    let names = top.members();
    let mut names = names.into_iter();
    names
        .find(|name| BASES.contains(&split(name).join("_").as_str()) && top.requires(name))
        .map(str::to_owned)
}

/// Whether a tool's name says that a call says something to somebody: `post_to_room`, `create_message`.
fn speaks(named: &ParsedToolName) -> bool {
    let (first, last) = (named.own.first(), named.own.last());
    let writes = first.is_some_and(|it| WRITING.has(it));
    first.is_some_and(|it| SPEAKING.has(it)) || writes && last.is_some_and(|it| MESSAGES.has(it))
}

/// The kind and role of a target.
#[derive(Debug, Clone, Copy, Default)]
struct Meaning {
    kind: Option<&'static str>,
    role: Option<&'static str>,
}

struct TargetSearch<'s> {
    kept: &'s Json,
    walk: &'s SchemaWalk,
    base: Option<String>,
    /// Whether paths are relative to a remote repository, not to this machine.
    is_in_a_repository: bool,
    /// Whether the tool's name, or its server's, says that it is about files.
    is_of_files: bool,
    /// Whether the tool's name says that it is about what connects two things.
    is_of_relations: bool,
    /// Whether the tool's name says that a call says something to somebody.
    is_speaking: bool,
    found: TargetProposals,
}

impl TargetSearch<'_> {
    fn consider(&mut self, value: &DescribedValue) {
        let Some(meaning) = self.meaning(value) else {
            return;
        };
        let can_be = match meaning.kind {
            None | Some("id") => JsonTypes::STRING.or(JsonTypes::NUMBER),
            Some(_) => JsonTypes::STRING,
        };
        if !value.types.has(can_be) {
            return;
        }
        let Some(path) = value.path.as_deref() else {
            self.leave_out(&value.name, "has no path that a registration can have");
            return;
        };
        // A list of texts needs no `[]` at its end.
        let argument = match path.strip_suffix("[]") {
            Some(list) if !list.ends_with("[]") => list,
            _ => path,
        };
        self.add(argument, meaning);
        let mut endless = self.walk.endless.iter();
        if endless.any(|around| is_within(path, around)) {
            self.leave_out(path, "is in what contains itself, and lies deeper as well");
        }
    }

    fn add(&mut self, argument: &str, meaning: Meaning) {
        let list = &self.found.list;
        if list.iter().any(|it| it.argument == argument) {
            return;
        }
        if list.iter().any(|it| is_within(argument, &it.argument)) {
            self.leave_out(argument, "is in an argument that may be a target itself");
            return;
        }
        if list.len() >= MAX_PROPOSED {
            let why = format!("is one of more than {MAX_PROPOSED}");
            self.leave_out(argument, &why);
            return;
        }
        let base = self.base.clone();
        let base = base.filter(|base| meaning.kind == Some("path") && base != argument);
        let mut written = TargetArgumentForm {
            argument: argument.to_owned(),
            kind: meaning.kind.map(str::to_owned),
            base,
            role: meaning.role.map(str::to_owned),
            optional: false,
        };
        for is_optional in [false, true] {
            written.optional = is_optional;
            if check(std::slice::from_ref(&written), Some(self.kept)).is_empty() {
                self.found.list.push(written);
                return;
            }
        }
        self.leave_out(
            argument,
            "a registration cannot name it, by the schema that it keeps",
        );
    }

    fn leave_out(&mut self, argument: &str, why: &str) {
        if self.found.unsaid.is_none() {
            let argument = shown(argument);
            let message =
                format!("`{argument}` says what is acted upon, but {why}: it is no target");
            self.found.unsaid = Some(message);
        }
    }

    /// What a value says of a target; `None` if nothing.
    fn meaning(&self, value: &DescribedValue) -> Option<Meaning> {
        let parts = split(&value.name);
        let words = parts.join("_");
        let listed = OTHERS.iter().find(|(known, _)| *known == words);
        let is_path = PATHS.contains(&words.as_str());
        let is_time = formats::is_time(&value.formats);
        let is_open = value.types.has(JsonTypes::STRING) && value.choices.is_none();
        let by_format = formats::place(&value.formats).filter(|_| is_open);
        let place = ArgumentPlace::from_words(&parts).filter(|_| is_open && !is_time);
        if let Some(relation) = self.relation(value, &words) {
            return Some(relation);
        }
        let by_format_kind = by_format.and_then(|it| it.kind);
        let role = match listed {
            Some((_, role)) => *role,
            None => place.filter(|_| !is_path).and_then(|it| it.role),
        };
        let is_end = matches!(role, Some("source" | "destination"));
        let kind = if EMAILS.contains(&words.as_str()) || by_format_kind == Some("email") {
            Some("email")
        } else if URLS.contains(&words.as_str()) {
            Some("url")
        } else if is_path {
            // What is called a path and is a URI by its format is told by the look of its value.
            let is_address = by_format.is_some_and(|it| it.leads_out);
            (!is_address).then_some("path")
        } else if listed.is_some() {
            None
        } else {
            place.and_then(|it| it.kind)
        };
        let is_of_file = self.is_of_files && is_end && by_format.is_none();
        let kind = kind
            .or(by_format_kind)
            .or(is_of_file.then_some("path"))
            .filter(|kind| !self.is_in_a_repository || *kind != "path");
        let is_known = is_path || listed.is_some() || place.is_some() || by_format.is_some();
        match is_known {
            true => Some(Meaning { kind, role }),
            false => self.addressee(&parts),
        }
    }

    /// Whom what is said goes to: `user_id`, `room`, `channel_name`. Servers know them by ids of their own.
    fn addressee(&self, parts: &[String]) -> Option<Meaning> {
        let is_form =
            |word: &String| matches!(word.as_str(), "id" | "ids" | "name" | "names" | "key");
        let last = parts.iter().rev().find(|it| !is_form(it))?;
        let is_meant = self.is_speaking && ADDRESSED.has(last);
        is_meant.then_some(Meaning {
            kind: Some("id"),
            role: Some("recipient"),
        })
    }

    /// The ends of a relation: of `from` and `to`, neither is sent anything.
    fn relation(&self, value: &DescribedValue, words: &str) -> Option<Meaning> {
        let (role, other) = match words {
            "from" => ("source", "to"),
            "to" => ("destination", "from"),
            _ => return None,
        };
        let is_relation = self.is_of_relations && self.walk.has_sibling(value, other);
        is_relation.then_some(Meaning {
            kind: None,
            role: Some(role),
        })
    }
}

/// Whether a path is that of a value around another one, or of that itself.
fn is_within(path: &str, around: &str) -> bool {
    let rest = path.strip_prefix(around);
    rest.is_some_and(|rest| around.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
#[path = "targets_tests.rs"]
mod tests;

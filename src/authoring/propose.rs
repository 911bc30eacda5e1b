//! A first guess at what a tool does, from its name, its arguments and its server's hints.
//!
//! Start at [`propose`]. The guess errs on the side of suspicion: hints come from the server itself, so
//! they can make a tool look worse but never better, and what nobody can tell is admin.

mod targets;

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::authoring::tool_list::ListedTool;
use crate::bundle::registration::{Effect, Sensitivity, Status, ToolEntry};

/// Verbs and nouns of tools that change who may do what, that cannot be undone, or that run anything.
const ADMIN: [&str; 58] = [
    "admin",
    "approve",
    "authorize",
    "ban",
    "block",
    "bash",
    "cancel",
    "command",
    "credential",
    "credentials",
    "delete",
    "deploy",
    "destroy",
    "disable",
    "drop",
    "enable",
    "erase",
    "eval",
    "evaluate",
    "exec",
    "execute",
    "force",
    "grant",
    "impersonate",
    "install",
    "invite",
    "invoke",
    "kill",
    "merge",
    "migrate",
    "password",
    "pay",
    "permission",
    "permissions",
    "publish",
    "purge",
    "refund",
    "release",
    "remove",
    "revoke",
    "rollback",
    "rotate",
    "run",
    "script",
    "secret",
    "secrets",
    "shell",
    "shutdown",
    "spawn",
    "sudo",
    "terminate",
    "token",
    "tokens",
    "transfer",
    "truncate",
    "uninstall",
    "unlink",
    "wipe",
];
/// Words of tools that take a statement in a language of its own.
const STATEMENT: [&str; 6] = ["query", "sql", "graphql", "cypher", "mutation", "statement"];
/// Verbs of tools that change something.
const WRITE: [&str; 62] = [
    "add",
    "append",
    "archive",
    "assign",
    "attach",
    "book",
    "checkout",
    "clone",
    "close",
    "comment",
    "commit",
    "convert",
    "copy",
    "create",
    "draft",
    "edit",
    "fork",
    "generate",
    "import",
    "init",
    "insert",
    "label",
    "link",
    "lock",
    "make",
    "mark",
    "modify",
    "move",
    "notify",
    "patch",
    "pin",
    "post",
    "push",
    "put",
    "react",
    "record",
    "register",
    "rename",
    "reopen",
    "replace",
    "reply",
    "reset",
    "respond",
    "restore",
    "save",
    "schedule",
    "send",
    "set",
    "share",
    "star",
    "start",
    "stop",
    "store",
    "submit",
    "subscribe",
    "sync",
    "toggle",
    "trigger",
    "unlock",
    "update",
    "upload",
    "write",
];
/// Verbs of tools that only look.
const READ: [&str; 22] = [
    "browse", "count", "describe", "diff", "fetch", "find", "get", "head", "history", "info",
    "list", "log", "lookup", "peek", "read", "search", "show", "stat", "status", "tail", "tree",
    "view",
];
/// Words of tools whose call carries something to other people or places.
const SENDING: [&str; 21] = [
    "comment", "email", "fetch", "http", "invite", "mail", "message", "notify", "post", "publish",
    "push", "reply", "request", "respond", "send", "share", "sms", "submit", "tweet", "upload",
    "webhook",
];
/// Words of tools that bring in what strangers wrote.
const OUTSIDE: [&str; 20] = [
    "browse", "comment", "comments", "crawl", "email", "fetch", "history", "http", "inbox",
    "issue", "issues", "mail", "message", "messages", "page", "replies", "scrape", "thread", "url",
    "web",
];
/// Words of tools that bring in what belongs to the company.
const PRIVATE: [&str; 44] = [
    "account",
    "branch",
    "channel",
    "channels",
    "code",
    "commit",
    "commits",
    "contact",
    "customer",
    "database",
    "db",
    "diff",
    "directories",
    "directory",
    "doc",
    "document",
    "documents",
    "env",
    "file",
    "files",
    "git",
    "graph",
    "history",
    "issue",
    "issues",
    "log",
    "mail",
    "memory",
    "message",
    "messages",
    "nodes",
    "profile",
    "pull",
    "query",
    "record",
    "repo",
    "repository",
    "row",
    "schema",
    "sql",
    "table",
    "thread",
    "user",
    "users",
];
/// Words of tools that touch secrets.
const SECRET: [&str; 9] = [
    "credential",
    "credentials",
    "env",
    "key",
    "keys",
    "password",
    "secret",
    "secrets",
    "token",
];
/// Words of tools that touch what only some may see.
const CONFIDENTIAL: [&str; 15] = [
    "account", "contact", "customer", "database", "db", "email", "inbox", "mail", "patient",
    "payment", "payroll", "profile", "query", "sql", "users",
];
/// Proposes an entry. Its status is always [`Status::Proposed`].
pub fn propose(tool: &ListedTool) -> ToolEntry {
    let words = Words::of(tool);
    let mut why = BTreeMap::new();
    let (effect, reason) = effect(tool, &words);
    why.insert("effect".to_owned(), reason);
    let yields = yields(tool, &words, effect, &mut why);
    let egress = egress(tool, &words, effect, &mut why);
    let sensitivity = sensitivity(&words, &mut why);
    let target_arguments = targets::propose(tool);
    if !target_arguments.is_empty() {
        let names = target_arguments.iter().map(|it| it.argument.as_str());
        let names = names.collect::<Vec<_>>().join("`, `");
        let message = format!("by its name, `{names}` says what is acted upon");
        why.insert("target_arguments".to_owned(), message);
    }
    ToolEntry {
        effect,
        status: Status::Proposed,
        yields,
        egress,
        sensitivity,
        owner: None,
        digest: Some(tool.digest.clone()),
        digest_parts: Some(tool.digest_parts.clone()),
        previous_digest: None,
        target_arguments,
        typed: false,
        groups: Vec::new(),
        tags: BTreeMap::new(),
        why,
        input_schema: Some(tool.shape.clone()),
        argument_order: tool.argument_order.clone(),
    }
}

/// The words of a tool's name and of its arguments.
struct Words {
    name: Vec<String>,
    arguments: Vec<String>,
}

impl Words {
    fn of(tool: &ListedTool) -> Self {
        let properties = tool.shape.get("properties").and_then(Json::as_object);
        let names = properties
            .into_iter()
            .flat_map(|properties| properties.keys());
        Self {
            name: split(&tool.name),
            arguments: names.flat_map(|name| split(name)).collect(),
        }
    }

    fn in_name<'w>(&self, list: &'w [&'w str]) -> Option<&'w str> {
        list.iter()
            .copied()
            .find(|word| self.name.iter().any(|own| own == word))
    }

    fn anywhere<'w>(&self, list: &'w [&'w str]) -> Option<&'w str> {
        let in_arguments = || {
            list.iter()
                .copied()
                .find(|word| self.arguments.iter().any(|own| own == word))
        };
        self.in_name(list).or_else(in_arguments)
    }
}

/// `getUserProfile`, `get-user_profile` and `get.user/profile` have the same words.
pub(in crate::authoring) fn split(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut previous = ' ';
    for c in name.chars() {
        let starts_word = !c.is_alphanumeric() || (c.is_uppercase() && previous.is_lowercase());
        if starts_word {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
        previous = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

fn effect(tool: &ListedTool, words: &Words) -> (Effect, String) {
    if let Some(word) = words.in_name(&ADMIN) {
        return (Effect::Admin, format!("the name says `{word}`"));
    }
    if let Some(word) = words.anywhere(&STATEMENT) {
        let is_search = words
            .in_name(&["search", "find", "lookup", "list"])
            .is_some();
        if words.in_name(&STATEMENT).is_some() || !is_search {
            let reason = format!("`{word}`: the call can be whatever its statement says");
            return (Effect::Admin, reason);
        }
    }
    if let Some(word) = words.in_name(&WRITE) {
        let says = format!("the name says `{word}`");
        return match (tool.destructive_hint, tool.read_only_hint) {
            (Some(true), _) => (
                Effect::Admin,
                format!("{says}, and its server calls it destructive"),
            ),
            (_, Some(true)) => (
                Effect::Write,
                format!("{says}; its server's claim to be read-only does not count"),
            ),
            _ => (Effect::Write, says),
        };
    }
    let Some(word) = words.in_name(&READ) else {
        return (
            Effect::Admin,
            "nothing in the name says what it does".to_owned(),
        );
    };
    let says = format!("the name says `{word}`");
    match (tool.destructive_hint, tool.read_only_hint) {
        (Some(true), Some(false) | None) => (
            Effect::Admin,
            format!("{says}, but its server calls it destructive"),
        ),
        (_, Some(false)) => (
            Effect::Write,
            format!("{says}, but its server says it changes something"),
        ),
        _ => (Effect::Read, says),
    }
}

fn yields(
    tool: &ListedTool,
    words: &Words,
    effect: Effect,
    why: &mut BTreeMap<String, String>,
) -> Vec<String> {
    let (mut labels, mut reasons) = (Vec::new(), Vec::new());
    let mut add = |label: &str, reason: String| {
        labels.push(label.to_owned());
        reasons.push(reason);
    };
    // Writing rarely brings anything back; what may be anything may bring anything.
    if effect != Effect::Write {
        match (words.anywhere(&OUTSIDE), tool.open_world_hint) {
            (Some(word), _) => add("untrusted", format!("untrusted: `{word}`")),
            (None, Some(true)) => add(
                "untrusted",
                "untrusted: its server says it reaches outside".to_owned(),
            ),
            (None, None) => add(
                "untrusted",
                "untrusted: nothing says it stays inside".to_owned(),
            ),
            (None, Some(false)) => {}
        }
        if let Some(word) = words.anywhere(&PRIVATE) {
            add("private", format!("private: `{word}`"));
        }
        if let Some(word) = words.in_name(&SECRET) {
            add("secret", format!("secret: `{word}`"));
        }
    }
    if !reasons.is_empty() {
        why.insert("yields".to_owned(), reasons.join("; "));
    }
    labels
}

fn egress(
    tool: &ListedTool,
    words: &Words,
    effect: Effect,
    why: &mut BTreeMap<String, String>,
) -> bool {
    let is_url = words
        .arguments
        .iter()
        .any(|word| matches!(word.as_str(), "url" | "urls" | "webhook" | "recipient"));
    let reads = effect == Effect::Read;
    let reason = match (words.in_name(&SENDING), tool.open_world_hint) {
        (Some(word), _) if !reads || matches!(word, "fetch" | "http" | "request") => {
            Some(format!("the name says `{word}`"))
        }
        _ if is_url => Some("an argument says where to".to_owned()),
        (_, Some(true)) => Some("its server says it reaches outside".to_owned()),
        (_, None) if !reads => Some("nothing says it stays inside".to_owned()),
        _ => None,
    };
    let is_egress = reason.is_some();
    why.extend(reason.map(|reason| ("egress".to_owned(), reason)));
    is_egress
}

fn sensitivity(words: &Words, why: &mut BTreeMap<String, String>) -> Sensitivity {
    let (sensitivity, word) = match (words.in_name(&SECRET), words.anywhere(&CONFIDENTIAL)) {
        (Some(word), _) => (Sensitivity::Restricted, Some(word)),
        (None, Some(word)) => (Sensitivity::Confidential, Some(word)),
        (None, None) => (Sensitivity::Internal, None),
    };
    why.extend(word.map(|word| ("sensitivity".to_owned(), format!("`{word}`"))));
    sensitivity
}

#[cfg(test)]
mod tests;

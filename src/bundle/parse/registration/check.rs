//! What a registration must be beyond its shape.

use serde_json::Value as Json;

use crate::bundle::diagnostic::{BundleDiagnostic, SourceText};
use crate::bundle::parse::json::{self, Step};
use crate::bundle::parse::registration::{
    MAX_DESCRIPTION_BYTES, MAX_LIST, ServerEntry, ToolEntry, is_digest, server_name_error,
};
use crate::domain::request::definition::parts_fault;
use crate::domain::request::target;
use crate::domain::request::target::argument::TargetArgumentForm;

pub(super) fn server(
    origin: SourceText<'_>,
    server: &ServerEntry,
    faults: &mut Vec<BundleDiagnostic>,
) {
    let mut say = |field: &str, message: String| {
        faults.push(json::diagnostic_at(
            origin,
            &[Step::Key("server"), Step::Key(field)],
            message,
        ));
    };
    if let Some(message) = server_name_error(&server.name) {
        say("name", message);
    }
    if server.owner.is_empty() {
        say(
            "owner",
            "an empty `owner`; name the person who answers for the server".to_owned(),
        );
    }
    let yields = server.yields.as_deref().unwrap_or_default();
    if let Some(fault) = label_error(yields) {
        say("yields", fault);
    }
    let lists = [
        ("yields", yields.len()),
        ("groups", server.groups.len()),
        ("tags", server.tags.len()),
    ];
    for (field, count) in lists {
        if count > MAX_LIST {
            say(field, format!("more than {MAX_LIST} {field}"));
        }
    }
}

/// Checks labels; the error message for the first invalid one.
pub fn label_error(labels: &[String]) -> Option<String> {
    let is_label = |label: &&String| {
        let allowed = |c: char| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | ':' | '.')
        };
        !label.is_empty() && label.len() <= 64 && label.chars().all(allowed)
    };
    let label = labels.iter().find(|label| !is_label(label))?;
    Some(format!(
        "`{label}` is not a label: use lower-case letters, digits, `-`, `_`, `:` and `.`"
    ))
}

pub(super) fn tool(
    origin: SourceText<'_>,
    name: &str,
    entry: &ToolEntry,
    faults: &mut Vec<BundleDiagnostic>,
) {
    check_targets(origin, name, entry, faults);
    let mut say = |field: &str, message: String| {
        let path = [Step::Key("tools"), Step::Key(name), Step::Key(field)];
        faults.push(json::diagnostic_at(origin, &path, message));
    };
    for (field, digest) in [
        ("digest", &entry.digest),
        ("previous_digest", &entry.previous_digest),
    ] {
        if digest.as_deref().is_some_and(|digest| !is_digest(digest)) {
            say(
                field,
                format!("`{field}` is not `sha256:` and 64 lower-case hexadecimal digits"),
            );
        }
    }
    let previous = entry.previous_definition.as_deref();
    let old = previous.and_then(|it| it.description.as_ref());
    for (field, text) in [
        ("description", entry.description.as_ref()),
        ("previous_definition", old),
    ] {
        if text.is_some_and(|it| it.len() > MAX_DESCRIPTION_BYTES) {
            let message = format!("a description is longer than {MAX_DESCRIPTION_BYTES} bytes");
            say(field, format!("`{field}`: {message}"));
        }
    }
    if let Some(fault) = previous
        .and_then(|it| it.digest_parts.as_deref())
        .and_then(parts_fault)
    {
        say(
            "previous_definition",
            format!("`previous_definition`: `digest_parts` {fault}"),
        );
    }
    if let Some(fault) = entry.digest_parts.as_deref().and_then(parts_fault) {
        say("digest_parts", format!("`digest_parts` {fault}"));
    }
    if entry.owner.as_deref() == Some("") {
        say(
            "owner",
            "an empty `owner`; leave it out to mean the server's owner".to_owned(),
        );
    }
    if let Some(fault) = label_error(&entry.yields) {
        say("yields", fault);
    }
    if entry.typed && !entry.input_schema.as_ref().is_some_and(Json::is_object) {
        say("typed", "a typed tool needs its `input_schema`".to_owned());
    }
    let lists = [
        ("yields", entry.yields.len()),
        ("target_arguments", entry.target_arguments.len()),
        ("groups", entry.groups.len()),
        ("tags", entry.tags.len()),
    ];
    for (field, count) in lists {
        if count > MAX_LIST {
            say(field, format!("more than {MAX_LIST} {field}"));
        }
    }
}

/// Locates each fault at its field, or at the whole entry if the entry is a bare name.
fn check_targets(
    origin: SourceText<'_>,
    name: &str,
    tool: &ToolEntry,
    faults: &mut Vec<BundleDiagnostic>,
) {
    let list = &tool.target_arguments;
    if list.len() > MAX_LIST {
        return;
    }
    for found in target::check::check(list, tool.input_schema.as_ref()) {
        let (field, message) = (found.fault.field, found.fault.message);
        let mut path = vec![
            Step::Key("tools"),
            Step::Key(name),
            Step::Key("target_arguments"),
            Step::Index(found.index),
        ];
        let is_bare = |it: &TargetArgumentForm| *it == TargetArgumentForm::named(&*it.argument);
        if !list.get(found.index).is_some_and(is_bare) {
            path.push(Step::Key(field));
        }
        faults.push(json::diagnostic_at(
            origin,
            &path,
            format!("`{field}`: {message}"),
        ));
    }
}

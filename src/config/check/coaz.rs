//! Validation of `[[authzen.mcp]]`: every entry determines a server, and no caller has two entries.

use super::{ConfigErrors, sources_callers};
use crate::config::callers::CallerConfig;
use crate::config::coaz::{CoazConfig, ServerFrom};

const MAX_ENTRIES: usize = 1_000;
const MAX_NAMES: usize = 1_000;
const MAX_NAME_BYTES: usize = 1_024;

pub(super) fn check(entries: &[CoazConfig], known: &[CallerConfig], faults: &mut ConfigErrors<'_>) {
    if entries.len() > MAX_ENTRIES {
        let count = entries.len();
        let said = format!("has {count} entries, but at most {MAX_ENTRIES} are allowed");
        faults.add("authzen.mcp", said);
    }
    for (index, entry) in entries.iter().enumerate() {
        let field = format!("authzen.mcp[{index}]");
        servers(&field, entry, faults);
        sources_callers(&field, &entry.callers, known, faults);
        let names = entry.names();
        if names.len() > MAX_NAMES {
            faults.add(field.clone(), format!("names more than {MAX_NAMES} things"));
        }
        for (name, text) in names {
            let is_fit = !text.trim().is_empty()
                && text.len() <= MAX_NAME_BYTES
                && !text.chars().any(char::is_control);
            if !is_fit {
                let said = format!(
                    "holds a name that is empty, longer than {MAX_NAME_BYTES} bytes, or has a control character"
                );
                faults.add(format!("{field}.{name}"), said);
            }
        }
        if entry.subject_types.is_empty() {
            faults.add(
                format!("{field}.subject_types"),
                "is empty, so nobody could be a subject",
            );
        }
        // Which of two entries counts would depend on their order.
        let is_shadowed = |earlier: &CoazConfig| {
            earlier.callers.is_empty()
                || entry.callers.is_empty()
                || entry.callers.iter().any(|it| earlier.callers.contains(it))
        };
        if let Some(first) = entries[..index].iter().position(is_shadowed) {
            let said = format!("has a caller of `authzen.mcp[{first}]`");
            faults.add(format!("{field}.callers"), said);
        }
    }
}

fn servers(field: &str, entry: &CoazConfig, faults: &mut ConfigErrors<'_>) {
    match (&entry.server, entry.server_from) {
        (Some(_), Some(_)) => faults.add(
            format!("{field}.server_from"),
            "is set beside `server`: one of them says which server is meant",
        ),
        (None, None) => faults.add(
            field,
            "says of no server that it is meant: set `server` or `server_from`",
        ),
        (None, Some(ServerFrom::Aud)) if entry.audiences.is_empty() => faults.add(
            format!("{field}.audiences"),
            "is empty, so that `server_from = \"aud\"` finds no server",
        ),
        _ => {}
    }
}

//! How things of the protocol look to people: one fact a line, labels in one column.

use std::fmt::{self, Write};
use std::time::SystemTime;

use prost_types::Timestamp;

use crate::domain::request::visible::{escaped, has_invisible, is_invisible};
use crate::proto::v1;

/// Characters of a long text that are shown at first.
const FOLDED_CHARS: usize = 200;

/// A title with facts below it, each on a line of its own.
#[derive(Debug, Clone)]
pub struct Details {
    text: String,
}

impl Details {
    /// Nothing but a title.
    pub fn new(title: impl fmt::Display) -> Self {
        Self {
            text: format!("{}\n", printable(&title.to_string())),
        }
    }

    /// One more fact. What says nothing is left out.
    pub fn fact(mut self, label: &str, value: impl fmt::Display) -> Self {
        let value = printable(&value.to_string());
        if !value.is_empty() {
            self.text.push_str(&format!("  {label:9} {value}\n"));
        }
        self
    }

    /// One more fact, if there is one.
    pub fn maybe(self, label: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.fact(label, value),
            None => self,
        }
    }

    /// The revision that an answer names.
    pub fn revision(self, revision: u64) -> Self {
        self.fact("revision", revision)
    }
}

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `Mcp::Agent::"support"`.
pub fn entity(uid: &v1::EntityRef) -> String {
    let id = uid.id.replace('\\', "\\\\").replace('"', "\\\"");
    printable(&format!("{}::\"{id}\"", uid.r#type))
}

/// Several of them.
pub fn entities(uids: &[v1::EntityRef]) -> String {
    let shown: Vec<String> = uids.iter().map(entity).collect();
    shown.join(", ")
}

/// One reason of a deny, on lines of its own.
pub fn reason(reason: &v1::Reason) -> String {
    let code = reason.code().as_str_name();
    let code = code.strip_prefix("REASON_CODE_").unwrap_or(code);
    let mut text = format!("  because   {} ({code})\n", printable(&reason.message));
    let mut more = |line: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "            {}", printable(&line));
    };
    if let Some(principal) = &reason.principal {
        more(format!("for {}", entity(principal)));
    }
    if !reason.policy_ids.is_empty() {
        more(format!("by {}", reason.policy_ids.join(", ")));
    }
    if !reason.detail.is_empty() {
        more(reason.detail.clone());
    }
    text
}

/// `2026-11-21T15:00:00Z`.
pub fn moment(at: &Timestamp) -> String {
    match SystemTime::try_from(*at) {
        Ok(at) if at >= SystemTime::UNIX_EPOCH => humantime::format_rfc3339_seconds(at).to_string(),
        _ => format!("{} s after 1970", at.seconds),
    }
}

/// The name of an enumeration's value as a person would say it: `TASK_STATUS_OPEN` is `open`.
pub fn word(name: &str, prefix: &str) -> String {
    let name = name.strip_prefix(prefix).unwrap_or(name);
    name.to_ascii_lowercase().replace('_', " ")
}

/// `1 fault`, `2 faults`; `1 entity`, `2 entities`.
pub fn count(count: usize, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {noun}s"),
    }
}

/// Others choose names and texts: a terminal must not act on them, and a person must see all of them. One line.
pub fn printable(text: &str) -> String {
    escaped(text).into_owned()
}

/// Several of them in one line, with commas between.
pub fn printables<T: AsRef<str>>(texts: &[T]) -> String {
    let shown: Vec<String> = texts.iter().map(|it| printable(it.as_ref())).collect();
    shown.join(", ")
}

/// The beginning of a long text, and how much of it is not shown.
pub fn folded(text: &str, is_full: bool) -> String {
    let shown = printable(text);
    let more = shown.chars().count().saturating_sub(FOLDED_CHARS);
    if is_full || more == 0 {
        return shown;
    }
    let beginning: String = shown.chars().take(FOLDED_CHARS).collect();
    let more = count(more, "more character");
    format!("{beginning}… ({more}: `--full` shows all)")
}

/// A word as a shell takes it. One with characters that nobody sees has them as escapes, which take the `$'…'` of POSIX
/// (2024), bash, ksh and zsh.
pub fn quoted(word: &str) -> String {
    if has_invisible(word) {
        return format!(
            "$'{}'",
            word.chars().map(in_dollar_quotes).collect::<String>()
        );
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn in_dollar_quotes(c: char) -> String {
    match (c, u32::from(c)) {
        ('\'' | '\\', _) => format!("\\{c}"),
        (c, _) if !is_invisible(c) => c.to_string(),
        (_, code @ ..=0x7f) => format!("\\{code:03o}"),
        (_, code @ ..=0xffff) => format!("\\u{code:04x}"),
        (_, code) => format!("\\U{code:08x}"),
    }
}

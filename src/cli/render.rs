//! Text form of protocol messages: one labelled value a line.

use std::fmt::{self, Write};
use std::time::SystemTime;

use prost_types::Timestamp;

use crate::domain::request::visible::{escaped, has_invisible, is_invisible};
use crate::proto::v1;

/// Characters of a long text that are displayed unless in full.
const FOLDED_CHARS: usize = 200;

/// A title with labelled values below it, one per line.
#[derive(Debug, Clone)]
pub struct Details {
    text: String,
}

impl Details {
    /// Starts with a title.
    pub fn new(title: impl fmt::Display) -> Self {
        Self {
            text: format!("{}\n", printable(&title.to_string())),
        }
    }

    /// Adds a value; an empty one is left out.
    pub fn fact(mut self, label: &str, value: impl fmt::Display) -> Self {
        let value = printable(&value.to_string());
        if !value.is_empty() {
            self.text.push_str(&format!("  {label:9} {value}\n"));
        }
        self
    }

    /// Adds a value if present.
    pub fn maybe(self, label: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.fact(label, value),
            None => self,
        }
    }

    /// Adds the revision of a response.
    pub fn revision(self, revision: u64) -> Self {
        self.fact("revision", revision)
    }
}

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text at the left of a column of this many characters. A width in `format!` would do the same, and panic where it
/// does not fit 16 bits.
pub fn left_aligned(text: &str, width: usize) -> String {
    text.to_owned() + &blanks(text, width)
}

/// A text at the right of a column of this many characters.
pub fn right_aligned(text: &str, width: usize) -> String {
    blanks(text, width) + text
}

fn blanks(text: &str, width: usize) -> String {
    " ".repeat(width.saturating_sub(text.chars().count()))
}

/// `Mcp::Agent::"support"`.
pub fn entity(uid: &v1::EntityRef) -> String {
    let id = uid.id.replace('\\', "\\\\").replace('"', "\\\"");
    printable(&format!("{}::\"{id}\"", uid.r#type))
}

/// A list of entities.
pub fn entities(uids: &[v1::EntityRef]) -> String {
    let shown: Vec<String> = uids.iter().map(entity).collect();
    shown.join(", ")
}

/// One reason of a deny.
pub fn reason(reason: &v1::Reason) -> String {
    let code = reason.code().as_str_name();
    let code = code.strip_prefix("REASON_CODE_").unwrap_or(code);
    let mut text = format!("  because   {} ({code})\n", printable(&reason.message));
    let mut more = |line: String| {
        // Writing to a `String` is infallible.
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

/// The display name of an enum value: `TASK_STATUS_OPEN` is `open`.
pub fn word(name: &str, prefix: &str) -> String {
    let name = name.strip_prefix(prefix).unwrap_or(name);
    name.to_ascii_lowercase().replace('_', " ")
}

/// `1 fault`, `2 faults`; `1 entity`, `2 entities`.
pub fn count(count: impl TryInto<usize>, noun: &str) -> String {
    let count = count.try_into().unwrap_or(usize::MAX);
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {noun}s"),
    }
}

/// Escapes untrusted text for one line of a terminal: control and invisible characters become visible.
pub fn printable(text: &str) -> String {
    escaped(text).into_owned()
}

/// Escapes several texts and joins them with commas.
pub fn printables<T: AsRef<str>>(texts: &[T]) -> String {
    let shown: Vec<String> = texts.iter().map(|it| printable(it.as_ref())).collect();
    shown.join(", ")
}

/// Truncates a long text and appends the number of hidden characters.
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

/// Quotes a word for a shell. Invisible characters are escaped with `$'…'` (POSIX 2024, bash, ksh, zsh).
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

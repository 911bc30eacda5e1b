//! Diagnostics of a bundle with file, line, column and an excerpt of the source.
//!
//! Start at [`BundleError`]. Diagnostics are collected, so that one run of `callgate check` reports all of them. They are
//! rendered here rather than by `miette`: one line per diagnostic that editors and CI can parse, invisible characters made
//! visible, long lines cut around the caret.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use miette::Diagnostic;
use serde::{Serialize, Serializer};

use crate::domain::request::visible::{escaped, escaped_lines, is_invisible};

/// Characters of a source line that are displayed.
const MAX_SHOWN_CHARS: usize = 120;
/// Faults that are kept; the rest is only counted.
const MAX_FAULTS: usize = 500;

/// One fault or warning, with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleDiagnostic {
    /// The file, as given on the command line.
    pub file: Arc<str>,
    /// The line, from 1; `None` for the whole file.
    pub line: Option<u32>,
    /// The column in characters, from 1.
    pub column: Option<u32>,
    /// What is wrong, lower case and without a full stop.
    pub message: String,
    /// How to fix it.
    pub help: Option<String>,
    /// The source line, for the text form only.
    #[serde(skip)]
    excerpt: Option<Excerpt>,
}

/// A source line, cut if it is long, and the part to underline, in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The line, or the part of it around the underline, without invisible characters.
    pub text: String,
    caret_start: usize,
    caret_chars: usize,
}

/// The faults of a bundle, ordered by place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleError {
    list: Vec<BundleDiagnostic>,
    left_out: usize,
}

/// A text and its name, for locating diagnostics.
#[derive(Debug, Clone, Copy)]
pub struct SourceText<'a> {
    /// The file, as given on the command line.
    pub file: &'a Arc<str>,
    /// Its content.
    pub text: &'a str,
}

impl BundleDiagnostic {
    /// A diagnostic about a whole file.
    pub fn for_file(file: &Arc<str>, message: impl Into<String>) -> Self {
        Self {
            file: Arc::clone(file),
            line: None,
            column: None,
            message: message.into(),
            help: None,
            excerpt: None,
        }
    }

    /// A diagnostic at a span of bytes; a span beyond the text is clamped.
    pub fn at(
        origin: SourceText<'_>,
        offset: usize,
        length: usize,
        message: impl Into<String>,
    ) -> Self {
        let text = origin.text;
        let start = floor_char_boundary(text, offset);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let lines = text[..line_start].bytes().filter(|byte| *byte == b'\n');
        let line = lines.count() + 1;
        Self::in_line(
            origin,
            (line, line_start),
            start - line_start,
            length,
            message,
        )
    }

    /// A diagnostic at a span of bytes in a line, which has this number, from 1, and begins at this byte of the text. Where
    /// many faults are in one text, its lines are counted once.
    pub fn in_line(
        origin: SourceText<'_>,
        (line, line_start): (usize, usize),
        offset: usize,
        length: usize,
        message: impl Into<String>,
    ) -> Self {
        let text = origin.text;
        let line_start = floor_char_boundary(text, line_start);
        let start = floor_char_boundary(text, line_start.saturating_add(offset));
        let end = floor_char_boundary(text, start.saturating_add(length)).max(start);
        let line_end = text[start..]
            .find('\n')
            .map_or(text.len(), |newline| start + newline);
        let column = text[line_start..start].chars().count();
        let width = text[start..end.min(line_end)].chars().count().max(1);
        let mut fault = Self::for_file(origin.file, message);
        fault.line = Some(saturate(line));
        fault.column = Some(saturate(column + 1));
        fault.excerpt = Some(Excerpt::new(&text[line_start..line_end], column, width));
        fault
    }

    /// A diagnostic at a line and column, both from 1, as JSON parsers report them.
    pub fn at_line(
        origin: SourceText<'_>,
        line: usize,
        column: usize,
        message: impl Into<String>,
    ) -> Self {
        let skipped = line.saturating_sub(1);
        let offset: usize = origin
            .text
            .split_inclusive('\n')
            .take(skipped)
            .map(str::len)
            .sum();
        Self::at(
            origin,
            offset.saturating_add(column.saturating_sub(1)),
            1,
            message,
        )
    }

    /// Adds how to fix it.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a remark to the message.
    pub fn and_more(mut self, remark: &str) -> Self {
        self.message = format!("{} {remark}", self.message);
        self
    }

    /// Underlines the first character only, for spans of several lines.
    pub fn narrow(mut self) -> Self {
        if let Some(excerpt) = &mut self.excerpt {
            excerpt.caret_chars = 1;
        }
        self
    }

    /// Converts a diagnostic of Cedar, located in `origin` by its first label.
    pub fn from_diagnostic(origin: SourceText<'_>, diagnostic: &dyn Diagnostic) -> Self {
        let labels: Vec<_> = diagnostic.labels().into_iter().flatten().collect();
        let message = full_message(diagnostic);
        let mut fault = match labels.first() {
            Some(label) => Self::at(origin, label.offset(), label.len(), message),
            None => Self::for_file(origin.file, message),
        };
        let noted = labels
            .iter()
            .filter_map(|label| label.label())
            .filter(|note| !note.is_empty());
        let help = diagnostic.help().map(|help| help.to_string());
        let notes: Vec<String> = noted.map(str::to_owned).chain(help).collect();
        if !notes.is_empty() {
            fault.help = Some(notes.join("; "));
        }
        fault
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, word: &str) -> fmt::Result {
        writeln!(f, "{word}: {}", escaped_lines(&self.message))?;
        let file = escaped(&self.file);
        let digits = self.line.map_or(1, |line| line.to_string().len());
        let gutter = " ".repeat(digits);
        match (self.line, self.column) {
            (Some(line), Some(column)) => writeln!(f, "{gutter}--> {file}:{line}:{column}")?,
            _ => writeln!(f, "{gutter}--> {file}")?,
        }
        if let (Some(excerpt), Some(line)) = (&self.excerpt, self.line) {
            writeln!(f, "{gutter} |")?;
            writeln!(f, "{line} | {}", excerpt.text)?;
            writeln!(f, "{gutter} | {}", excerpt.carets())?;
        }
        if let Some(help) = &self.help {
            writeln!(f, "{gutter} = help: {}", escaped_lines(help))?;
        }
        Ok(())
    }

    /// Displays the diagnostic as a warning.
    pub fn as_warning(&self) -> impl fmt::Display + '_ {
        SeverityDisplay {
            fault: self,
            word: "warning",
        }
    }
}

struct SeverityDisplay<'a> {
    fault: &'a BundleDiagnostic,
    word: &'static str,
}

impl fmt::Display for SeverityDisplay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.write(f, self.word)
    }
}

impl fmt::Display for BundleDiagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "fault")
    }
}

/// The line with a star for each character of a password in a URL, `scheme://user:password@host`.
fn without_password(line: &str) -> Cow<'_, str> {
    let mut shown = Cow::Borrowed(line);
    let mut from = 0;
    while let Some(start) = shown[from..].find("://").map(|at| from + at + 3) {
        from = start;
        // A password may hold `@`, and what it should not hold; the host of a URL that is written as text ends with it.
        let ends = |c: char| c.is_whitespace() || "\"'`<>".contains(c);
        let end = shown[start..]
            .find(ends)
            .map_or(shown.len(), |at| start + at);
        let Some(at) = shown[start..end].rfind('@').map(|at| start + at) else {
            continue;
        };
        let Some(colon) = shown[start..at].find(':').map(|at| start + at + 1) else {
            continue;
        };
        let stars = "*".repeat(shown[colon..at].chars().count());
        shown.to_mut().replace_range(colon..at, &stars);
        from = colon + stars.len();
    }
    shown
}

impl Excerpt {
    /// The excerpt of a line, without passwords in URLs, in which so many characters from this one on, counted from 0, are to be underlined.
    pub fn new(line: &str, caret_start: usize, caret_chars: usize) -> Self {
        // Replace tabs and invisible characters, which would misalign the underline.
        let clean: Vec<char> = without_password(line)
            .chars()
            .map(|c| match c {
                '\t' | '\r' => ' ',
                c if is_invisible(c) => '\u{fffd}',
                c => c,
            })
            .collect();
        let clean_len = clean
            .iter()
            .rposition(|c| *c != ' ')
            .map_or(0, |last| last + 1);
        // What is about the blanks at the end of a line is about its end.
        let caret_start = caret_start.min(clean_len);
        let caret_chars = caret_chars.min(clean_len - caret_start).max(1);
        if clean_len <= MAX_SHOWN_CHARS {
            let text = clean[..clean_len].iter().collect();
            return Self {
                text,
                caret_start,
                caret_chars,
            };
        }
        let from = caret_start.saturating_sub(MAX_SHOWN_CHARS / 3);
        let to = from.saturating_add(MAX_SHOWN_CHARS).min(clean_len);
        let (before, after) = (
            if from > 0 { "…" } else { "" },
            if to < clean_len { "…" } else { "" },
        );
        let shown: String = clean[from..to].iter().collect();
        let caret_start = caret_start - from + before.chars().count();
        let room = (to - from + 1).saturating_sub(caret_start).max(1);
        let text = format!("{before}{shown}{after}");
        Self {
            text,
            caret_start,
            caret_chars: caret_chars.min(room),
        }
    }

    /// The line to display below the text.
    pub fn carets(&self) -> String {
        " ".repeat(self.caret_start) + &"^".repeat(self.caret_chars)
    }
}

impl BundleError {
    /// Sorts faults by place and removes duplicates; `None` for an empty list.
    pub fn from_diagnostics(mut list: Vec<BundleDiagnostic>) -> Option<Self> {
        order(&mut list);
        let left_out = list.len().saturating_sub(MAX_FAULTS);
        list.truncate(MAX_FAULTS);
        (!list.is_empty()).then_some(Self { list, left_out })
    }

    /// An error with a single fault.
    pub fn single(fault: BundleDiagnostic) -> Self {
        Self {
            list: vec![fault],
            left_out: 0,
        }
    }

    /// The faults, ordered by place.
    pub fn iter(&self) -> impl Iterator<Item = &BundleDiagnostic> {
        self.list.iter()
    }

    /// Number of faults, those beyond the limit included; at least 1.
    pub fn count(&self) -> usize {
        self.list.len() + self.left_out
    }
}

/// Sorts diagnostics by place and removes duplicates.
pub(crate) fn order(list: &mut Vec<BundleDiagnostic>) {
    list.sort_by(|a, b| {
        let key = |fault: &BundleDiagnostic| (fault.line, fault.column);
        a.file
            .cmp(&b.file)
            .then(key(a).cmp(&key(b)))
            .then_with(|| a.message.cmp(&b.message))
    });
    list.dedup();
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.list {
            writeln!(f, "{fault}")?;
        }
        if self.left_out > 0 {
            writeln!(f, "… and {} more", self.left_out)?;
        }
        let count = self.count();
        write!(f, "{count} {}", if count == 1 { "fault" } else { "faults" })
    }
}

impl std::error::Error for BundleError {}

impl Serialize for BundleError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.list.serialize(serializer)
    }
}

/// A message with those of its sources: Cedar puts the essential part of some errors there.
fn full_message(diagnostic: &dyn Diagnostic) -> String {
    let mut message = diagnostic.to_string();
    let mut source = std::error::Error::source(diagnostic);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        source = cause.source();
    }
    message
}

fn floor_char_boundary(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

fn saturate(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "diagnostic_tests.rs"]
mod tests;

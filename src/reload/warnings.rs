//! The log lines about warnings of a bundle that goes into service.
//!
//! A directory may have thousands of them, so only a few of each kind are logged one by one. `callgate check` lists all.

use std::fmt;

use crate::bundle::diagnostic::BundleDiagnostic;

/// Warnings of one kind that are logged one by one, each with what may have been meant.
const FEW: usize = 20;

/// The examples of a kind that has more.
const EXAMPLES: usize = 3;

/// The warnings of one kind: those whose messages differ in names and numbers alone.
#[derive(Debug)]
struct WarningKind<'a> {
    warnings: Vec<&'a BundleDiagnostic>,
}

/// Logs the warnings of a bundle that goes into service: a few of one kind each in a line of its own, and otherwise one line
/// with their number and examples.
pub fn log_warnings(warnings: &[BundleDiagnostic]) {
    for kind in by_kind(warnings) {
        if kind.warnings.len() > FEW {
            tracing::warn!(count = kind.warnings.len(), "{kind}");
            continue;
        }
        for warning in kind.warnings {
            tracing::warn!(
                file = %warning.file,
                line = warning.line,
                column = warning.column,
                help = warning.help,
                "{}",
                warning.message
            );
        }
    }
}

/// The kinds, in the order of the first warning of each.
fn by_kind(warnings: &[BundleDiagnostic]) -> Vec<WarningKind<'_>> {
    let mut places = std::collections::HashMap::new();
    let mut kinds: Vec<WarningKind<'_>> = Vec::new();
    for warning in warnings {
        let place = *places.entry(words(&warning.message)).or_insert_with(|| {
            kinds.push(WarningKind {
                warnings: Vec::new(),
            });
            kinds.len() - 1
        });
        kinds[place].warnings.push(warning);
    }
    kinds
}

/// A message without its quoted names, its numbers and what is in parentheses.
fn words(message: &str) -> String {
    let mut words = String::with_capacity(message.len());
    let (mut is_quoted, mut depth) = (false, 0_usize);
    for char in message.chars() {
        match char {
            '`' => {
                is_quoted = !is_quoted;
                if depth == 0 {
                    words.push('`');
                }
            }
            _ if is_quoted => {}
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth > 0 || char.is_ascii_digit() => {}
            _ => words.push(char),
        }
    }
    words.trim_end().to_owned()
}

impl fmt::Display for WarningKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.warnings.len();
        write!(
            f,
            "{count} warnings of one kind (`callgate check` lists them), e.g. "
        )?;
        for (at, warning) in self.warnings.iter().take(EXAMPLES).enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{}", warning.file)?;
            if let Some(line) = warning.line {
                write!(f, ":{line}")?;
            }
            write!(f, ": {}", warning.message)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "warnings_tests.rs"]
mod tests;

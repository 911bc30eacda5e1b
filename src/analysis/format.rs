//! Formats policies with Cedar's formatter.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callgate_engine::cedar::{PolicySet, Template, parse_policyset};
use cedar_policy_formatter::{Config, policies_str_to_pretty};

use crate::bundle::diagnostic::{BundleDiagnostic, BundleError, SourceText};
use crate::bundle::files::{MAX_FILE_BYTES, read_text};
use crate::bundle::parse::nesting::{self, Language};
use crate::bundle::parse::schema::every_diagnostic;

/// The deepest directory that is looked into.
const MAX_DEPTH: usize = 16;
/// The most files.
const MAX_FILES: usize = 100_000;

/// How policies are laid out.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Characters of a line.
    pub line_width: usize,
    /// Spaces of one step of indentation.
    pub indent: isize,
}

/// One file, formatted in memory.
#[derive(Debug, Clone)]
pub struct Formatted {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub before: String,
    /// Its text, formatted.
    pub text: String,
}

impl Formatted {
    /// Whether formatting changes anything.
    pub fn is_changed(&self) -> bool {
        self.before != self.text
    }
}

/// Formats a file, or every `*.cedar` below a directory that is not hidden. Nothing is written.
///
/// # Errors
///
/// What cannot be read or parsed. Then no file should be replaced.
pub fn format(path: &Path, style: Style) -> Result<Vec<Formatted>, BundleError> {
    let (mut found, mut faults, mut formatted) = (Vec::new(), Vec::new(), Vec::new());
    collect(path, 0, &mut found).map_err(BundleError::single)?;
    found.sort();
    for file in found {
        match one(&file, style) {
            Ok(it) => formatted.push(it),
            Err(more) => faults.extend(more),
        }
    }
    match BundleError::from_diagnostics(faults) {
        Some(faults) => Err(faults),
        None => Ok(formatted),
    }
}

fn whole(path: &Path, said: impl Into<String>) -> BundleDiagnostic {
    BundleDiagnostic::for_file(&Arc::from(path.display().to_string()), said)
}

fn collect(path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), BundleDiagnostic> {
    let cannot = |error: std::io::Error| whole(path, format!("cannot be read: {error}"));
    if !fs::metadata(path).map_err(cannot)?.is_dir() {
        if found.len() == MAX_FILES {
            return Err(whole(
                path,
                format!("there are more than {MAX_FILES} files"),
            ));
        }
        found.push(path.to_owned());
        return Ok(());
    }
    if depth == MAX_DEPTH {
        return Err(whole(
            path,
            format!("more than {MAX_DEPTH} directories deep"),
        ));
    }
    for entry in fs::read_dir(path).map_err(cannot)? {
        let below = entry.map_err(cannot)?.path();
        let name = below.file_name().unwrap_or_default().to_string_lossy();
        let is_cedar = below.extension().is_some_and(|it| it == "cedar");
        if !name.starts_with('.') && (is_cedar || below.is_dir()) {
            collect(&below, depth + 1, found)?;
        }
    }
    Ok(())
}

fn one(path: &Path, style: Style) -> Result<Formatted, Vec<BundleDiagnostic>> {
    let before = read_text(path, MAX_FILE_BYTES).map_err(|fault| vec![fault])?;
    let file: Arc<str> = Arc::from(path.display().to_string());
    let origin = SourceText {
        file: &file,
        text: &before,
    };
    if let Some(fault) = nesting::find_excess(origin, Language::Policies) {
        return Err(vec![fault]);
    }
    let own = parse_policyset(&before).map_err(|errors| {
        let each = errors.iter();
        each.flat_map(|error| every_diagnostic(origin, error))
            .collect::<Vec<_>>()
    })?;
    let config = Config {
        line_width: style.line_width,
        indent_width: style.indent,
    };
    // The formatter of an empty set takes its comments away.
    if own.all_templates().next().is_none() {
        let text = before.clone();
        let path = path.to_owned();
        return Ok(Formatted { path, before, text });
    }
    // The formatter would move the comment of a file to its first policy.
    let (head, policies) = before.split_at(head_end(&before));
    let policies = policies_str_to_pretty(policies, &config)
        .map_err(|error| vec![whole(path, format!("cannot be formatted: {error}"))])?;
    let text = match head.trim() {
        "" => policies,
        head => format!("{head}\n\n{policies}"),
    };
    let is_same = parse_policyset(&text).is_ok_and(|other| said(&own) == said(&other));
    if !is_same {
        let message = "the formatted text would hold other policies, so it is left as it is";
        return Err(vec![whole(path, message)]);
    }
    let path = path.to_owned();
    Ok(Formatted { path, before, text })
}

/// Where the comment of a file ends: lines of comments that a blank line keeps apart from the first policy.
fn head_end(text: &str) -> usize {
    let (mut end, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        at += line.len();
        match line.trim() {
            "" => end = at,
            comment if comment.starts_with("//") => {}
            _ => break,
        }
    }
    end
}

/// What a set says, without places.
fn said(set: &PolicySet) -> Vec<String> {
    let mut said: Vec<String> = set.all_templates().map(Template::to_string).collect();
    said.sort();
    said
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;

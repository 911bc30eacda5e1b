//! Reads test files: YAML within limits, with every fault at its place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::analysis::policy_test::form::TestFile;
use crate::analysis::policy_test::places;
use crate::bundle::diagnostic::{BundleDiagnostic, BundleError, SourceText};
use crate::bundle::files::read_text;

/// The largest test file, in bytes.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// The most test files.
const MAX_FILES: usize = 10_000;
/// The deepest nesting of directories.
const MAX_DEPTH: usize = 8;

/// A file as written.
#[derive(Debug)]
pub struct ParsedFile {
    /// Its path.
    pub file: Arc<str>,
    /// Its text, for places of faults.
    pub text: String,
    /// What it says.
    pub form: TestFile,
}

/// A fault of a whole file.
pub(super) fn whole(file: &Arc<str>, message: impl Into<String>) -> BundleError {
    BundleError::single(BundleDiagnostic::for_file(file, message))
}

/// Reads every `*.yaml` in a directory and those within it, or one file.
///
/// # Errors
///
/// Every fault of every file; a directory that cannot be read or holds no test.
pub fn read(path: &Path) -> Result<Vec<ParsedFile>, BundleError> {
    let shown: Arc<str> = Arc::from(path.display().to_string());
    let mut paths = Vec::new();
    if path.is_file() {
        paths.push(path.to_owned());
    } else {
        list(path, 0, &mut paths).map_err(|message| {
            let fault = BundleDiagnostic::for_file(&shown, message);
            BundleError::single(
                fault.with_help("write tests as `tests/*.yaml` beside the policies"),
            )
        })?;
    }
    paths.sort();
    let (mut parsed, mut faults) = (Vec::new(), Vec::new());
    for path in &paths {
        match parse(path) {
            Ok(file) => parsed.push(file),
            Err(fault) => faults.push(fault),
        }
    }
    match BundleError::from_diagnostics(faults) {
        Some(faults) => Err(faults),
        None if parsed.is_empty() => Err(whole(&shown, "there are no tests here")),
        None => Ok(parsed),
    }
}

/// Lists the test files. YAML by another name is a fault rather than no test.
fn list(dir: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("directories nest deeper than {MAX_DEPTH}"));
    }
    let cannot = |error: std::io::Error| format!("cannot read the directory: {error}");
    for entry in std::fs::read_dir(dir).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() && name.ends_with(".yaml") {
            return Err(format!(
                "`{name}` is a directory, and tests are read from files by such names"
            ));
        }
        if path.is_dir() {
            list(&path, depth + 1, paths)?;
        } else if name.ends_with(".yaml") {
            if paths.len() == MAX_FILES {
                return Err(format!("there are more than {MAX_FILES} test files"));
            }
            paths.push(path);
        } else if name.ends_with(".yml") {
            return Err(format!("`{name}` is not read: call it `*.yaml`"));
        }
    }
    Ok(())
}

fn parse(path: &Path) -> Result<ParsedFile, BundleDiagnostic> {
    let file: Arc<str> = Arc::from(path.display().to_string());
    let text = read_text(path, MAX_FILE_BYTES)?;
    let form = parse_text(&file, &text)?;
    if form.tests.is_empty() && form.tables.is_empty() {
        let fault = BundleDiagnostic::for_file(&file, "the file holds no test");
        return Err(fault.with_help("a test stands below `tests:`, a table below `tables:`"));
    }
    Ok(ParsedFile { file, text, form })
}

/// How test files are read: as the text says it, and no key twice.
pub(super) fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
    }
}

/// Parses the text of a file. An unknown or repeated key is a fault.
///
/// # Errors
///
/// The first fault, at its line and column.
pub fn parse_text(file: &Arc<str>, text: &str) -> Result<TestFile, BundleDiagnostic> {
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
        let message = error.without_snippet().to_string();
        let message = worded(&message);
        match error.location() {
            Some(location) if location.line() > 0 => {
                let origin = SourceText { file, text };
                let quoted = message.split('`').nth(1).unwrap_or_default();
                places::at(origin, location, quoted, message.as_str())
            }
            _ => BundleDiagnostic::for_file(file, message),
        }
    })
}

/// A message of the parser in words for those who write tests.
fn worded(message: &str) -> String {
    // Its place is told otherwise, and settings of the parser are none of the author's.
    let ends = [" at line ", ", set DuplicateKeyPolicy", "; use from_str"];
    let cut = |text: &str, end: &&str| text.split(end).next().unwrap_or_default().len();
    let length = ends.iter().map(|end| cut(message, end)).min();
    let bare = &message[..length.unwrap_or(message.len())];
    match bare {
        "invalid u64" | "invalid u32" => "a whole number is expected here, 0 or more".to_owned(),
        "invalid i64" => "a whole number is expected here".to_owned(),
        "expected mapping start" => "a mapping is expected here: `name: value`".to_owned(),
        "expected sequence start" => {
            "a list is expected here: `[a, b]`, or lines with `- `".to_owned()
        }
        _ => bare.replace("a span-aware newtype wrapper", "an entry of this list"),
    }
}

//! Reads test files: YAML within limits, with every fault at its place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::analysis::policy_test::form::TestFile;
use crate::analysis::policy_test::places;
use crate::bundle::diagnostic::{BundleDiagnostic, BundleError, SourceText};
use crate::bundle::files::{is_set_aside, read_text, remark_test};

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

/// What was read.
#[derive(Debug, Default)]
pub struct ReadFiles {
    /// The files, by path.
    pub files: Vec<ParsedFile>,
    /// Files that are not read but look as if they should be.
    pub warnings: Vec<BundleDiagnostic>,
}

/// Reads every `*.yaml` in a directory and those within it, or one file.
///
/// # Errors
///
/// Every fault of every file; a directory that cannot be read or holds no test.
pub fn read(path: &Path) -> Result<ReadFiles, BundleError> {
    let shown: Arc<str> = Arc::from(path.display().to_string());
    let mut listing = TestListing::default();
    if path.is_file() {
        listing.paths.push(path.to_owned());
    } else {
        listing.directory(path, 0).map_err(|message| {
            let fault = BundleDiagnostic::for_file(&shown, message);
            BundleError::single(
                fault.with_help("write tests as `tests/*.yaml` beside the policies"),
            )
        })?;
    }
    let TestListing {
        mut paths,
        mut faults,
        mut warnings,
    } = listing;
    paths.sort();
    warnings.sort_by(|a, b| a.file.cmp(&b.file));
    let mut files = Vec::new();
    for path in &paths {
        match parse(path) {
            Ok(file) => files.push(file),
            Err(fault) => faults.push(fault),
        }
    }
    match BundleError::from_diagnostics(faults) {
        Some(faults) => Err(faults),
        None if files.is_empty() => {
            let none = BundleDiagnostic::for_file(&shown, "there are no tests here");
            let unread = warnings.iter().map(|it| it.file.to_string());
            Err(BundleError::single(
                match unread.collect::<Vec<_>>().as_slice() {
                    [] => none,
                    unread => none.with_help(format!("not read: {}", unread.join(", "))),
                },
            ))
        }
        None => Ok(ReadFiles { files, warnings }),
    }
}

/// The test files of a directory.
#[derive(Default)]
struct TestListing {
    paths: Vec<PathBuf>,
    /// Files that can only have been meant to be tests.
    faults: Vec<BundleDiagnostic>,
    warnings: Vec<BundleDiagnostic>,
}

impl TestListing {
    fn directory(&mut self, dir: &Path, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("directories nest deeper than {MAX_DEPTH}"));
        }
        let cannot = |error: std::io::Error| format!("cannot read the directory: {error}");
        for entry in std::fs::read_dir(dir).map_err(cannot)? {
            let path = entry.map_err(cannot)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                if name.ends_with(".yaml") {
                    return Err(format!(
                        "`{name}` is a directory, and tests are read from files by such names"
                    ));
                }
                if !is_set_aside(&name) {
                    self.directory(&path, depth + 1)?;
                }
                continue;
            }
            let is_test = name.ends_with(".yaml") && !is_set_aside(&name);
            match remark_test(&name, |beside| dir.join(beside).exists()) {
                Some(unread) => {
                    let file = Arc::from(path.display().to_string());
                    let remark = BundleDiagnostic::for_file(&file, "this file is not read");
                    let remark = remark.with_help(unread.help);
                    match unread.is_fault {
                        true => self.faults.push(remark),
                        false => self.warnings.push(remark),
                    }
                }
                None if is_test && self.paths.len() == MAX_FILES => {
                    return Err(format!("there are more than {MAX_FILES} test files"));
                }
                None if is_test => self.paths.push(path),
                None => {}
            }
        }
        Ok(())
    }
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
    let form = serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
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
    })?;
    match places::inexact_number(SourceText { file, text }) {
        Some(fault) => Err(fault),
        None => Ok(form),
    }
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

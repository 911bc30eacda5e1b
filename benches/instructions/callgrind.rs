//! Runs this program under callgrind, reads what it counted, and holds that against `baseline.txt`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::DECISIONS;
use crate::kinds::Kind;

/// The argument by which the program knows that it is counted.
pub const COUNTED: &str = "--counted";

/// A decision may take this many percent more than the baseline says.
const TOLERANCE: u64 = 3;

/// Instructions of one decision of each kind, in the order of [`Kind::ALL`].
pub type Counts = Vec<u64>;

/// Counts each kind.
pub fn run() -> Result<Counts, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = folder.path().join("counts");
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--collect-atstart=no"])
        .arg("--toggle-collect=*counted_decisions*")
        .arg("--dump-after=*counted_decisions*")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .arg(COUNTED)
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("valgrind: {error}"))?;
    if !status.success() {
        return Err(format!("valgrind: {status}"));
    }
    let number = 1..=Kind::ALL.len();
    number.map(|number| total(&file, number)).collect()
}

/// The total of one dump: callgrind numbers them in the order in which they were made.
fn total(file: &Path, number: usize) -> Result<u64, String> {
    let path = format!("{}.{number}", file.display());
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = text.lines().find_map(|line| {
        line.strip_prefix("totals: ")
            .or_else(|| line.strip_prefix("summary: "))
    });
    let total: Option<u64> = line.and_then(|line| line.trim().parse().ok());
    match total {
        Some(total) if total > 0 => Ok(total / DECISIONS),
        _ => Err(format!("{path} has no total")),
    }
}

fn baseline() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/baseline.txt")
}

/// What counts depend on besides the program: they are compared only if it is the same.
fn conditions() -> Result<String, String> {
    let output = Command::new("rustc").arg("--version").output();
    let output = output.map_err(|error| format!("rustc: {error}"))?;
    let compiler = String::from_utf8_lossy(&output.stdout);
    let profile = match cfg!(debug_assertions) {
        true => "not optimised",
        false => "optimised",
    };
    let processor = std::env::consts::ARCH;
    Ok(format!("{}, {processor}, {profile}", compiler.trim()))
}

/// Writes the counts as the new baseline.
pub fn write(counts: &Counts) -> Result<(), String> {
    let mut text = String::from("# Instructions of one decision: benches/README.md.\n");
    // Writing to a string cannot fail.
    let _ = writeln!(text, "by {}", conditions()?);
    for (kind, count) in Kind::ALL.into_iter().zip(counts) {
        let _ = writeln!(text, "{} {count}", kind.name());
    }
    fs::write(baseline(), text).map_err(|error| error.to_string())
}

/// Fails if a decision takes over [`TOLERANCE`] percent more than the baseline says. Counts of another
/// compiler, processor or profile are not comparable, which is said and is no failure.
pub fn check(counts: &Counts) -> Result<(), String> {
    let text = fs::read_to_string(baseline()).map_err(|error| error.to_string())?;
    let value = |name: &str| {
        let rest = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned());
        text.lines().find_map(rest)
    };
    let conditions = conditions()?;
    if value("by").as_deref() != Some(&*conditions) {
        println!("SKIPPED: the baseline was not counted by {conditions}");
        return Ok(());
    }
    let mut faults = String::new();
    for (kind, count) in Kind::ALL.into_iter().zip(counts) {
        let name = kind.name();
        let known: Option<u64> = value(name).and_then(|text| text.parse().ok());
        let known = known.ok_or_else(|| format!("the baseline does not say `{name}`"))?;
        if *count * 100 > known * (100 + TOLERANCE) {
            let _ = writeln!(
                faults,
                "`{name}` takes {count} instructions, the baseline says {known}"
            );
        }
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "{faults}A change that is worth that is made together with the baseline: \
             cargo test --bench instructions -- --write"
        )),
    }
}

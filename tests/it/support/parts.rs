//! What some tests need and the repository does not hold: where it is.
//!
//! Such a test is ignored with `needs …` as the reason, and `tests/run` leaves it out where that is not there. Run without,
//! it fails: it never passes without having run. `tests/README.md` says where everything comes from.

use std::env;
use std::path::{Path, PathBuf};

fn named(variable: &str, installed_by: &str) -> PathBuf {
    let path = env::var_os(variable).map(PathBuf::from);
    path.unwrap_or_else(|| panic!("{variable} names nothing: {installed_by}"))
}

/// Public data, by its place in the folder that `CALLGATE_SHARED` names.
pub fn public_data(name: &str) -> PathBuf {
    let shared = named(
        "CALLGATE_SHARED",
        "scripts/public-data says where data comes from",
    );
    let path = shared.join("data").join(name);
    assert!(path.exists(), "{} is not there", path.display());
    path
}

/// The modules of npm.
pub fn npm() -> PathBuf {
    named(
        "CALLGATE_TEST_NPM",
        "tests/run installs the packages where there is npm",
    )
}

/// ToolHive's own authorization, as a program.
pub fn toolhive() -> PathBuf {
    named(
        "CALLGATE_TEST_TOOLHIVE",
        "tests/run builds it where there is Go",
    )
}

/// agentgateway, as a program.
pub fn agentgateway() -> PathBuf {
    named(
        "AGENTGATEWAY",
        "no package registry has it: build it from its repository",
    )
}

/// A verifier of decision logs that is written in Go.
pub fn tlog_verify() -> PathBuf {
    named(
        "CALLGATE_TEST_TLOG",
        "tests/run builds it where there is Go",
    )
}

/// The oldest releases of Envoy, a folder each.
pub fn oldest_envoys() -> PathBuf {
    named("CALLGATE_TEST_ENVOY", "tests/run installs them")
}

/// What one of the scripts in `tests/` has fetched.
pub fn fetched(place: &str, script: &str) -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools");
    let path = tools.join(place);
    assert!(
        path.exists(),
        "{} is not there: {script} fetches it",
        path.display()
    );
    path
}

/// The folder of `prometheus` and `promtool`.
pub fn prometheus() -> PathBuf {
    named(
        "CALLGATE_TEST_PROMETHEUS",
        "tests/run takes it from Debian's package",
    )
}

/// An OpenTelemetry Collector.
pub fn otelcol() -> PathBuf {
    named(
        "CALLGATE_TEST_OTELCOL",
        "tests/run builds it where there is Go and CALLGATE_LONG is set",
    )
}

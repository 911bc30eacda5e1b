//! docs/capacity.md shows what `scripts/capacity` prints, and what that refuses.

use std::path::Path;
use std::process::{Command, Output};

const PAGE: &str = include_str!("../../../docs/capacity.md");

fn capacity(arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("python3");
    command.arg(root.join("scripts/capacity")).args(arguments);
    command.output().expect("python3 starts")
}

fn printed(arguments: &[&str]) -> String {
    let output = capacity(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
#[ignore = "needs Python 3"]
fn the_page_shows_what_the_script_prints() {
    let table = printed(&[]);
    assert!(PAGE.contains(&table), "docs/capacity.md lacks\n{table}");
}

/// More load never needs less, and a database that has to take more is never faster.
#[test]
#[ignore = "needs Python 3"]
fn more_agents_never_need_less() {
    let planned = printed(&["--json"]);
    let planned: Vec<serde_json::Value> = serde_json::from_str(&planned).expect("JSON");
    let known = [
        "cores",
        "memory_gib",
        "commits_a_second",
        "databases",
        "p50_ms",
    ];
    for pair in planned.windows(2) {
        for name in known {
            let of = |size: &serde_json::Value| size[name].as_f64().unwrap_or(f64::INFINITY);
            assert!(of(&pair[0]) <= of(&pair[1]), "{name}: {pair:#?}");
        }
    }
    let last = planned.last().expect("a size");
    assert!(
        last["databases"].as_u64() > Some(1),
        "one database is always enough: {last:#?}"
    );
}

#[test]
#[ignore = "needs Python 3"]
fn what_makes_no_sense_is_refused_by_its_name() {
    for (arguments, said) in [
        (["--cost", "commit=2"], "no cost is called commit"),
        (["--load", "calls_a_minute=many"], "'many' is not a number"),
        (["--load", "calls_a_session=0"], "more than nothing"),
        (["--cost", "call_cpu_us=inf"], "and a number"),
        (["--against", "/no/such/file"], "No such file"),
        (["--agents", "0"], "at least one"),
        (["--tenants", "-1"], "at least one"),
    ] {
        let output = capacity(&arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
}

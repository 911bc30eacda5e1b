//! What the tools of policy authors cost: `cargo bench --bench workbench`.
//!
//! Tests, the report on access, checks and proofs, over the shipped directory and a generated one of ten thousand policies.
//! Prints `METRIC <name> <value> <unit>`. Proofs are left out, and named, where there is no solver (`CVC5`, or `cvc5` in the
//! search path).

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use callgate::analysis::access::{AccessQuery, access};
use callgate::analysis::check::check;
use callgate::analysis::policy_test::TestedBundle;
use callgate::analysis::policy_test::mutate::mutate;
use callgate::analysis::prove::{ProofError, ProofReport, ProofRequest, prove};
use callgate::bundle;

/// Rounds, of which the median counts.
const ROUNDS: usize = 5;
/// Policies of the generated directory.
const POLICIES: usize = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    tests(&shipped)?;
    pairs(&shipped)?;
    checks(&shipped)?;
    proofs(&shipped)
}

fn metric(name: &str, value: f64, unit: &str) {
    println!("METRIC {name} {value:.3} {unit}");
}

/// The median of the seconds of some rounds.
fn seconds(mut round: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let mut all = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        round()?;
        all.push(started.elapsed().as_secs_f64());
    }
    all.sort_by(f64::total_cmp);
    Ok(all[ROUNDS / 2])
}

fn tests(dir: &Path) -> Result<(), Box<dyn Error>> {
    let tested = TestedBundle::load(dir, None)?;
    for (name, with_coverage) in [
        ("test.cases_per_s", false),
        ("test.covered_cases_per_s", true),
    ] {
        let took = seconds(|| {
            let ran = tested.run(None, with_coverage)?;
            match ran.is_passed() {
                true => Ok(()),
                false => Err("a shipped test fails".into()),
            }
        })?;
        metric(name, tested.len() as f64 / took, "1/s");
    }
    let started = Instant::now();
    let report = mutate(&tested, None, false)?;
    let took = started.elapsed().as_secs_f64();
    metric(
        "test.mutants_per_s",
        report.mutants.len() as f64 / took,
        "1/s",
    );
    Ok(())
}

fn pairs(dir: &Path) -> Result<(), Box<dyn Error>> {
    let bundle = bundle::load(dir)?;
    let mut pairs = 0;
    let took = seconds(|| {
        let report = access(&bundle, &AccessQuery::default())?;
        let cells = report.rows.iter().flat_map(|row| &row.cells);
        // A cell holds a case for everyone for whom the subject acts, or one if it acts for nobody.
        let cases = cells.flat_map(|cell| &cell.cases);
        pairs = cases.map(|case| case.on_behalf_of.len().max(1)).sum();
        Ok(())
    })?;
    metric("access.pairs_per_s", pairs as f64 / took, "1/s");
    Ok(())
}

/// A directory of many policies: each about one team and one tool.
fn generated(shipped: &Path) -> Result<tempfile::TempDir, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    for folder in ["entities", "tools"] {
        fs::create_dir(dir.path().join(folder))?;
        for entry in fs::read_dir(shipped.join(folder))? {
            let path: PathBuf = entry?.path();
            let name = path.file_name().ok_or("a file has a name")?;
            fs::copy(&path, dir.path().join(folder).join(name))?;
        }
    }
    let mut text = String::new();
    for index in 0..POLICIES {
        let effect = if index % 10 == 0 { "forbid" } else { "permit" };
        writeln!(
            text,
            "@id(\"team.{index}\")\n@owner(\"it\")\n@reason(\"generated\")\n{effect} (\n  principal in Mcp::Group::\"team-{}\",\n  action in Mcp::Action::\"call_read\",\n  resource\n)\nwhen {{ resource.sensitivity != \"restricted\" && context has session && context.session.calls < {} }};",
            index % 1_000,
            index % 97 + 3
        )?;
    }
    fs::write(dir.path().join("teams.cedar"), text)?;
    Ok(dir)
}

fn checks(shipped: &Path) -> Result<(), Box<dyn Error>> {
    let took = seconds(|| Ok(check(shipped, None, false).map(drop)?))?;
    metric("check.shipped", took, "s");
    let dir = generated(shipped)?;
    let took = seconds(|| {
        let report = check(dir.path(), None, false)?;
        assert_eq!(report.counts.policies, POLICIES);
        Ok(())
    })?;
    metric("check.policies_10000", took, "s");
    Ok(())
}

fn proofs(dir: &Path) -> Result<(), Box<dyn Error>> {
    let ask = |with_policies| {
        prove(&ProofRequest {
            dir: dir.to_owned(),
            with_policies,
            ..ProofRequest::default()
        })
    };
    match ask(false) {
        Err(ProofError::Solver(said)) => {
            println!("proofs are left out: {said}");
            return Ok(());
        }
        answered => metric("prove.skip_policies", seconds_of(&answered?), "s"),
    };
    let whole = ask(true)?;
    metric("prove.whole", seconds_of(&whole), "s");
    for it in &whole.questions {
        let name = it.kind.as_str();
        metric(&format!("prove.{name}"), it.millis as f64 / 1e3, "s");
        metric(&format!("prove.{name}.asked"), it.asked as f64, "questions");
    }
    metric("prove.findings", whole.findings.len() as f64, "findings");
    Ok(())
}

fn seconds_of(report: &ProofReport) -> f64 {
    report.millis as f64 / 1e3
}

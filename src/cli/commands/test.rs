//! `callgate test`: runs the tests beside the policies.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use serde_json::json;

use crate::analysis::policy_test::coverage::{Coverage, PolicyCoverage};
use crate::analysis::policy_test::mutate::{Fate, MutantReport, MutationReport, mutate};
use crate::analysis::policy_test::report::Demand;
use crate::analysis::policy_test::run::RunReport;
use crate::analysis::policy_test::{TESTS_DIR, TestedBundle, report};
use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::files::listing;
use crate::cli::output::{Exit, Output, note};
use crate::cli::render::{count, printable};
use crate::domain::request::visible::escaped_lines;

/// How often a watched directory is looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// Runs the tests beside the policies, without a server
///
/// Tests are YAML: calls under stated circumstances, and the decisions they must get (docs/policy-tests.md). They are read
/// from `tests/*.yaml` in the directory. A failure is shown as a diff, with the conditions that decided.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The directory with the policies
    #[arg(default_value = "./policies")]
    pub dir: PathBuf,
    /// Read the configuration from this file rather than from `callgate.toml` in the directory, as `callgate serve --config`
    /// does
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Read the tests from this directory or file rather than from `tests/` in the directory
    #[arg(long, value_name = "PATH")]
    pub tests: Option<PathBuf>,
    /// Run only cases whose name or file contains this
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// Say which policies and conditions the tests exercise
    #[arg(long)]
    pub coverage: bool,
    /// Fail if fewer conditions are covered, in percent
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub min_coverage: Option<u8>,
    /// Change the policies one small thing at a time, and say which changes no test notices
    #[arg(long)]
    pub mutate: bool,
    /// Mutate only policies whose id contains this
    #[arg(long, value_name = "TEXT", requires = "mutate")]
    pub policy: Option<String>,
    /// Ask no solver whether a change that no test notices means the same as the policy
    #[arg(long, requires = "mutate")]
    pub no_proof: bool,
    /// Run again whenever a file changes, until interrupted
    #[arg(long, conflicts_with_all = ["mutate", "output"])]
    pub watch: bool,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    pub output: Format,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// JUnit XML, for build servers.
    Junit,
    /// TAP version 14.
    Tap,
}

impl Args {
    /// How errors are printed.
    pub fn output(&self) -> Output {
        match self.output {
            Format::Json => Output::Json,
            Format::Text | Format::Junit | Format::Tap => Output::Text,
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  callgate test                              run policies/tests/*.yaml
  callgate test --only link                   one case
  callgate test --watch                      again whenever a file changes
  callgate test --coverage --min-coverage 100
                                             which conditions were never true, or never false?
  callgate test --mutate                     which changes of the policies would no test notice?
  callgate test --output junit > tests.xml   for a build server

Exit codes: 0 all as wanted, 1 error, 2 a test failed, a mutant survived or too little is covered,
3 the directory or its tests have faults.";

/// Runs the tests and prints the results.
///
/// # Errors
///
/// If the results cannot be printed.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.watch {
        return watch(args);
    }
    run_once(args)
}

fn run_once(args: &Args) -> anyhow::Result<Exit> {
    let tested =
        match TestedBundle::load_with(&args.dir, args.config.as_deref(), args.tests.as_deref()) {
            Ok(tested) => tested,
            Err(faults) => return args.output().faults(&faults),
        };
    if args.output != Format::Json {
        for warning in &tested.warnings {
            note(escaped_lines(&warning.as_warning().to_string()));
        }
    }
    let with_coverage = args.coverage || args.min_coverage.is_some();
    let ran = match tested.run(args.only.as_deref(), with_coverage) {
        Ok(ran) => ran,
        Err(faults) => return args.output().faults(&faults),
    };
    // What tests nothing must not look like a success.
    if let (Some(only), true) = (&args.only, ran.cases.is_empty()) {
        anyhow::bail!("no test has `{}` in its name or file", printable(only));
    }
    let mutants = match args.mutate && ran.is_passed() {
        false => None,
        true => match mutate(&tested, args.policy.as_deref(), !args.no_proof) {
            Ok(mutants) => {
                if let (Some(policy), true) = (&args.policy, mutants.mutants.is_empty()) {
                    anyhow::bail!("no policy has `{}` in its id", printable(policy));
                }
                Some(mutants)
            }
            Err(faults) => return args.output().faults(&faults),
        },
    };
    let demands = demands(args, &ran, mutants.as_ref());
    let results = Results {
        args,
        warnings: &tested.warnings,
        ran: &ran,
        mutants: mutants.as_ref(),
        demands: &demands,
    };
    print(&results)?;
    Ok(
        match ran.is_passed() && demands.iter().all(Demand::is_met) {
            true => Exit::Done,
            false => Exit::Denied,
        },
    )
}

/// What the flags demand besides that the tests pass.
fn demands(args: &Args, ran: &RunReport, mutants: Option<&MutationReport>) -> Vec<Demand> {
    let mut demands = Vec::new();
    if let (Some(least), Some(coverage)) = (args.min_coverage, &ran.coverage) {
        let covered = coverage.percent();
        let lacking = match covered >= usize::from(least) {
            true => Vec::new(),
            false => {
                let mut lacking = vec![format!("{covered} % of conditions are true and false")];
                let policies: String = coverage.policies.iter().map(uncovered).collect();
                lacking.extend(policies.lines().map(str::to_owned));
                lacking
            }
        };
        demands.push(Demand {
            name: format!("at least {least} % of conditions are true and false"),
            lacking,
        });
    }
    if let Some(mutants) = mutants {
        demands.push(Demand {
            name: "every change of a policy is noticed".to_owned(),
            lacking: mutants.survivors().map(survivor).collect(),
        });
    }
    demands
}

fn print(results: &Results<'_>) -> anyhow::Result<()> {
    let Results {
        args,
        warnings,
        ran,
        mutants,
        demands,
    } = *results;
    match args.output {
        Format::Text => Output::Text.answer(results, &""),
        Format::Json => {
            let failed = ran.failures().count();
            let json = json!({
                "ok": ran.is_passed() && unmet(demands).next().is_none(),
                "passed": ran.cases.len() - failed,
                "failed": failed,
                "cases": ran.cases,
                "warnings": warnings,
                "coverage": ran.coverage,
                "mutants": mutants.map(|it| &it.mutants),
                "unmet": unmet(demands).map(|it| &it.name).collect::<Vec<_>>(),
            });
            Output::Json.answer(&"", &json)
        }
        Format::Junit => Output::Text.answer(&report::junit(ran, demands), &""),
        Format::Tap => Output::Text.answer(&report::tap(ran, demands), &""),
    }
}

/// Runs again whenever a policy, another file of the bundle or a test changes.
fn watch(args: &Args) -> anyhow::Result<Exit> {
    let tests = args
        .tests
        .clone()
        .unwrap_or_else(|| args.dir.join(TESTS_DIR));
    let mut before = None;
    loop {
        let now = (files_listing(&args.dir), newest(&tests, 0));
        if before.as_ref() != Some(&now) {
            before = Some(now);
            if let Err(error) = run_once(args) {
                Output::Text.next(&format!("error: {error}\n"), &"")?;
            }
            Output::Text.next(&"\nwaiting for changes (Ctrl-C ends it)\n\n", &"")?;
        }
        std::thread::sleep(WATCH_INTERVAL);
    }
}

fn files_listing(dir: &Path) -> Option<listing::DirectoryListing> {
    crate::bundle::files::listing(dir)
}

/// The number of files, and the latest time that one of them was written.
fn newest(path: &Path, depth: usize) -> (usize, Option<SystemTime>) {
    let Ok(metadata) = std::fs::metadata(path) else {
        return (0, None);
    };
    let mut found = (1, metadata.modified().ok());
    if metadata.is_dir() && depth < 8 {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            let (files, latest) = newest(&entry.path(), depth + 1);
            found = (found.0 + files, found.1.max(latest));
        }
    }
    found
}

/// What is printed.
#[derive(Clone, Copy)]
struct Results<'a> {
    args: &'a Args,
    warnings: &'a [BundleDiagnostic],
    ran: &'a RunReport,
    mutants: Option<&'a MutationReport>,
    demands: &'a [Demand],
}

impl Display for Results<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in self.ran.failures() {
            let (file, name) = (printable(&case.file), printable(&case.name));
            writeln!(f, "FAILED {file}:{}: {name}", case.line)?;
            for line in report::failure_lines(case) {
                writeln!(f, "  {}", printable(&line))?;
            }
            writeln!(f)?;
        }
        if let Some(coverage) = self.ran.coverage.as_ref() {
            let least = self.args.min_coverage.map(usize::from);
            let is_short = least.is_some_and(|least| coverage.percent() < least);
            coverage_text(f, coverage, self.args.coverage || is_short)?;
        }
        if let Some(mutants) = self.mutants {
            mutants_text(f, mutants)?;
        }
        let failed = self.ran.failures().count();
        let all = self.ran.cases.len();
        let millis = self.ran.took.as_secs_f64() * 1e3;
        let each = millis / (all.max(1) as f64);
        write!(f, "{} passed", all - failed)?;
        if failed > 0 {
            write!(f, ", {failed} failed")?;
        }
        writeln!(f, " ({millis:.0} ms, {each:.3} ms a case)")?;
        for demand in unmet(self.demands) {
            writeln!(f, "NOT MET: {}", demand.name)?;
        }
        if self.args.mutate && self.mutants.is_none() {
            writeln!(f, "nothing was mutated: first all tests have to pass")?;
        }
        Ok(())
    }
}

fn coverage_text(f: &mut fmt::Formatter<'_>, coverage: &Coverage, in_full: bool) -> fmt::Result {
    if in_full {
        for policy in &coverage.policies {
            f.write_str(&uncovered(policy))?;
        }
    }
    let (policies, covered) = (coverage.policies.len(), coverage.policies_covered);
    writeln!(f, "policies that applied     {covered} of {policies}")?;
    writeln!(
        f,
        "conditions true and false {} of {} ({} %)",
        coverage.conditions_covered,
        coverage.conditions,
        coverage.percent()
    )
}

/// What of a policy is not covered; empty if nothing.
fn uncovered(policy: &PolicyCoverage) -> String {
    let lacking: Vec<_> = policy
        .conditions
        .iter()
        .filter(|it| !it.is_covered())
        .collect();
    if policy.is_covered() && lacking.is_empty() {
        return String::new();
    }
    let what = match (policy.matched, policy.satisfied) {
        (0, _) => "never asked",
        (_, 0) => "never applied",
        _ => "in part",
    };
    let (id, file) = (printable(&policy.id), printable(&policy.file));
    let mut text = format!("{id} ({file}:{}): {what}\n", policy.line);
    for condition in lacking {
        let (line, part) = (condition.line, printable(&condition.text));
        text.push_str(&format!("    line {line}: {}: {part}\n", condition.lacks()));
    }
    text
}

fn unmet(demands: &[Demand]) -> impl Iterator<Item = &Demand> {
    demands.iter().filter(|it| !it.is_met())
}

/// A mutant that no test noticed, in a line.
fn survivor(mutant: &MutantReport) -> String {
    let (file, policy) = (printable(&mutant.file), printable(&mutant.policy));
    let kind = mutant.kind.as_str();
    let mut text = format!("{file}:{}: {policy}: {kind}", mutant.line);
    if !mutant.part.is_empty() {
        text.push_str(&format!(": {}", printable(&mutant.part)));
    }
    text
}

fn mutants_text(f: &mut fmt::Formatter<'_>, mutants: &MutationReport) -> fmt::Result {
    for mutant in mutants.survivors() {
        writeln!(f, "SURVIVED {}", survivor(mutant))?;
        if let Fate::Survived {
            unproven: Some(said),
        } = &mutant.fate
        {
            writeln!(f, "    not proven equivalent: {}", printable(said))?;
        }
    }
    let killed = mutants.count(|fate| matches!(fate, Fate::Killed { .. }));
    let invalid = mutants.count(|fate| *fate == Fate::Invalid);
    let equivalent = mutants.count(|fate| *fate == Fate::Equivalent);
    let all = count(mutants.mutants.len(), "mutant");
    writeln!(
        f,
        "{all}: {killed} killed, {invalid} that do not validate, {equivalent} proven equivalent, {} survived",
        mutants.survivors().count()
    )
}

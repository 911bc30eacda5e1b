//! `callgate check`: checks a directory.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::analysis::check::{self, BundleReport};
use crate::bundle::BundleCounts;
use crate::cli::output::{Exit, Output};
use crate::cli::render::{count, printable, printables};

/// Checks a directory of policies as the server would load it
///
/// Reads every policy, schema, entity and registration, and reports all faults at once, each with file,
/// line and caret. Policies and entities are validated strictly against the merged schema, and what they name is
/// looked up among the entities, tools and labels of the directory: `[bundle]` in its configuration says which names
/// come from elsewhere, and with `strict = true` that warnings are faults, here and when it is served.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The directory
    #[arg(default_value = "./policies")]
    pub dir: PathBuf,
    /// Take warnings for faults, as the configuration can demand
    #[arg(long)]
    pub strict: bool,
    /// Read the configuration from this file rather than from `callgate.toml` in the directory
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  callgate check                           check ./policies
  callgate check policies --strict         for a pipeline: warnings are faults
  callgate check policies --output json    faults as {file, line, column, message, help}

Exit codes: 0 in order, 1 error, 3 faults.";

/// Checks the directory and prints the report.
///
/// # Errors
///
/// If the report cannot be printed.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let report = match check::check(&args.dir, args.config.as_deref(), args.strict) {
        Ok(report) => report,
        Err(faults) => return args.output.faults(&faults),
    };
    let dir = args.dir.display().to_string();
    args.output.answer(
        &CheckText {
            dir: &dir,
            report: &report,
        },
        &CheckJson {
            ok: true,
            report: &report,
        },
    )?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct CheckJson<'a> {
    ok: bool,
    #[serde(flatten)]
    report: &'a BundleReport,
}

struct CheckText<'a> {
    dir: &'a str,
    report: &'a BundleReport,
}

impl fmt::Display for CheckText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BundleReport { counts, .. } = self.report;
        for warning in &self.report.warnings {
            writeln!(f, "{}", warning.as_warning())?;
        }
        writeln!(f, "{} is in order", printable(self.dir))?;
        writeln!(f)?;
        writeln!(f, "  policies  {}{}", counts.policies, of_templates(counts))?;
        let width = self
            .report
            .concerns
            .iter()
            .map(|concern| printable(&concern.file).len())
            .max()
            .unwrap_or(0);
        for concern in &self.report.concerns {
            let (permits, forbids) = (
                count(concern.permits, "permit"),
                count(concern.forbids, "forbid"),
            );
            writeln!(
                f,
                "            {:width$}  {permits}, {forbids}",
                printable(&concern.file)
            )?;
        }
        if !self.report.owners.is_empty() {
            let owners = self
                .report
                .owners
                .iter()
                .map(|(owner, count)| format!("{} {count}", printable(owner)));
            writeln!(f, "  owners    {}", owners.collect::<Vec<_>>().join(", "))?;
        }
        list(f, "  no owner  ", &self.report.unowned)?;
        list(f, "  shadow    ", &self.report.shadow)?;
        writeln!(
            f,
            "  level     {} (the most steps a policy looks away from the call)",
            counts.level
        )?;
        writeln!(
            f,
            "  schema    {}",
            count(counts.schema_fragments, "fragment")
        )?;
        writeln!(f, "  entities  {}", counts.entities)?;
        writeln!(f, "  servers   {}", counts.servers)?;
        writeln!(f, "  tools     {}{}", counts.tools, self.kinds_of_tools())?;
        self.unconfirmed(f)?;
        self.partly_typed(f)?;
        writeln!(f, "  digest    {}", self.report.digest)
    }
}

impl CheckText<'_> {
    fn kinds_of_tools(&self) -> String {
        let effects = self.report.effects.iter();
        let mut kinds: Vec<(&str, usize)> = effects.map(|(access, n)| (&**access, *n)).collect();
        kinds.push(("unconfirmed", self.report.unconfirmed.len()));
        kinds.push(("typed", self.report.counts.typed_tools));
        let kinds = kinds.iter().filter(|(_, n)| *n > 0);
        let kinds: Vec<String> = kinds.map(|(kind, n)| format!("{kind} {n}")).collect();
        if kinds.is_empty() {
            String::new()
        } else {
            format!(" ({})", kinds.join(", "))
        }
    }

    fn partly_typed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.report.partly_typed.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\n  arguments of typed tools that policies can say nothing of:"
        )?;
        for tool in &self.report.partly_typed {
            for argument in &tool.left_out {
                let name = match argument.argument.as_str() {
                    "" => "all of them",
                    name => name,
                };
                let (tool, name) = (printable(&tool.tool), printable(name));
                writeln!(f, "            {tool}: {name}: {}", argument.reason)?;
            }
        }
        writeln!(f)
    }

    fn unconfirmed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unconfirmed = &self.report.unconfirmed;
        if unconfirmed.is_empty() {
            return Ok(());
        }
        let tools = count(unconfirmed.len(), "tool");
        writeln!(
            f,
            "\n  {tools} not confirmed by anyone; until then each counts as admin:"
        )?;
        for tool in unconfirmed {
            let changed = if tool.is_changed {
                ", changed by its server"
            } else {
                ""
            };
            writeln!(
                f,
                "            {} (proposed: {}{changed})",
                printable(&tool.tool),
                tool.proposed_access
            )?;
        }
        writeln!(f)
    }
}

/// Details of the policies.
fn of_templates(counts: &BundleCounts) -> String {
    match (counts.policies, counts.templates, counts.links) {
        (0, 0, 0) => ", so everything is denied".to_owned(),
        (_, 0, 0) => String::new(),
        (_, templates, links) => format!(" (templates {templates}, links {links})"),
    }
}

fn list(f: &mut fmt::Formatter<'_>, label: &str, ids: &[String]) -> fmt::Result {
    if ids.is_empty() {
        Ok(())
    } else {
        writeln!(f, "{label}{}", printables(ids))
    }
}

//! `callgate check`: checks a directory.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;

use crate::analysis::check::{self, BundleReport};
use crate::analysis::lint::annotations;
use crate::analysis::lint::code::Code;
use crate::bundle::BundleCounts;
use crate::bundle::diagnostic::{BundleError, SourceText};
use crate::cli::named_files::{self, MissingFile, NamedFiles};
use crate::cli::output::{Exit, Output};
use crate::cli::render::{count, left_aligned, printable, printables};
use crate::config::Config;

/// Checks a directory of policies as the server would load it
///
/// Reads every policy, schema, entity and registration, and reports all faults at once, each with file,
/// line and caret. Policies and entities are validated strictly against the merged schema, and what they name is
/// looked up among the entities, tools and labels of the directory: `[bundle]` in its configuration says which names
/// come from elsewhere, and with `strict = true` that warnings are faults, here and when it is served.
///
/// Certificates and keys that the configuration names are read as a start reads them: a key that does not fit its
/// certificate, or that others can read, is a fault. Those that are not here are listed.
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
    /// The server is to run here: what the configuration names has to be there, and the database is asked
    #[arg(long)]
    pub connect: bool,
    /// Fail if there is a lint
    #[arg(long)]
    pub deny_lints: bool,
    /// Every place of every lint, and every tool that nobody has confirmed
    #[arg(long)]
    pub details: bool,
    /// Say what a lint means and how to allow it; `all` lists them
    #[arg(long, value_name = "CODE")]
    pub explain: Option<String>,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    pub output: Format,
}

/// How the report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Workflow commands of GitHub, which annotate the changed files.
    Github,
}

impl Args {
    /// How errors are printed.
    pub fn output(&self) -> Output {
        match self.output {
            Format::Json => Output::Json,
            Format::Text | Format::Sarif | Format::Github => Output::Text,
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  callgate check                           check ./policies
  callgate check policies --strict         for a pipeline: warnings are faults
  callgate check policies --output json    faults as {file, line, column, message, help}
  callgate check --connect                 before a start: certificates, keys and the database, too
  callgate check --output sarif            for code scanning
  callgate check --explain wide-permit     what a lint means, and how to allow it

Exit codes: 0 in order, 1 error, 3 faults, with `--deny-lints` also lints.";

/// Checks the directory and prints the report.
///
/// # Errors
///
/// If the report cannot be printed.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if let Some(name) = &args.explain {
        return explain(args, name);
    }
    let (checked, named) = checked(args);
    let annotations = match args.output {
        Format::Sarif => Some(annotations::sarif(&checked)),
        Format::Github => Some(annotations::github(&checked)),
        Format::Text | Format::Json => None,
    };
    let report = match (checked, annotations) {
        (Err(faults), None) => return args.output().faults(&faults),
        (Err(_), Some(text)) => {
            Output::Text.answer(&text, &"")?;
            return Ok(Exit::Faults);
        }
        (Ok(report), None) => {
            let dir = args.dir.display().to_string();
            let text = CheckText {
                dir: &dir,
                report: &report,
                named: &named,
                with_details: args.details,
                denies_lints: args.deny_lints,
            };
            let ok = true;
            let json = CheckJson {
                ok,
                report: &report,
                missing_files: &named.missing,
                database: named.database.as_deref(),
            };
            args.output().answer(&text, &json)?;
            report
        }
        (Ok(report), Some(text)) => {
            Output::Text.answer(&text, &"")?;
            report
        }
    };
    Ok(match args.deny_lints && !report.lints.is_empty() {
        true => Exit::Faults,
        false => Exit::Done,
    })
}

/// Checks the directory, and the files that its configuration names.
fn checked(args: &Args) -> (Result<BundleReport, BundleError>, NamedFiles) {
    let mut checked = check::check(&args.dir, args.config.as_deref(), args.strict);
    let path = (args.config.clone()).unwrap_or_else(|| args.dir.join(Config::FILE_NAME));
    let file: Arc<str> = Arc::from(path.display().to_string());
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    // What is wrong with the configuration itself is told by the check of the directory.
    let Ok(config) = Config::from_toml(&text, &file) else {
        return (checked, NamedFiles::default());
    };
    let origin = SourceText {
        file: &file,
        text: &text,
    };
    let base = path.parent().unwrap_or(&args.dir);
    let mut named = named_files::look(&config, origin, base, args.connect);
    let mut faults = std::mem::take(&mut named.faults);
    let warnings = std::mem::take(&mut named.warnings);
    match &mut checked {
        Ok(report) if !args.strict && !config.bundle.strict => report.warnings.extend(warnings),
        _ => faults.extend(warnings),
    }
    if let Err(found) = &checked {
        faults.extend(found.iter().cloned());
    }
    match BundleError::from_diagnostics(faults) {
        Some(faults) => (Err(faults), named),
        None => (checked, named),
    }
}

/// Prints the page of a lint, or the list of all.
fn explain(args: &Args, name: &str) -> anyhow::Result<Exit> {
    let page = |code: Code| {
        json!({
            "code": code,
            "title": code.title(),
            "page": code.page(),
            "allow": code.how_to_allow().replace("CODE", code.as_str()),
        })
    };
    if name == "all" {
        let mut text = String::new();
        for code in Code::ALL {
            text.push_str(&format!("{:22} {}\n", code.as_str(), code.title()));
        }
        args.output().answer(&text, &Code::ALL.map(page))?;
        return Ok(Exit::Done);
    }
    let Some(code) = Code::from_name(name) else {
        anyhow::bail!("there is no lint `{name}`: `callgate check --explain all` lists them");
    };
    let text = format!(
        "{}: {}\n\n{}\n\nTo allow it: {}\n",
        code.as_str(),
        code.title(),
        code.page(),
        code.how_to_allow().replace("CODE", code.as_str())
    );
    args.output().answer(&text, &page(code))?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct CheckJson<'a> {
    ok: bool,
    #[serde(flatten)]
    report: &'a BundleReport,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    missing_files: &'a [MissingFile],
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<&'a str>,
}

struct CheckText<'a> {
    dir: &'a str,
    report: &'a BundleReport,
    named: &'a NamedFiles,
    with_details: bool,
    denies_lints: bool,
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
            .map(|concern| printable(&concern.file).chars().count())
            .max()
            .unwrap_or(0);
        for concern in &self.report.concerns {
            let (permits, forbids) = (
                count(concern.permits, "permit"),
                count(concern.forbids, "forbid"),
            );
            let file = left_aligned(&printable(&concern.file), width);
            writeln!(f, "            {file}  {permits}, {forbids}")?;
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
        if let Some(observed) = &self.report.observed {
            writeln!(f, "  observed  NOT ENFORCED: {}", printable(observed))?;
        }
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
        writeln!(f, "  digest    {}", self.report.digest)?;
        if let Some(said) = &self.named.database {
            writeln!(f, "  database  {}", printable(said))?;
        }
        for it in &self.named.missing {
            let file = it.file.display().to_string();
            writeln!(
                f,
                "  not here  {}, which `{}` names",
                printable(&file),
                it.field
            )?;
        }
        self.lints(f)
    }
}

impl CheckText<'_> {
    fn kinds_of_tools(&self) -> String {
        let levels = self.report.access_levels.iter();
        let mut kinds: Vec<(&str, usize)> = levels.map(|(access, n)| (&**access, *n)).collect();
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

    /// One line a lint, or with details one a place. What the summary or a warning says already is left out, unless it
    /// makes the check fail.
    fn lints(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lints = self.report.lints.iter();
        let with_all = self.with_details || self.denies_lints;
        let mut lints = lints
            .filter(|lint| {
                let is_said = matches!(lint.code, Code::ToolUnconfirmed | Code::PermitEverything);
                with_all || !is_said
            })
            .peekable();
        if lints.peek().is_some() {
            writeln!(f)?;
        }
        for lint in lints {
            let code = lint.code.as_str();
            let all = lint.places.len() + lint.left_out;
            let shown = match self.with_details {
                true => lint.places.len(),
                false => 1,
            };
            for place in lint.places.iter().take(shown) {
                let line = place
                    .line
                    .map_or_else(String::new, |line| format!(":{line}"));
                let (file, said) = (printable(&place.file), printable(&place.message));
                writeln!(f, "lint[{code}] {file}{line}: {said}")?;
            }
            if all > shown {
                writeln!(f, "lint[{code}] and {} more (--details)", all - shown)?;
            }
        }
        Ok(())
    }

    fn unconfirmed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unconfirmed = &self.report.unconfirmed;
        if unconfirmed.is_empty() {
            return Ok(());
        }
        let tools = count(unconfirmed.len(), "tool");
        writeln!(
            f,
            "\n  {tools} not confirmed by anyone; until then each counts as admin{}",
            if self.with_details {
                ":"
            } else {
                " (--details lists them)"
            }
        )?;
        for tool in unconfirmed.iter().filter(|_| self.with_details) {
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

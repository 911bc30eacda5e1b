//! `callgate access`: prints who can call what.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::Serialize;
use smol_str::SmolStr;

use callgate_engine::cedar::{EntityType, EntityUID};

use crate::analysis::access::csv;
use crate::analysis::access::diff::{self, Change, Direction};
use crate::analysis::access::outcome::{Access, Outcome, PrincipalConditions, Residual};
use crate::analysis::access::svg::{self, short};
use crate::analysis::access::{AccessQuery, AccessReport, Case, Cell, OnBehalfOf, Row, access};
use crate::bundle::{self, Bundle};
use crate::cli::output::{Exit, Output};
use crate::cli::render::{count, printable, printables};
use crate::cli::value_parser;
use crate::domain::schema;
use crate::proto::v1::EntityRef;

/// Shows who can call what
///
/// For each agent and user, and each registered tool: `always`, if every call is allowed, `never`, if every call is
/// denied, or the conditions on the call that decide. It is Callgate's decision that is meant: for an agent and everyone
/// for whom it acts, with every error a deny. Delegations, tasks and stops of a running server take away from it and never
/// add.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Whose access: `agent:support`, `user:sam`, `group:developers` for everyone in it, `server:github` for what a server
    /// may call on the client's side; everyone who is stored, unless given
    #[arg(value_name = "WHO", value_parser = value_parser::entity)]
    who: Vec<EntityRef>,
    /// Only this tool (may be repeated)
    #[arg(long = "tool", value_name = "SERVER/TOOL", value_parser = value_parser::tool)]
    tools: Vec<(String, String)>,
    /// Only the tools of this server (may be repeated)
    #[arg(long = "server", value_name = "NAME")]
    servers: Vec<String>,
    /// For whom agents act: `user:sam` (may be repeated), or `nobody`; every stored user in turn, unless given
    #[arg(long = "for", value_name = "WHOM")]
    on_behalf_of: Vec<String>,
    /// An agent between that person and the agent that acts, nearest to the person first (may be repeated)
    #[arg(long = "actor", value_name = "ID", value_parser = value_parser::agent)]
    actors: Vec<EntityRef>,
    /// A group that everyone is assumed to be in, as a claim may add it (may be repeated)
    #[arg(long = "assume-group", value_name = "NAME")]
    groups: Vec<String>,
    /// The directory
    #[arg(long, value_name = "DIR", default_value = "./policies")]
    policies: PathBuf,
    /// Compare with this directory: what it widens and what it narrows
    #[arg(long, value_name = "DIR")]
    diff: Option<PathBuf>,
    /// Show the conditions in words and in Cedar; done by itself for a single tool or party
    #[arg(long)]
    details: bool,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Output format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON document on stdout.
    Json,
    /// For spreadsheets (RFC 4180).
    Csv,
    /// A heat map.
    Svg,
}

const EXAMPLES: &str = "\
Examples:
  Who can call what?
    callgate access
  What can the support agent do for Sam, and under which conditions?
    callgate access agent:support --for user:sam --details
  Who can merge?
    callgate access --tool github/merge_pull_request
  A picture of it
    callgate access --output svg > access.svg
  What does a change widen?
    callgate access --policies policies --diff changed

Exit codes: 0 done, 1 error, 3 a directory has faults.";

impl Args {
    /// How errors are printed.
    pub fn output(&self) -> Output {
        match self.output {
            Format::Json => Output::Json,
            Format::Text | Format::Csv | Format::Svg => Output::Text,
        }
    }

    fn query(&self) -> anyhow::Result<AccessQuery> {
        let uid = |entity: &EntityRef| -> anyhow::Result<EntityUID> {
            let ty: EntityType = (entity.r#type.parse())
                .with_context(|| format!("`{}` is no entity type", printable(&entity.r#type)))?;
            Ok(schema::entity_uid(&ty, entity.id.as_str()))
        };
        let on_behalf_of = match self.on_behalf_of.as_slice() {
            [] => OnBehalfOf::Anyone,
            [nobody] if nobody == "nobody" => OnBehalfOf::Nobody,
            these => {
                let each = these.iter().map(|text| match value_parser::user(text) {
                    Ok(entity) => uid(&entity),
                    Err(message) => bail!("`--for`: {message}"),
                });
                OnBehalfOf::These(each.collect::<anyhow::Result<_>>()?)
            }
        };
        if on_behalf_of == OnBehalfOf::Nobody && !self.actors.is_empty() {
            bail!(
                "`--actor` names who passes on the authority of somebody: it does not go with `--for nobody`"
            );
        }
        let group = |name: &String| uid(&value_parser::entity_ref("Mcp::Group", name));
        let named = |(server, tool): &(String, String)| (SmolStr::new(server), SmolStr::new(tool));
        Ok(AccessQuery {
            who: self.who.iter().map(uid).collect::<anyhow::Result<_>>()?,
            on_behalf_of,
            actors: self.actors.iter().map(uid).collect::<anyhow::Result<_>>()?,
            groups: self
                .groups
                .iter()
                .map(group)
                .collect::<anyhow::Result<_>>()?,
            servers: self.servers.iter().map(SmolStr::new).collect(),
            tools: self.tools.iter().map(named).collect(),
        })
    }
}

/// Prints the report, or the comparison of two.
///
/// # Errors
///
/// If a party is not known, or nothing is meant.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let query = args.query()?;
    let load = |dir: &Path| -> Result<Bundle, Exit> {
        bundle::load(dir).or_else(|faults| {
            // A failure to print them has nowhere to go.
            Err(args.output().faults(&faults).unwrap_or(Exit::Faults))
        })
    };
    let bundle = match load(&args.policies) {
        Ok(bundle) => bundle,
        Err(exit) => return Ok(exit),
    };
    let report = access(&bundle, &query)?;
    let Some(other) = &args.diff else {
        print(args, &report)?;
        return Ok(Exit::Done);
    };
    if !matches!(args.output, Format::Text | Format::Json) {
        bail!("a comparison is printed as text or as JSON");
    }
    let other = match load(other) {
        Ok(bundle) => bundle,
        Err(exit) => return Ok(exit),
    };
    let changes = diff::compare(&report, &access(&other, &query)?);
    args.output()
        .answer(&DiffText(&changes), &DiffJson { changes: &changes })?;
    Ok(Exit::Done)
}

fn print(args: &Args, report: &AccessReport) -> anyhow::Result<()> {
    let nothing = "";
    match args.output {
        Format::Json => Output::Json.answer(&nothing, report),
        Format::Csv => Output::verbatim(&csv::write(report)),
        Format::Svg => Output::verbatim(&svg::draw(report)),
        Format::Text => {
            let is_single = report.rows.len() == 1 || report.tools.len() == 1;
            let text = AccessText {
                report,
                is_detailed: args.details || is_single,
            };
            Output::Text.answer(&text, &nothing)
        }
    }
}

/// The report as text.
struct AccessText<'a> {
    report: &'a AccessReport,
    is_detailed: bool,
}

/// The widest matrix, in characters; a wider one numbers its columns.
const MAX_WIDTH: usize = 120;

impl fmt::Display for AccessText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.report.rows.len() > 1 && self.report.tools.len() > 1 {
            self.matrix(f)?;
        } else {
            self.list(f)?;
        }
        if self.is_detailed {
            for row in &self.report.rows {
                for cell in row
                    .cells
                    .iter()
                    .filter(|it| it.access == Access::Conditional)
                {
                    details(f, row, cell)?;
                }
            }
        }
        if !self.report.claims.is_empty() {
            let claims = printables(&self.report.claims);
            writeln!(
                f,
                "\nClaims may add to this (`--assume-group` shows what): {claims}"
            )?;
        }
        Ok(())
    }
}

impl AccessText<'_> {
    /// Tools down, subjects across.
    fn matrix(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self
            .report
            .rows
            .iter()
            .map(|it| printable(&short(&it.who)))
            .collect();
        let tools: Vec<String> = self.report.tools.iter().map(|it| printable(it)).collect();
        let left = tools.iter().map(|it| it.chars().count()).max().unwrap_or(0);
        let widths = names.iter().map(|name| name.chars().count().max(8) + 2);
        let is_wide = left + widths.sum::<usize>() > MAX_WIDTH;
        let heads: Vec<String> = match is_wide {
            true => (1..=names.len()).map(|number| number.to_string()).collect(),
            false => names.clone(),
        };
        if is_wide {
            for (number, name) in names.iter().enumerate() {
                writeln!(f, "{:>4}  {name}", number + 1)?;
            }
            writeln!(f)?;
        }
        let width = |head: &String| {
            if is_wide {
                6
            } else {
                head.chars().count().max(8) + 2
            }
        };
        write!(f, "{:left$}", "")?;
        for head in &heads {
            write!(f, "{head:>0$}", width(head))?;
        }
        writeln!(f)?;
        for (number, tool) in tools.iter().enumerate() {
            write!(f, "{tool:left$}")?;
            for (head, row) in heads.iter().zip(&self.report.rows) {
                let cell = row.cells.get(number).map_or("", |cell| sign(cell, is_wide));
                write!(f, "{cell:>0$}", width(head))?;
            }
            writeln!(f)?;
        }
        match is_wide {
            true => writeln!(
                f,
                "\nA always, c under conditions, a with an approval, · never"
            ),
            false => writeln!(
                f,
                "\nif: under conditions; approval: only with a person's approval; ·: never"
            ),
        }
    }

    /// One line for each pair.
    fn list(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_one_row = self.report.rows.len() == 1;
        let pairs = || {
            let rows = self.report.rows.iter();
            rows.flat_map(|row| row.cells.iter().map(move |cell| (row, cell)))
        };
        let name = |row: &Row, cell: &Cell| match is_one_row {
            true => printable(&cell.tool),
            false => printable(&short(&row.who)),
        };
        let title = match (
            is_one_row,
            self.report.rows.first(),
            self.report.tools.first(),
        ) {
            (true, Some(row), _) => printable(&short(&row.who)),
            (false, _, Some(tool)) => printable(tool),
            _ => String::new(),
        };
        writeln!(f, "{title}")?;
        let width = pairs().map(|(row, cell)| name(row, cell).chars().count());
        let width = width.max().unwrap_or(0);
        for (row, cell) in pairs() {
            let (name, access) = (name(row, cell), words(cell));
            let why = match (cell.cases.as_slice(), cell.access) {
                ([case], Access::Never) => printable(&csv::why(&case.outcome)),
                _ => people(cell),
            };
            writeln!(f, "  {name:width$}  {access:13}  {why}")?;
        }
        Ok(())
    }
}

/// For how many of those for whom the subject acts something is allowed.
fn people(cell: &Cell) -> String {
    let count_of = |cases: &mut dyn Iterator<Item = &Case>| -> usize {
        cases.map(|case| case.on_behalf_of.len()).sum()
    };
    let all = count_of(&mut cell.cases.iter());
    let open = |case: &&Case| case.outcome.access() != Access::Never;
    let some = count_of(&mut cell.cases.iter().filter(open));
    match all {
        0 | 1 => String::new(),
        _ if some == all => format!("for all {all} people"),
        _ if some == 0 => format!("for none of {all} people"),
        _ => format!("for {some} of {all} people"),
    }
}

fn words(cell: &Cell) -> &'static str {
    match (cell.access, cell.needs_approval) {
        (Access::Conditional, true) => "with approval",
        (access, _) => access.as_str(),
    }
}

fn sign(cell: &Cell, is_short: bool) -> &'static str {
    match (cell.access, cell.needs_approval, is_short) {
        (Access::Always, _, true) => "A",
        (Access::Always, _, false) => "always",
        (Access::Conditional, true, true) => "a",
        (Access::Conditional, true, false) => "approval",
        (Access::Conditional, false, true) => "c",
        (Access::Conditional, false, false) => "if",
        (Access::Never, ..) => "·",
    }
}

/// The conditions of one pair.
fn details(f: &mut fmt::Formatter<'_>, row: &Row, cell: &Cell) -> fmt::Result {
    let (who, tool) = (printable(&short(&row.who)), printable(&cell.tool));
    writeln!(f, "\n{who} → {tool}")?;
    for case in &cell.cases {
        case_text(f, case, "  ")?;
    }
    Ok(())
}

fn case_text(f: &mut fmt::Formatter<'_>, case: &Case, indent: &str) -> fmt::Result {
    let names: Vec<String> = case.on_behalf_of.iter().map(|it| short(it)).collect();
    let for_whom = match names.is_empty() {
        true => String::new(),
        false => format!("for {}: ", printables(&names)),
    };
    outcome_text(f, &case.outcome, &for_whom, indent)
}

fn outcome_text(
    f: &mut fmt::Formatter<'_>,
    outcome: &Outcome,
    for_whom: &str,
    indent: &str,
) -> fmt::Result {
    match outcome {
        Outcome::Always => writeln!(f, "{indent}{for_whom}always"),
        Outcome::Never { .. } => {
            let why = printable(&csv::why(outcome));
            writeln!(f, "{indent}{for_whom}never: {why}")
        }
        Outcome::Conditional { principals, .. } => {
            writeln!(f, "{indent}{for_whom}if all of this holds")?;
            principals
                .iter()
                .try_for_each(|of| conditions_text(f, of, indent))
        }
    }
}

fn conditions_text(
    f: &mut fmt::Formatter<'_>,
    of: &PrincipalConditions,
    indent: &str,
) -> fmt::Result {
    writeln!(f, "{indent}  as to {}", printable(&short(&of.principal)))?;
    let more = format!("{indent}  ");
    if let [one] = of.any_of.as_slice() {
        residual_text(f, one, "", &more, false)?;
    } else if !of.any_of.is_empty() {
        writeln!(f, "{more}  one of these:")?;
        for it in &of.any_of {
            residual_text(f, it, "  ", &more, false)?;
        }
    }
    for it in &of.none_of {
        residual_text(f, it, "", &more, true)?;
    }
    for it in &of.no_error_in {
        let policy = printable(&it.policy);
        writeln!(
            f,
            "{more}  - `{policy}` can be evaluated: {}",
            printable(&it.cedar)
        )?;
    }
    Ok(())
}

fn residual_text(
    f: &mut fmt::Formatter<'_>,
    it: &Residual,
    shift: &str,
    indent: &str,
    is_forbid: bool,
) -> fmt::Result {
    let words = printable(&it.words);
    let (policy, cedar) = (printable(&it.policy), printable(&it.cedar));
    let effect = if is_forbid { "forbid" } else { "permit" };
    writeln!(f, "{indent}{shift}  - {words}")?;
    writeln!(
        f,
        "{indent}{shift}      {effect} {policy} when {{ {cedar} }}"
    )
}

#[derive(Serialize)]
struct DiffJson<'a> {
    changes: &'a [Change],
}

/// The comparison as text.
struct DiffText<'a>(&'a [Change]);

impl fmt::Display for DiffText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "nothing changes");
        }
        let sections = [
            (Direction::Wider, "wider"),
            (Direction::Narrower, "narrower"),
            (Direction::Different, "other conditions"),
        ];
        for (direction, title) in sections {
            let these = || self.0.iter().filter(move |it| it.direction == direction);
            let number = these().count();
            if number == 0 {
                continue;
            }
            writeln!(f, "{title}: {}", count(number, "change"))?;
            these().try_for_each(|change| change_text(f, change))?;
            writeln!(f)?;
        }
        Ok(())
    }
}

fn change_text(f: &mut fmt::Formatter<'_>, change: &Change) -> fmt::Result {
    let (who, tool) = (printable(&short(&change.who)), printable(&change.tool));
    let names: Vec<String> = change.on_behalf_of.iter().map(|it| short(it)).collect();
    let for_whom = match names.is_empty() {
        true => String::new(),
        false => format!(", for {}", printables(&names)),
    };
    writeln!(f, "  {who} → {tool}{for_whom}")?;
    for (outcome, label) in [(&change.before, "before: "), (&change.after, "after: ")] {
        match outcome {
            Some(outcome) => outcome_text(f, outcome, label, "    ")?,
            None => writeln!(f, "    {label}not there")?,
        }
    }
    Ok(())
}

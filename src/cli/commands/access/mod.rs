//! `callgate access`: prints who can call what.
//!
//! [`text`] has the report as text.

mod text;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::Serialize;
use smol_str::SmolStr;

use callgate_engine::cedar::{EntityType, EntityUID};

use crate::analysis::access::csv;
use crate::analysis::access::diff::{self, Change};
use crate::analysis::access::propose;
use crate::analysis::access::registrations::{self, RegistrationChange};
use crate::analysis::access::svg;
use crate::analysis::access::usage::Usage;
use crate::analysis::access::{
    AccessQuery, AccessReport, OnBehalfOf, access, access_of_both, not_stored,
};
use crate::analysis::answer_changes::{self, AnswerChange};
use crate::analysis::policy_test::TESTS_DIR;
use crate::bundle::{self, Bundle};
use crate::cli::commands::access::text::AccessText;
use crate::cli::file;
use crate::cli::output::{Exit, Output, note};
use crate::cli::render::{count, printable};
use crate::cli::value_parser;
use crate::domain::schema::{self, TYPES};
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
    /// Read the configuration from this file rather than from `callgate.toml` in the directory, as `callgate serve --config`
    /// does
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Compare with this directory: what it widens and what it narrows
    #[arg(long, value_name = "DIR")]
    diff: Option<PathBuf>,
    /// Mark what may be called and never was, by this decision log
    #[arg(long, value_name = "LOG", conflicts_with = "diff")]
    with_usage: Option<PathBuf>,
    /// Write a policy that takes away what was never used to this new `*.cedar` in the directory, and its tests to `tests/`
    /// there; it is checked to narrow access and nothing else
    #[arg(long, value_name = "FILE", requires = "with_usage")]
    propose: Option<PathBuf>,
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
  What was never used, and a policy that takes it away
    callgate access --with-usage /var/lib/callgate/audit --propose policies/unused.cedar

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
        bundle::load_with(dir, args.config.as_deref()).map_err(|faults| {
            // A failure to print them has nowhere to go.
            args.output().faults(&faults).unwrap_or(Exit::Faults)
        })
    };
    let bundle = match load(&args.policies) {
        Ok(bundle) => bundle,
        Err(exit) => return Ok(exit),
    };
    let other = match args.diff.as_deref().map(load) {
        None => None,
        Some(Ok(other)) => Some(other),
        Some(Err(exit)) => return Ok(exit),
    };
    if other.is_some() && !matches!(args.output, Format::Text | Format::Json) {
        bail!("a comparison is printed as text or as JSON");
    }
    question(&bundle, other.as_ref(), &query);
    if let Some(other) = &other {
        let (before, after) = access_of_both(&bundle, other, &query)?;
        let snapshots = (&bundle.snapshot, &other.snapshot);
        let comparison = Comparison {
            changes: diff::compare(&before, &after),
            registrations: registrations::compare(snapshots, (&before, &after)),
            answers: answer_changes::compare(&bundle, other),
        };
        args.output().answer(&comparison, &comparison)?;
        return Ok(Exit::Done);
    }
    let mut report = access(&bundle, &query)?;
    if let Some(log) = &args.with_usage {
        let usage = Usage::from_log(log)
            .with_context(|| format!("the decision log `{}` cannot be read", log.display()))?;
        usage.mark(&mut report);
    }
    if let Some(to) = &args.propose {
        propose(args, &bundle, &query, &report, to)?;
    }
    print(args, &report)?;
    Ok(Exit::Done)
}

/// Says which names are stored nowhere: a token may bring them, and most likely they are misspelt.
fn question(bundle: &Bundle, other: Option<&Bundle>, query: &AccessQuery) {
    for uid in not_stored(bundle, query) {
        if other.is_none_or(|other| !other.snapshot.contains(&uid)) {
            note(format_args!(
                "note: `{}` is not stored: it is in no group{}",
                printable(&uid.to_string()),
                // Only people have what a token says.
                match *uid.entity_type() == TYPES.user {
                    true => " and has no attributes but those of a token",
                    false => "",
                }
            ));
        }
    }
}

/// Writes the policy that takes away what was never used, and its tests.
fn propose(
    args: &Args,
    bundle: &Bundle,
    query: &AccessQuery,
    report: &AccessReport,
    to: &Path,
) -> anyhow::Result<()> {
    let proposal = propose::propose(
        (&args.policies, args.config.as_deref()),
        bundle,
        query,
        report,
        to,
    )?;
    let dir = args.policies.join(TESTS_DIR);
    let name = to.file_stem().unwrap_or_default().to_string_lossy();
    let path = dir.join(format!("{name}.yaml"));
    if proposal.tests.is_some() && path.symlink_metadata().is_ok() {
        bail!(
            "`{}`, where the tests go, is there already: name another file with `--propose`",
            printable(&path.display().to_string())
        );
    }
    file::create(to, &proposal.policies)?;
    note(format_args!(
        "wrote {}: {} become never, nothing becomes wider",
        printable(&to.display().to_string()),
        count(proposal.narrowed, "cell")
    ));
    let Some(tests) = &proposal.tests else {
        note("no tests: no call was found that shows what the policy takes away");
        return Ok(());
    };
    std::fs::create_dir_all(&dir)
        .with_context(|| format!("`{}` cannot be created", dir.display()))?;
    file::create(&path, tests)?;
    let untested = match proposal.untested {
        0 => String::new(),
        some => format!(
            "; {some} more of what becomes never have none: no call of them was found that reaches the policy"
        ),
    };
    note(format_args!(
        "wrote {}: {}{untested}",
        printable(&path.display().to_string()),
        count(proposal.cases, "test"),
    ));
    Ok(())
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

/// What differs between two directories.
#[derive(Serialize)]
struct Comparison {
    /// Of who can call what.
    changes: Vec<Change>,
    /// Of what tools and servers are registered with, where no cell shows it.
    registrations: Vec<RegistrationChange>,
    /// Of what answers hold besides allow or deny.
    answers: Vec<AnswerChange>,
}

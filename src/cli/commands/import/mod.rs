//! `callgate import tools`: imports a server's `tools/list` result into its registration.
//!
//! [`policies`] is `callgate import policies`.

mod policies;
mod review;

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use serde_json::json;

use crate::analysis::import::{self, ImportError, ImportOptions, ToolChange, ToolImport};
use crate::analysis::import_siblings::SiblingServer;
use crate::bundle::diagnostic::{BundleError, SourceText};
use crate::bundle::files::{self, FileKind};
use crate::bundle::parse::registration::{self, AccessLevel, ConfirmationStatus, Registration};
use crate::cli::file;
use crate::cli::output::{Exit, Output};
use crate::cli::render::{count, left_aligned, printable};
use crate::domain::names::check_server_name;

/// Bytes of a tool list.
const MAX_LIST_BYTES: u64 = 64 << 20;

/// Brings in what other programs know
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: ImportKind,
}

#[derive(Debug, clap::Subcommand)]
enum ImportKind {
    Tools(ToolsArgs),
    Policies(policies::PoliciesArgs),
}

/// Turns a server's `tools/list` result into its registration
///
/// Every tool gets its definition's digest and a proposal: its access level (read, write or admin), what its
/// results bring into a session, whether it can carry data out. Proposals come from names, arguments and
/// the server's hints, and err on the side of suspicion. Until a person confirms an entry, the tool
/// counts as admin: edit its `status` in the file, or name it with --confirm.
///
/// Run it again when the server changes: confirmed entries stay as long as the definition is the same,
/// and what people wrote is kept.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct ToolsArgs {
    /// The list: {"tools": […]} or the JSON-RPC response around it; `-` reads stdin
    list: PathBuf,
    /// The server's name, as callers will name it
    #[arg(long, value_name = "NAME")]
    server: String,
    /// The person who answers for it (Mcp::User)
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// Tools whose entries you have read and stand behind; `*` and `?` as in file names
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    confirm: Vec<String>,
    /// What the tools of this name or pattern do: read, write or admin; the last that fits counts
    #[arg(long, num_args = 2, value_names = ["NAME", "LEVEL"])]
    set: Vec<String>,
    /// Go through the proposals one by one: description, schema, what is odd or has changed
    #[arg(long)]
    review: bool,
    /// Tools whose arguments policies may look at, as context.input; `*` and `?` as in file names
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    typed: Vec<String>,
    /// The groups to put the server into, besides those it is in: policies hang on them (`workspace`, `web`, `sql` …)
    #[arg(long = "group", value_name = "NAME,…", value_delimiter = ',')]
    groups: Vec<String>,
    /// Take what the catalogue of reviewed servers says of tools with the very same definition, by its name there if it is
    /// not --server's; all others are proposed
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    catalogue: Option<String>,
    /// The directory of policies; the registration is its tools/NAME.json, or the NAME.json in a folder below tools/
    #[arg(long, value_name = "DIR", default_value = "./policies")]
    policies: PathBuf,
    /// Report, but write nothing
    #[arg(long)]
    dry_run: bool,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

const EXAMPLES: &str = "\
Examples:
  callgate import tools git-tools.json --server git --owner ines
      writes ./policies/tools/git.json, every tool proposed
  callgate import tools git-tools.json --server git --confirm git_status,git_log
      after reading their entries: confirms two of them
  callgate import tools git-tools.json --server git --review
      shows each proposal and asks what to do with it
  callgate import tools notion.json --server notion --set 'API-get-*' read --confirm 'API-get-*'
      your judgement of many at once
  callgate import tools git-tools.json --server git --catalogue
      confirms the tools whose definitions were reviewed for the catalogue
  callgate import tools git-tools.json --server code --catalogue git --group workspace,git
      a second server of a kind that is there: in the groups that policies hang on
  callgate import tools git-tools.json --server git --dry-run
      what would change?

Exit codes: 0 done, 1 error, 3 the list or the existing registration has faults.";

impl Args {
    /// How to answer.
    pub fn output(&self) -> Output {
        match &self.what {
            ImportKind::Tools(args) => args.output,
            ImportKind::Policies(args) => args.output,
        }
    }
}

/// Imports what is named and prints the report.
///
/// # Errors
///
/// If an argument is invalid, or a file cannot be read or written.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.what {
        ImportKind::Tools(args) => tools(args),
        ImportKind::Policies(args) => policies::run(args),
    }
}

fn tools(args: &ToolsArgs) -> anyhow::Result<Exit> {
    let target = registration_path(&args.policies, &args.server)?;
    let existing = match existing(&target)? {
        Ok(existing) => existing,
        Err(faults) => return args.output.faults(&faults),
    };
    let list = read_list(&args.list)?;
    let file: Arc<str> = Arc::from(args.list.display().to_string());
    let choices = ImportOptions {
        server: args.server.clone(),
        owner: args.owner.clone(),
        confirm: args.confirm.iter().cloned().collect(),
        typed: args.typed.iter().cloned().collect(),
        set: settings(&args.set)?,
        groups: args.groups.clone(),
        catalogue: args.catalogue.as_ref().map(|name| match name.is_empty() {
            true => args.server.clone(),
            false => name.clone(),
        }),
    };
    if args.review && args.list.as_os_str() == "-" {
        bail!("--review asks on stdin, so the list cannot come from there: save it to a file");
    }
    let mut imported = match import::import(
        SourceText {
            file: &file,
            text: &list,
        },
        existing,
        &choices,
    ) {
        Ok(imported) => imported,
        Err(ImportError::List(faults)) => return args.output.faults(&faults),
        Err(error) => return Err(error.into()),
    };
    if args.review {
        review::review(
            &mut imported,
            &mut io::stdin().lock(),
            &mut io::stderr().lock(),
        )?;
    }
    if !args.dry_run {
        file::replace(&target, &imported.to_json()?)?;
    }
    let target = target.display().to_string();
    let siblings = imported.siblings(&registrations(&args.policies));
    let text = ImportText {
        imported: &imported,
        siblings: &siblings,
        target: &target,
        is_dry_run: args.dry_run,
    };
    let json = json!({
        "ok": true,
        "file": target,
        "written": !args.dry_run,
        "tools": imported.tools,
        "siblings": siblings,
        "registration": imported.registration,
    });
    args.output.answer(&text, &json)?;
    Ok(Exit::Done)
}

/// Where the registration of a server is: in a folder below `tools/` too, if it is there already.
fn registration_path(policies: &Path, server: &str) -> anyhow::Result<PathBuf> {
    let usual = policies.join(registration_name(server)?);
    // A directory that cannot be read, or is not there yet, has none.
    let files = files::read(policies).unwrap_or_default();
    let registrations = files.of_kind(FileKind::Registration);
    let is_other = |stem: &str| stem != server && stem.eq_ignore_ascii_case(server);
    if let Some(other) = files
        .of_kind(FileKind::Registration)
        .find(|it| is_other(&it.stem))
    {
        bail!(
            "a server `{}` is registered, whose name differs in the case of letters only",
            other.stem
        );
    }
    let own = registrations.filter(|source| *source.stem == *server);
    let found: Vec<&str> = own.map(|source| &*source.file).collect();
    match found.as_slice() {
        [] => Ok(usual),
        [file] => Ok(PathBuf::from(file)),
        several => bail!(
            "`{server}` is registered more than once, in `{}`: keep one of them",
            several.join("`, `")
        ),
    }
}

/// What is registered in the directory, as far as it can be read.
fn registrations(policies: &Path) -> Vec<Registration> {
    let files = files::read(policies).unwrap_or_default();
    let sources = files.of_kind(FileKind::Registration);
    let parsed = sources.filter_map(|source| registration::parse(source, &mut Vec::new()));
    parsed.collect()
}

/// Where the registration of a server that is new goes, in the directory.
fn registration_name(server: &str) -> anyhow::Result<PathBuf> {
    // The name becomes part of a path, so check it first.
    check_server_name(server)?;
    let name = Path::new("tools").join(format!("{server}.json"));
    if FileKind::from_path(&name) != Some(FileKind::Registration) {
        bail!(
            "`{}` is not read as a registration: give the server another name",
            name.display()
        );
    }
    Ok(name)
}

/// Parses pairs of a pattern and an access level.
fn settings(words: &[String]) -> anyhow::Result<Vec<(String, AccessLevel)>> {
    let mut settings = Vec::new();
    for pair in words.chunks(2) {
        let [pattern, access] = pair else {
            bail!("--set takes a name or pattern, and an access level");
        };
        let access = match access.as_str() {
            "read" => AccessLevel::Read,
            "write" => AccessLevel::Write,
            "admin" => AccessLevel::Admin,
            other => {
                bail!("--set {pattern}: `{other}` is not an access level: read, write or admin")
            }
        };
        settings.push((pattern.clone(), access));
    }
    Ok(settings)
}

fn existing(path: &Path) -> anyhow::Result<Result<Option<Registration>, BundleError>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(None)),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read `{}`", path.display()));
        }
    };
    let file: Arc<str> = Arc::from(path.display().to_string());
    let mut faults = Vec::new();
    let registration = registration::parse_text(
        SourceText {
            file: &file,
            text: &text,
        },
        &mut faults,
    );
    Ok(match BundleError::from_diagnostics(faults) {
        Some(faults) => Err(faults),
        None => Ok(registration),
    })
}

fn read_list(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut read =
        |reader: &mut dyn Read| reader.take(MAX_LIST_BYTES + 1).read_to_string(&mut text);
    let result = if path.as_os_str() == "-" {
        read(&mut io::stdin().lock())
    } else {
        fs::File::open(path).and_then(|mut file| read(&mut file))
    };
    result.with_context(|| format!("cannot read `{}`", path.display()))?;
    if text.len() as u64 > MAX_LIST_BYTES {
        bail!("`{}` is larger than {MAX_LIST_BYTES} bytes", path.display());
    }
    Ok(text)
}

struct ImportText<'a> {
    imported: &'a ToolImport,
    siblings: &'a [SiblingServer],
    target: &'a str,
    is_dry_run: bool,
}

impl ImportText<'_> {
    fn siblings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for SiblingServer { server, groups } in self.siblings {
            let groups = printable(&groups.join(","));
            writeln!(
                f,
                "`{}` lists the same tools and is in groups that this server is not in, so policies about these leave it out:\n\
                 put it into them with --group {groups}",
                printable(server)
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for ImportText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let imported = self.imported;
        let width = imported
            .tools
            .iter()
            .map(|tool| printable(&tool.name).chars().count())
            .max()
            .unwrap_or(0)
            .min(48);
        for tool in &imported.tools {
            let sign = match tool.change {
                ToolChange::Added => '+',
                ToolChange::Changed => '!',
                ToolChange::Removed => '-',
                ToolChange::Unchanged => ' ',
            };
            let name = left_aligned(&printable(&tool.name), width);
            write!(f, "{sign} {name}  {:5}  ", tool.access)?;
            match (tool.change, tool.status, &tool.why) {
                (ToolChange::Removed, _, _) => writeln!(f, "removed")?,
                (_, status, Some(why)) => writeln!(f, "{status:9}  {}", printable(why))?,
                (_, status, None) => writeln!(f, "{status}")?,
            }
            let is_said = |note: &&String| tool.why.as_ref().is_some_and(|why| why.contains(*note));
            for note in tool.notes.iter().filter(|note| !is_said(note)) {
                writeln!(f, "    {}", printable(note))?;
            }
            for argument in &tool.left_out {
                let name = match argument.argument.as_str() {
                    "" => "all arguments".to_owned(),
                    name => printable(name),
                };
                writeln!(f, "    not typed: {name}: {}", argument.reason)?;
            }
        }
        let n = |change| imported.count(change);
        let tools = count(imported.registration.tools.len(), "tool");
        let verb = if self.is_dry_run {
            "would be written to"
        } else {
            "written to"
        };
        writeln!(f, "\n{tools} {verb} {}", printable(self.target))?;
        let (added, changed, removed) = (
            n(ToolChange::Added),
            n(ToolChange::Changed),
            n(ToolChange::Removed),
        );
        writeln!(
            f,
            "{added} added, {changed} changed, {removed} removed, {} unchanged",
            n(ToolChange::Unchanged)
        )?;
        self.siblings(f)?;
        if imported.awaiting() > 0 {
            let awaiting = count(imported.awaiting(), "tool");
            writeln!(
                f,
                "{awaiting} proposed: each counts as admin until you set its `status` to `{}`",
                ConfirmationStatus::Confirmed.as_str()
            )?;
            writeln!(
                f,
                "in the file, or name it with --confirm, or go through all with --review"
            )?;
        }
        Ok(())
    }
}

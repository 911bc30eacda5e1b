//! `callgate import policies`: brings in Cedar policies that were written for another product.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use anyhow::bail;
use clap::ValueEnum;
use serde_json::json;

use crate::analysis::dialect::{self, Dialect, ImportOptions, PolicyImport};
use crate::bundle::files::{self, FileKind};
use crate::cli::file;
use crate::cli::output::{Exit, Output};
use crate::cli::render::{count, printable};

/// Turns Cedar policies of another product into policies of the directory
///
/// What means the same here is carried over, and held to the directory's schema. A permit that cannot be carried over is left
/// out and reported; a forbid that cannot is a fault, and nothing is written. Where a translation is not exact, it allows
/// less, and the report says so.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct PoliciesArgs {
    /// The policies: Cedar text, or for ToolHive also its JSON configuration
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The product that they were written for
    #[arg(long, value_enum, value_name = "PRODUCT")]
    from: Product,
    /// The server's name here; for AgentCore TARGET=NAME, for each of its targets that has another name here, and for all of
    /// them if a permit is for any tool
    #[arg(long = "server", value_name = "NAME")]
    servers: Vec<String>,
    /// For AgentCore: the ARN of the gateway, if the policies are about several
    #[arg(long, value_name = "ARN")]
    gateway: Option<String>,
    /// What is put before the names of groups
    #[arg(long, value_name = "TEXT", default_value = "claim:")]
    group_prefix: String,
    /// The directory of policies
    #[arg(long, value_name = "DIR", default_value = "./policies")]
    policies: PathBuf,
    /// The path of the new file for the result, which has to be in the directory; imported.cedar there, unless given
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Report, but write nothing
    #[arg(long)]
    dry_run: bool,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// A product that writes Cedar about MCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Product {
    /// Policy in Amazon Bedrock AgentCore.
    Agentcore,
    /// The schema generator of cedar-for-agents.
    CedarForAgents,
    /// ToolHive's Cedar authorizer.
    Toolhive,
}

const EXAMPLES: &str = "\
Examples:
  callgate import policies refunds.cedar --from agentcore --server RefundTool=refunds
      AgentCore::Action::\"RefundTool___process\" becomes refunds/process
  callgate import policies authz.json --from toolhive --server weather
      the policies in ToolHive's configuration, for the server `weather`
  callgate import policies files.cedar --from cedar-for-agents --server files --dry-run
      what could be carried over?

Exit codes: 0 done, 1 error, 3 a file has faults, or a forbid cannot be carried over.";

/// Imports the policies and prints the report.
///
/// # Errors
///
/// If an argument is invalid, or the result cannot be written.
pub fn run(args: &PoliciesArgs) -> anyhow::Result<Exit> {
    let options = ImportOptions {
        dialect: match args.from {
            Product::Agentcore => Dialect::Agentcore,
            Product::CedarForAgents => Dialect::CedarForAgents,
            Product::Toolhive => Dialect::Toolhive,
        },
        servers: servers(args)?,
        gateway: args.gateway.clone(),
        group_prefix: args.group_prefix.clone(),
    };
    let to = args.to.clone();
    let to = to.unwrap_or_else(|| args.policies.join("imported.cedar"));
    if to.symlink_metadata().is_ok() {
        bail!(
            "`{}` is there already: name another file with `--to`",
            to.display()
        );
    }
    let imported = match dialect::import(&args.policies, &args.files, &options, &to) {
        Ok(imported) => imported,
        Err(faults) => return args.output.faults(&faults),
    };
    if let Err(why) = files::check_place(&args.policies, &to, FileKind::Policies) {
        bail!("`{}` would not be read as a policy: {why}", to.display());
    }
    let is_written = !args.dry_run && !imported.carried.is_empty();
    if is_written {
        file::create(&to, &imported.policies)?;
    }
    let to = to.display().to_string();
    let text = PoliciesText {
        imported: &imported,
        to: &to,
        is_written,
    };
    let json = json!({"ok": true, "file": to, "written": is_written, "report": imported});
    args.output.answer(&text, &json)?;
    Ok(Exit::Done)
}

/// The names of servers: by target for AgentCore, the one under the empty name for the others.
fn servers(args: &PoliciesArgs) -> anyhow::Result<BTreeMap<String, String>> {
    let mut servers = BTreeMap::new();
    for text in &args.servers {
        let (target, name) = match (args.from, text.split_once('=')) {
            (Product::Agentcore, Some((target, name))) => (target, name),
            (Product::Agentcore, None) => {
                bail!("`--server {text}`: write TARGET=NAME for AgentCore")
            }
            (_, _) => ("", text.as_str()),
        };
        if servers.insert(target.to_owned(), name.to_owned()).is_some() {
            bail!("`--server` names the server twice");
        }
    }
    if args.from != Product::Agentcore && servers.is_empty() {
        bail!("name the server whose tools the policies are about with `--server`");
    }
    if args.from != Product::Agentcore && args.gateway.is_some() {
        bail!("`--gateway` is for AgentCore");
    }
    Ok(servers)
}

struct PoliciesText<'a> {
    imported: &'a PolicyImport,
    to: &'a str,
    is_written: bool,
}

impl fmt::Display for PoliciesText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let imported = self.imported;
        for policy in &imported.carried {
            let ids: Vec<String> = policy.ids.iter().map(|it| printable(it)).collect();
            writeln!(
                f,
                "CARRIED   {}: {}",
                printable(&policy.source),
                ids.join(", ")
            )?;
            for note in &policy.notes {
                writeln!(f, "          {}", printable(note))?;
            }
        }
        for policy in &imported.left_out {
            writeln!(f, "LEFT OUT  {}", printable(&policy.source))?;
            writeln!(f, "          {}", printable(&policy.why))?;
        }
        for need in &imported.needs {
            writeln!(f, "NEEDS     {}", printable(need))?;
        }
        let carried = count(imported.carried.len(), "policy");
        let left_out = imported.left_out.len();
        let to = printable(self.to);
        match self.is_written {
            true => writeln!(f, "\n{carried} carried over to {to}, {left_out} left out"),
            false => writeln!(
                f,
                "\n{carried} could be carried over to {to}, {left_out} left out; nothing is written"
            ),
        }?;
        writeln!(
            f,
            "A permit for anybody is for people here: an agent that acts for them needs permits of its own. Test the result."
        )
    }
}

//! `callgate export coaz`: prints COAZ-MCP mappings of registered tools.

use std::fmt;
use std::path::PathBuf;

use anyhow::bail;

use crate::analysis::coaz::{self, Mappings};
use crate::bundle;
use crate::cli::output::{Exit, Output};
use crate::cli::render::printable;

/// Writes out what other programs need to know
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: ExportKind,
}

#[derive(Debug, clap::Subcommand)]
enum ExportKind {
    Coaz(CoazArgs),
}

/// Prints the COAZ-MCP mapping of every registered tool
///
/// An enforcement point of AuthZEN's binding for MCP asks about a tool by its name alone, unless the tool declares in its
/// `inputSchema` how to ask. These mappings send the server and all arguments. The server puts them into its tools'
/// schemas, or the enforcement point is configured with them. A schema that has one is another definition: import it
/// again.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct CoazArgs {
    /// The directory
    #[arg(default_value = "./policies")]
    dir: PathBuf,
    /// Only the tools of this server
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// How to answer; the mappings are JSON either way
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

const EXAMPLES: &str = "\
Examples:
  callgate export coaz                        the tools of ./policies, by server and name
  callgate export coaz policies --server git  those of one server

Exit codes: 0 done, 1 error, 3 the directory has faults.";

impl Args {
    /// How to answer.
    pub fn output(&self) -> Output {
        let ExportKind::Coaz(args) = &self.what;
        args.output
    }
}

/// Prints the mappings.
///
/// # Errors
///
/// If no tool of the server is registered.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let ExportKind::Coaz(args) = &args.what;
    let bundle = match bundle::load(&args.dir) {
        Ok(bundle) => bundle,
        Err(faults) => return args.output.faults(&faults),
    };
    let mappings = coaz::mappings(&bundle.tools, args.server.as_deref());
    if let (true, Some(server)) = (mappings.is_empty(), &args.server) {
        bail!("no tool of a server `{}` is registered", printable(server));
    }
    args.output.answer(&MappingsText(&mappings), &mappings)?;
    Ok(Exit::Done)
}

struct MappingsText<'a>(&'a Mappings);

impl fmt::Display for MappingsText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string_pretty(self.0).map_err(|_| fmt::Error)?;
        writeln!(f, "{text}")
    }
}

//! `callgate tool`: registers tools with a running server.

use std::path::PathBuf;

use crate::cli::args;
use crate::cli::call_args::read_text;
use crate::cli::control::{ControlArgs, WriteArgs};
use crate::cli::output::Exit;
use crate::cli::render::Details;
use crate::cli::value_parser;
use crate::proto::v1;

/// Registers tools with a running server, and pins their definitions
///
/// For a whole server at once there is `callgate import tools`, which writes a registration for people to
/// read and confirm.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub ask: ControlArgs,
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  callgate tool register git/git_blame --as user:ines --access read --owner ines \\
      --sensitivity internal --target-argument repo_path:kind=path --definition git_blame.json
  callgate tool pin git/git_blame --as user:ines --definition git_blame.json

Exit codes: 0 done, 1 error, 2 denied.";

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Register(Box<Register>),
    Pin(Pin),
}

/// Registers a tool, or registers it anew, and pins its definition
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Register {
    /// The tool
    #[arg(value_name = "SERVER/TOOL", value_parser = value_parser::tool)]
    tool: (String, String),
    /// What a call does at most: read, write or admin
    #[arg(long, value_name = "LEVEL", value_parser = args::access)]
    access: v1::AccessLevel,
    /// The person who answers for it: the id, or `user:` and the id
    #[arg(long, value_name = "USER", value_parser = person)]
    owner: String,
    /// How sensitive it is: public, internal, confidential or restricted
    #[arg(long, value_name = "LEVEL")]
    sensitivity: String,
    /// What reading from it brings into a session: untrusted, private, secret … (may be repeated)
    #[arg(long, value_name = "LABEL")]
    yields: Vec<String>,
    /// It can send data out
    #[arg(long)]
    egress: bool,
    /// A group it belongs to, besides its server (may be repeated)
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// An argument that names what is acted upon, e.g. `path:kind=path` or
    /// `files[].path:kind=path,base=repo_path,role=source,optional` (may be repeated)
    #[arg(long = "target-argument", value_name = "ARGUMENT", value_parser = args::target_argument)]
    target_arguments: Vec<v1::TargetArgument>,
    /// An argument that holds the contents of files, e.g. `content` or `files[].content` (may be repeated)
    #[arg(long = "file-content", value_name = "ARGUMENT")]
    file_contents: Vec<String>,
    /// Pin the definition in this file, as in `tools/list`; `-` is standard input
    #[arg(long, value_name = "FILE")]
    definition: Option<PathBuf>,
    #[command(flatten)]
    write: WriteArgs,
}

/// Accepts a new definition of a tool that was registered here
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Pin {
    /// The tool
    #[arg(value_name = "SERVER/TOOL", value_parser = value_parser::tool)]
    tool: (String, String),
    /// The file with the definition, as in `tools/list`; `-` is standard input
    #[arg(long, value_name = "FILE")]
    definition: PathBuf,
    #[command(flatten)]
    write: WriteArgs,
}

/// Sends the request and prints the response.
///
/// # Errors
///
/// If an argument is invalid, or the request fails.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let ask = &args.ask;
    match &args.verb {
        Verb::Register(it) => {
            let again = it.write.once.again();
            let asked = it.request()?;
            let answer = ask.change(again, asked, async |to, it| to.register_tool(it).await)?;
            let text = shown(&it.tool, "is registered", &answer.digest, answer.revision);
            ask.answer(&text, "RegisterToolResponse", &answer)
        }
        Verb::Pin(it) => {
            let again = it.write.once.again();
            let asked = it.request()?;
            let answer = ask.change(again, asked, async |to, it| to.pin_tool(it).await)?;
            let text = shown(&it.tool, "is pinned", &answer.digest, answer.revision);
            ask.answer(&text, "PinToolResponse", &answer)
        }
    }
}

/// The protocol identifies the owner by the id alone.
fn person(text: &str) -> Result<String, String> {
    match value_parser::user(text)? {
        it if it.r#type == "Mcp::User" => Ok(it.id),
        it => Err(format!("it is a `{}`, not a person", it.r#type)),
    }
}

fn shown((server, tool): &(String, String), what: &str, digest: &str, revision: u64) -> Details {
    Details::new(format!("{server}/{tool} {what}"))
        .fact("pinned", digest)
        .revision(revision)
}

impl Register {
    fn request(&self) -> anyhow::Result<v1::RegisterToolRequest> {
        let definition = self.definition.as_ref().map(|path| read_text(path));
        let definition = definition.transpose()?.map(|(text, _)| text);
        let (server, tool) = self.tool.clone();
        Ok(v1::RegisterToolRequest {
            actor: self.write.actor(),
            idempotency_key: self.write.key(),
            server,
            tool,
            access: self.access.into(),
            yields: self.yields.clone(),
            egress: self.egress,
            sensitivity: self.sensitivity.clone(),
            owner: self.owner.clone(),
            groups: self.groups.clone(),
            target_arguments: self.target_arguments.clone(),
            file_contents: self.file_contents.clone(),
            definition_json: definition.unwrap_or_default().into_bytes().into(),
        })
    }
}

impl Pin {
    fn request(&self) -> anyhow::Result<v1::PinToolRequest> {
        let (definition, _) = read_text(&self.definition)?;
        let (server, tool) = self.tool.clone();
        Ok(v1::PinToolRequest {
            actor: self.write.actor(),
            idempotency_key: self.write.key(),
            server,
            tool,
            definition_json: definition.into_bytes().into(),
        })
    }
}

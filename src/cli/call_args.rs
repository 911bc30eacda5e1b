//! Arguments that describe a call: from flags or a file to `callgate.v1.CallContext`.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args as _;
use serde_json::{Map, Value as Json};

use crate::cli::value_parser;
use crate::proto::v1::operation::Kind;
use crate::proto::{json, v1};

/// Bytes of a file with a call.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Said by verbs that have no answer to Cedar's own question.
const CEDAR_IS_ELSEWHERE: &str =
    "Cedar's own question is answered by `callgate authorize`, from a directory";

/// The call. A verb that answers Cedar's own question adds `cedar` to the group `who`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The call")]
#[command(group = clap::ArgGroup::new("who").args(["agent", "user", "file"]).required(true).multiple(true))]
pub struct CallArgs {
    /// Read the call from a file in the JSON form of `callgate.v1.CallContext`; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = flags())]
    file: Option<PathBuf>,
    /// Cedar's own question from a file, `-` is standard input: principal, action, resource, context and all entities
    ///
    /// Counterexamples of `callgate prove` have this form. The policies and the schema of the directory decide, over the
    /// entities of the file and no others.
    #[arg(long, value_name = "FILE", conflicts_with = "file", conflicts_with_all = flags())]
    cedar: Option<PathBuf>,
    #[command(flatten)]
    flags: CallFlags,
}

/// The flags that describe a call. What brings a call of its own goes with none of them.
#[derive(Debug, clap::Args)]
struct CallFlags {
    /// The agent that acts
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// The person for whom the agent acts; without an agent, the person who acts
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// An agent between the person and the agent that acts, nearest to the person first (may be repeated)
    #[arg(long, value_name = "ID", requires_all = ["agent", "user"])]
    actor: Vec<String>,
    /// An OAuth scope that the person granted (may be repeated)
    #[arg(long, value_name = "SCOPE", requires_all = ["agent", "user"])]
    scope: Vec<String>,
    /// A delegation known to the server that the call relies on: the last of its chain, or all of them
    /// from the person on (may be repeated)
    #[arg(long = "delegation", value_name = "ID", requires = "agent")]
    delegations: Vec<String>,
    /// The MCP server
    #[arg(long, value_name = "NAME", required_unless_present_any = ["file", "cedar"])]
    server: Option<String>,
    /// The tool to call; without one the question is whether the server's tools may be listed
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// An argument of the tool; the value is JSON, or else a string (may be repeated)
    #[arg(long = "arg", value_name = "NAME=VALUE", requires = "tool", value_parser = value_parser::with_value)]
    args: Vec<(String, Json)>,
    /// All arguments of the tool, as one JSON object
    #[arg(long, value_name = "JSON", requires = "tool", conflicts_with = "args")]
    arguments: Option<String>,
    /// Why the call is made
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
    /// The task the call belongs to
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// The session the call belongs to
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// The step of the work
    #[arg(long, value_name = "NAME")]
    step: Option<String>,
    /// An approval the call relies on (may be repeated)
    #[arg(long = "approval", value_name = "ID")]
    approvals: Vec<String>,
    /// The address the call comes from
    #[arg(long, value_name = "IP")]
    source_address: Option<String>,
    /// Say that nobody verified who is calling and for whom
    #[arg(long)]
    unverified: bool,
}

/// The ids of all flags that describe a call.
fn flags() -> Vec<clap::Id> {
    let all = CallFlags::augment_args(clap::Command::new("call"));
    all.get_arguments().map(|it| it.get_id().clone()).collect()
}

/// Hides `--cedar` in a verb that does not answer it, and says which verb does.
pub fn cedar_is_elsewhere(cedar: clap::Arg) -> clap::Arg {
    let refused = |_: &str| Err::<PathBuf, _>(CEDAR_IS_ELSEWHERE);
    cedar.hide(true).value_parser(refused)
}

/// The ids of everything that says which call is meant, for an argument that says it in another way.
pub fn all() -> Vec<clap::Id> {
    let all = CallArgs::augment_args(clap::Command::new("call"));
    all.get_arguments().map(|it| it.get_id().clone()).collect()
}

impl CallArgs {
    /// The call context to be sent.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or a flag is invalid.
    pub fn context(&self) -> anyhow::Result<v1::CallContext> {
        if self.cedar.is_some() {
            bail!("`--cedar`: {CEDAR_IS_ELSEWHERE}");
        }
        match &self.file {
            Some(path) => {
                let (text, name) = read_text(path)?;
                json::read("CallContext", &text)
                    .with_context(|| format!("{name} is not a `callgate.v1.CallContext`"))
            }
            None => self.flags.call(),
        }
    }

    /// The file with Cedar's own question, if it is asked.
    pub fn cedar(&self) -> Option<&Path> {
        self.cedar.as_deref()
    }

    /// The first flag given that refers to the state of a server.
    pub fn needs_a_server(&self) -> Option<&'static str> {
        let given = [
            ("--delegation", !self.flags.delegations.is_empty()),
            ("--task", self.flags.task.is_some()),
            ("--approval", !self.flags.approvals.is_empty()),
        ];
        given
            .into_iter()
            .find_map(|(flag, is_given)| is_given.then_some(flag))
    }
}

impl CallFlags {
    fn call(&self) -> anyhow::Result<v1::CallContext> {
        let person = self
            .user
            .as_deref()
            .map(|id| value_parser::entity_ref("User", id));
        let agent = self
            .agent
            .as_deref()
            .map(|id| value_parser::entity_ref("Agent", id));
        let (subject, root) = match (agent, person) {
            (Some(agent), root) => (agent, root),
            (None, Some(person)) => (person, None),
            (None, None) => bail!("name who acts with `--agent`, `--user` or both"),
        };
        let verified = !self.unverified;
        Ok(v1::CallContext {
            subject: Some(v1::Subject {
                entity: Some(subject),
                identity: Some(v1::Identity {
                    method: "cli".to_owned(),
                    verified,
                }),
                claims: None,
            }),
            delegation: (root.is_some() || !self.delegations.is_empty()).then(|| v1::Delegation {
                verified: verified && root.is_some(),
                root,
                actors: self
                    .actor
                    .iter()
                    .map(|id| value_parser::entity_ref("Agent", id))
                    .collect(),
                scopes: self.scope.clone(),
                delegation_ids: self.delegations.clone(),
                ..v1::Delegation::default()
            }),
            operation: Some(v1::Operation {
                server: self.server.clone().unwrap_or_default(),
                kind: Some(self.kind()?),
                ..v1::Operation::default()
            }),
            workflow: self.workflow(),
            approval_ids: self.approvals.clone(),
            environment: self
                .source_address
                .clone()
                .map(|source_address| v1::Environment { source_address }),
            ..v1::CallContext::default()
        })
    }

    fn workflow(&self) -> Option<v1::Workflow> {
        let given = |text: &Option<String>| text.clone().unwrap_or_default();
        let workflow = v1::Workflow {
            session_id: given(&self.session),
            task_id: given(&self.task),
            step: given(&self.step),
            purpose: given(&self.purpose),
            ..v1::Workflow::default()
        };
        (workflow != v1::Workflow::default()).then_some(workflow)
    }

    fn kind(&self) -> anyhow::Result<Kind> {
        let Some(tool) = self.tool.clone() else {
            return Ok(Kind::ListTools(v1::ListTools {}));
        };
        let text = match &self.arguments {
            Some(text) => match value_parser::strict_json("--arguments", text) {
                Ok(Json::Object(_)) => text.clone(),
                Ok(_) => bail!("`--arguments` is not a JSON object"),
                Err(said) => bail!("`--arguments`: {said}"),
            },
            None => {
                let mut arguments = Map::new();
                for (name, value) in &self.args {
                    if arguments.insert(name.clone(), value.clone()).is_some() {
                        bail!("`--arg {name}=…` is given twice");
                    }
                }
                serde_json::to_string(&arguments)?
            }
        };
        let input = Some(v1::call_tool::Input::ArgumentsJson(
            text.into_bytes().into(),
        ));
        Ok(Kind::CallTool(v1::CallTool {
            tool,
            input,
            ..v1::CallTool::default()
        }))
    }
}

/// Reads a file, or standard input for `-`. Returns the text and the name for messages.
///
/// # Errors
///
/// If it cannot be read, is not UTF-8, or exceeds `MAX_FILE_BYTES`.
pub fn read_text(path: &Path) -> anyhow::Result<(String, String)> {
    let mut text = String::new();
    let is_stdin = path.as_os_str() == "-";
    let read = if is_stdin {
        std::io::stdin()
            .take(MAX_FILE_BYTES + 1)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text))
    };
    let name = if is_stdin {
        "standard input".to_owned()
    } else {
        format!("`{}`", path.display())
    };
    read.with_context(|| format!("{name} cannot be read"))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        bail!("{name} is larger than {MAX_FILE_BYTES} bytes");
    }
    Ok((text, name))
}

#[cfg(test)]
#[path = "call_args_tests.rs"]
mod tests;

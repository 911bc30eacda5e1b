//! `callgate init`: writes a small directory to start from.

use std::fmt;
use std::fs;
use std::io::{self, BufRead, IsTerminal as _, Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::json;

use crate::analysis::init::{self, InitOptions};
use crate::analysis::policy_test::TestedBundle;
use crate::analysis::{catalogue, init::MAX_SERVERS};
use crate::cli::file;
use crate::cli::output::{Exit, Output};
use crate::cli::render::{count, printable};

/// Bytes of one answer.
const MAX_LINE_BYTES: u64 = 8_192;

/// Writes a small directory to start from: servers, an agent, a person, policies with tests
///
/// Asks for what no flag says, if there is a terminal to ask. Servers of the catalogue come with their reviewed tools; the
/// tools of others are imported afterwards. The directory observes: calls are decided and recorded, and allowed. It is
/// checked and its tests are run before it is there.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The directory; nothing may be in it yet
    #[arg(default_value = "./policies")]
    dir: PathBuf,
    /// The person (Mcp::User), who owns agent and servers
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The agent (Mcp::Agent)
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// A server, as callers will name it (may be repeated)
    #[arg(long = "server", value_name = "NAME")]
    servers: Vec<String>,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  callgate init                                      asks, and writes ./policies
  callgate init --user ana --agent helper --server git --server notes
                                                     asks nothing

Exit codes: 0 done, 1 error, 3 the directory has faults.";

/// Writes the directory and says what to do next.
///
/// # Errors
///
/// If a name is missing or cannot be used, the directory is there already, or it cannot be written.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let name = args.dir.file_name().context(
        "name a directory to make, such as `policies`: the one you are in cannot be written as a whole",
    )?;
    file::check_name(&args.dir)?;
    if fs::read_dir(&args.dir).is_ok_and(|mut entries| entries.next().is_some()) {
        let dir = printable(&args.dir.display().to_string());
        bail!("`{dir}` is there already and has something in it: name another directory");
    }
    let stdin = io::stdin();
    let options = match stdin.is_terminal() && args.output == Output::Text {
        true => ask(args, &mut stdin.lock(), &mut io::stderr().lock())?,
        false => from_flags(args)?,
    };
    let files = init::files(&options)?;
    let parent = match args.dir.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).with_context(|| format!("cannot create `{}`", parent.display()))?;
    let hidden = format!(".{}.{}", name.to_string_lossy(), std::process::id());
    let unfinished = parent.join(hidden);
    let made = make(&unfinished, &args.dir, &files);
    if !matches!(made, Ok(Made::Whole(_))) {
        // What is left is hidden and holds nothing of anybody's.
        let _ = fs::remove_dir_all(&unfinished);
    }
    let tests = match made? {
        Made::Whole(tests) => tests,
        Made::Faulty(faults) => return args.output.faults(&faults),
    };
    let text = InitText {
        args,
        options: &options,
        files: files.keys().collect(),
        tests,
    };
    let json = json!({
        "ok": true,
        "directory": args.dir.display().to_string(),
        "files": text.files,
        "tests": tests,
    });
    args.output.answer(&text, &json)?;
    Ok(Exit::Done)
}

/// What became of the files.
enum Made {
    /// The directory is there, and so many tests pass.
    Whole(usize),
    /// It would have had faults.
    Faulty(crate::bundle::diagnostic::BundleError),
}

/// Writes the files beside the directory, checks and tests them, and puts them in its place.
fn make(
    unfinished: &Path,
    dir: &Path,
    files: &std::collections::BTreeMap<String, String>,
) -> anyhow::Result<Made> {
    for (name, text) in files {
        let path = unfinished.join(name);
        let folder = path.parent().unwrap_or(unfinished);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    let tested = match TestedBundle::load(unfinished, None) {
        Ok(tested) => tested,
        Err(faults) => return Ok(Made::Faulty(faults)),
    };
    let ran = match tested.run(None, false) {
        Ok(ran) => ran,
        Err(faults) => return Ok(Made::Faulty(faults)),
    };
    if let Some(case) = ran.failures().next() {
        bail!("a test of the directory fails: {}", printable(&case.name));
    }
    fs::rename(unfinished, dir).with_context(|| format!("cannot make `{}`", dir.display()))?;
    Ok(Made::Whole(ran.cases.len()))
}

fn from_flags(args: &Args) -> anyhow::Result<InitOptions> {
    let needed = |flag: &str, value: &Option<String>| match value {
        Some(value) => Ok(value.clone()),
        None => bail!("`--{flag}` is missing, and there is no terminal to ask"),
    };
    Ok(InitOptions {
        user: needed("user", &args.user)?,
        agent: needed("agent", &args.agent)?,
        servers: args.servers.iter().cloned().collect(),
    })
}

/// Asks for what no flag says. An empty answer is the one in brackets.
fn ask(args: &Args, input: &mut impl BufRead, out: &mut impl Write) -> anyhow::Result<InitOptions> {
    let user = match &args.user {
        Some(user) => user.clone(),
        None => answer(
            "Who answers for this, and works with the agent?",
            "ana",
            input,
            out,
        )?,
    };
    let agent = match &args.agent {
        Some(agent) => agent.clone(),
        None => answer("What is the agent called?", "helper", input, out)?,
    };
    let mut servers = args.servers.clone();
    // Whoever has named everything else has said that there is no server.
    if servers.is_empty() && (args.user.is_none() || args.agent.is_none()) {
        let known: Vec<&str> = catalogue::servers().collect();
        writeln!(
            out,
            "The catalogue has reviewed tools of {}.",
            known.join(", ")
        )?;
        let question = "Which MCP servers does it use, by name, separated by commas?";
        let named = answer(question, "none", input, out)?;
        let named = named.split(',').map(str::trim);
        let named = named.filter(|name| !name.is_empty() && *name != "none");
        servers.extend(named.take(MAX_SERVERS + 1).map(str::to_owned));
    }
    let servers = servers.into_iter().collect();
    Ok(InitOptions {
        user,
        agent,
        servers,
    })
}

fn answer(
    question: &str,
    default: &str,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> anyhow::Result<String> {
    write!(out, "{question} [{default}] ")?;
    out.flush()?;
    let mut line = String::new();
    let read = input.take(MAX_LINE_BYTES).read_line(&mut line)?;
    if read == 0 {
        bail!("the input ended before all was answered; nothing is written");
    }
    if read as u64 == MAX_LINE_BYTES {
        bail!("the answer is longer than {MAX_LINE_BYTES} bytes");
    }
    match line.trim() {
        "" => Ok(default.to_owned()),
        line => Ok(line.to_owned()),
    }
}

struct InitText<'a> {
    args: &'a Args,
    options: &'a InitOptions,
    files: Vec<&'a String>,
    tests: usize,
}

impl fmt::Display for InitText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = printable(&self.args.dir.display().to_string());
        writeln!(f, "{dir} is in order: {} pass", count(self.tests, "test"))?;
        for file in &self.files {
            writeln!(f, "  {}", printable(file))?;
        }
        let at = match self.args.dir == Path::new("./policies") {
            true => String::new(),
            false => format!(" {dir}"),
        };
        writeln!(
            f,
            "\nnothing is enforced yet: callgate.toml says `[observe]`"
        )?;
        let is_known = |name: &&String| catalogue::servers().any(|known| known == **name);
        let unknown: Vec<&String> = self
            .options
            .servers
            .iter()
            .filter(|it| !is_known(it))
            .collect();
        for server in unknown {
            let policies = match at.is_empty() {
                true => String::new(),
                false => format!(" --policies{at}"),
            };
            writeln!(
                f,
                "  callgate import tools LIST.json --server {server}{policies}"
            )?;
        }
        writeln!(f, "  callgate test{at}")?;
        writeln!(f, "  callgate serve{at}")
    }
}

#[cfg(test)]
#[path = "init_tests.rs"]
mod tests;

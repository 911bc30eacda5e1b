//! `callgate audit`: reads the decision log, proves it, and writes it out. It needs no running server.

mod args;
mod export;
mod line;
mod names;
mod prove;
mod query;
mod show;
mod story;
mod tail;
mod verify;
mod verify_proof;

use crate::cli::output::{self, Exit, Output};

/// Reads the decision log: who asked for what, what was decided and why
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Query(Box<query::Args>),
    Show(show::Args),
    Tail(Box<tail::Args>),
    Export(Box<export::Args>),
    Verify(verify::Args),
    Prove(prove::Args),
    VerifyProof(verify_proof::Args),
}

impl Args {
    /// How to answer.
    pub fn output(&self) -> Output {
        match &self.verb {
            Verb::Query(args) => args.output,
            Verb::Show(args) => args.output,
            Verb::Tail(args) => args.output(),
            Verb::Verify(args) => args.output,
            Verb::VerifyProof(args) => args.output,
            Verb::Export(_) | Verb::Prove(_) => Output::Text,
        }
    }
}

/// An error of a verb that answers with one JSON document a line is one such line.
fn in_lines(result: anyhow::Result<Exit>, output: Output) -> anyhow::Result<Exit> {
    match (result, output) {
        (Err(error), Output::Json) => {
            output.next(&"", &output::json_of(&error))?;
            Ok(Exit::Error)
        }
        (result, _) => result,
    }
}

/// Runs the verb.
///
/// # Errors
///
/// If an argument is invalid, or the log cannot be read.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.verb {
        Verb::Query(args) => in_lines(query::run(args), args.output),
        Verb::Show(args) => show::run(args),
        Verb::Tail(args) => in_lines(tail::run(args), args.output()),
        Verb::Export(args) => export::run(args),
        Verb::Verify(args) => verify::run(args),
        Verb::Prove(args) => prove::run(args),
        Verb::VerifyProof(args) => verify_proof::run(args),
    }
}

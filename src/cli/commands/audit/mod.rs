//! `callgate audit`: reads the decision log, proves it, and writes it out. It needs no running server.

mod args;
mod export;
mod line;
mod prove;
mod query;
mod show;
mod story;
mod tail;
mod verify;
mod verify_proof;

use crate::cli::output::{Exit, Output};

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

/// Runs the verb.
///
/// # Errors
///
/// If an argument is invalid, or the log cannot be read.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.verb {
        Verb::Query(args) => query::run(args),
        Verb::Show(args) => show::run(args),
        Verb::Tail(args) => tail::run(args),
        Verb::Export(args) => export::run(args),
        Verb::Verify(args) => verify::run(args),
        Verb::Prove(args) => prove::run(args),
        Verb::VerifyProof(args) => verify_proof::run(args),
    }
}

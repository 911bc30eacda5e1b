//! The command line: one file per command in [`commands`].
//!
//! Start at [`main`]. A command parses its arguments, calls another room, prints, and returns an [`Exit`]. [`control`] has the
//! shared arguments and the client of commands that contact a running server; [`connect`] connects to it.
//!
//! Invariant: no logic of its own. Everything a command does is available in the library.

pub mod args;
mod bundle_source;
pub mod call_args;
pub mod commands;
pub mod connect;
pub mod control;
mod file;
mod log_format;
mod log_place;
mod named_files;
pub mod output;
pub mod render;
mod store;
pub mod value_parser;
pub mod views;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::cli::commands::{
    access, approval, audit, authorize, backup, bundle, changes, check, clock, completions,
    delegation, entity, explain, export, fleet, fmt, health, import, init, man, manifest, prove,
    publish, replay, schema, serve, session, status, stop, task, test, tool, try_compiling,
};
use crate::cli::output::{Exit, Output};
use crate::reload::trial;

/// Decides, for every call an AI agent makes, whether it may happen.
#[derive(Debug, Parser)]
#[command(name = "callgate", version, long_about = LONG_ABOUT, after_long_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const LONG_ABOUT: &str = "\
Callgate decides, for every call an AI agent or an MCP server wants to make, whether it may happen: \
now, for this person, with these arguments. It answers from Cedar policies in a directory, over gRPC, \
and leaves a trace of every answer.

From nothing to the first decision:

  callgate init                                                   a small directory that is in order and tested
  callgate import tools list.json --server git                    register a server's tools
  callgate check                                                  is everything in order?
  callgate test                                                   does it decide as it should?
  callgate prove                                                  does that hold for every call?
  callgate authorize --agent release --user ravi --server git --tool git_log \\
      --arg repo_path=/srv/app                                    decide one call, and say why
  callgate explain --agent release --user ravi --server git --tool git_commit \\
      --arg repo_path=/srv/app --arg message=fix                  which policy denied it, what would allow it?
  callgate access                                                 who can call what?
  callgate serve                                                  decide for gateways, over gRPC

Then, with a server running, for one piece of work:

  callgate task open --as user:sam --agent support --user sam --purpose triage --for 2h
  callgate delegation grant --as user:sam --to support --server github --access read --for 2h
  callgate approval watch                                         which calls wait for a person?
  callgate stop agent:support --as user:ines --reason leaking     out of service, at once
  callgate changes                                                who changed what?
  callgate audit tail -f                                          what is decided right now?";

const EXIT_CODES: &str = "\
Exit codes: 0 done or allowed, 1 error, 2 denied or a test failed, 3 the directory has faults,
4 replayed decisions come out differently.";

#[derive(Debug, Subcommand)]
enum Verb {
    Serve(serve::Args),
    Authorize(Box<authorize::Args>),
    Init(init::Args),
    Explain(Box<explain::Args>),
    Access(Box<access::Args>),
    Check(check::Args),
    Test(test::Args),
    Prove(prove::Args),
    Fmt(fmt::Args),
    Schema(schema::Args),
    Import(import::Args),
    Export(export::Args),
    Manifest(manifest::Args),
    Bundle(bundle::Args),
    Publish(Box<publish::PublishArgs>),
    Rollback(Box<publish::RollbackArgs>),
    Bundles(Box<publish::BundlesArgs>),
    Replay(Box<replay::Args>),
    Entity(Box<entity::Args>),
    Tool(Box<tool::Args>),
    Delegation(Box<delegation::Args>),
    Task(Box<task::Args>),
    Approval(Box<approval::Args>),
    Session(Box<session::Args>),
    Stop(Box<stop::StopArgs>),
    Resume(Box<stop::ResumeArgs>),
    Clock(Box<clock::Args>),
    Audit(Box<audit::Args>),
    Status(Box<status::Args>),
    Fleet(fleet::Args),
    Health(Box<health::Args>),
    Backup(backup::BackupArgs),
    Restore(backup::RestoreArgs),
    Changes(Box<changes::Args>),
    Completions(completions::Args),
    Man(man::Args),
    #[command(name = trial::VERB, hide = true)]
    TryCompiling(try_compiling::Args),
}

/// Runs the command line and says how the process ends.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let (output, result) = match cli.verb {
        Verb::Serve(args) => (args.output, serve::run(&args)),
        Verb::Authorize(args) => (args.output, authorize::run(&args)),
        Verb::Init(args) => (args.output, init::run(&args)),
        Verb::Explain(args) => (args.output, explain::run(&args)),
        Verb::Access(args) => (args.output(), access::run(&args)),
        Verb::Check(args) => (args.output(), check::run(&args)),
        Verb::Test(args) => (args.output(), test::run(&args)),
        Verb::Prove(args) => (args.output, prove::run(&args)),
        Verb::Fmt(args) => (args.output, fmt::run(&args)),
        Verb::Schema(args) => (Output::default(), schema::run(&args)),
        Verb::Import(args) => (args.output(), import::run(&args)),
        Verb::Export(args) => (args.output(), export::run(&args)),
        Verb::Manifest(args) => (args.output, manifest::run(&args)),
        Verb::Bundle(args) => (args.output(), bundle::run(&args)),
        Verb::Publish(args) => (args.ask.output, publish::publish(&args)),
        Verb::Rollback(args) => (args.ask.output, publish::rollback(&args)),
        Verb::Bundles(args) => (args.ask.output, publish::bundles(&args)),
        Verb::Replay(args) => (args.output, replay::run(&args)),
        Verb::Entity(args) => (args.ask.output, entity::run(&args)),
        Verb::Tool(args) => (args.ask.output, tool::run(&args)),
        Verb::Delegation(args) => (args.ask.output, delegation::run(&args)),
        Verb::Task(args) => (args.ask.output, task::run(&args)),
        Verb::Approval(args) => (args.ask.output, approval::run(&args)),
        Verb::Session(args) => (args.ask.output, session::run(&args)),
        Verb::Stop(args) => (args.ask.output, stop::stop(&args)),
        Verb::Resume(args) => (args.ask.output, stop::resume(&args)),
        Verb::Clock(args) => (args.ask.output, clock::run(&args)),
        Verb::Audit(args) => (args.output(), audit::run(&args)),
        Verb::Status(args) => (args.ask.output, status::run(&args)),
        Verb::Fleet(args) => (args.output(), fleet::run(&args)),
        Verb::Health(args) => (args.output, health::run(&args)),
        Verb::Backup(args) => (args.output, backup::backup(&args)),
        Verb::Restore(args) => (args.output, backup::restore(&args)),
        Verb::Changes(args) => (args.ask.output, changes::run(&args)),
        Verb::Completions(args) => (Output::default(), completions::run(&args, Cli::command())),
        Verb::Man(args) => (Output::default(), man::run(&args, Cli::command())),
        Verb::TryCompiling(args) => (Output::default(), try_compiling::run(&args)),
    };
    result.unwrap_or_else(|error| output.error(&error)).into()
}

/// Prints help or a usage error. Usage errors exit with 1, since 2 means that a call was denied.
fn usage(error: &clap::Error) -> ExitCode {
    // Failure to print cannot be reported.
    let _ = error.print();
    let exit = if error.use_stderr() {
        Exit::Error
    } else {
        Exit::Done
    };
    exit.into()
}

#[cfg(test)]
mod tests;

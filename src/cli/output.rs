//! Output of commands: text, JSON, and the exit status.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use crate::bundle::diagnostic::BundleError;
use crate::cli::connect::RpcError;
use crate::cli::render::printable;
use crate::config::observe::ObserveConfig;
use crate::domain::request::visible::escaped_lines;

/// Output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON document on stdout.
    Json,
}

/// Exit status of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Success, or the call was allowed.
    Done,
    /// An error occurred.
    Error,
    /// The call was denied.
    Denied,
    /// The directory has faults.
    Faults,
    /// Decisions come out differently.
    Flips,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Error => 1,
            Exit::Denied => 2,
            Exit::Faults => 3,
            Exit::Flips => 4,
        })
    }
}

impl Output {
    /// Prints a response.
    ///
    /// # Errors
    ///
    /// If stdout cannot be written.
    pub fn answer(self, text: &impl fmt::Display, json: &impl Serialize) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        let written = match self {
            Self::Text => write!(out, "{}", lines(text)),
            Self::Json => writeln!(out, "{}", serde_json::to_string_pretty(json)?),
        };
        match written {
            // A closed pipe, e.g. `| head`, is not an error.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }

    /// Prints a document of another format as it is.
    ///
    /// # Errors
    ///
    /// If stdout cannot be written.
    pub fn verbatim(document: &str) -> anyhow::Result<()> {
        match io::stdout().lock().write_all(document.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }

    /// Prints one item of a stream and flushes; JSON is one document a line. Returns `false` once the reader has
    /// closed the pipe.
    ///
    /// # Errors
    ///
    /// If stdout cannot be written, a closed pipe excepted.
    pub fn next(self, text: &impl fmt::Display, json: &impl Serialize) -> anyhow::Result<bool> {
        let mut out = io::stdout().lock();
        let written = match self {
            Self::Text => write!(out, "{}", lines(text)),
            Self::Json => writeln!(out, "{}", serde_json::to_string(json)?),
        };
        match written.and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Prints text that may hold colours and flushes. Everything untrusted in it is escaped before. Returns `false` once the
    /// reader has closed the pipe.
    ///
    /// # Errors
    ///
    /// If stdout cannot be written, a closed pipe excepted.
    pub fn painted(self, text: &str) -> anyhow::Result<bool> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Prints the faults of a bundle.
    ///
    /// # Errors
    ///
    /// If stdout cannot be written.
    pub fn faults(self, faults: &BundleError) -> anyhow::Result<Exit> {
        match self {
            Self::Text => note(format_args!("{}", lines(faults))),
            Self::Json => self.answer(&"", &json!({"ok": false, "faults": faults}))?,
        }
        Ok(Exit::Faults)
    }

    /// Prints an error with its causes. A denied write is not an error and ends with [`Exit::Denied`].
    pub fn error(self, error: &anyhow::Error) -> Exit {
        let refused = error.downcast_ref::<RpcError>();
        let is_deny = refused.is_some_and(RpcError::is_deny);
        match (self, refused) {
            (Self::Text, Some(refused)) if is_deny => {
                note(format_args!("denied: {}", lines(refused)));
            }
            (Self::Text, _) => note(format_args!("error: {}", lines(&with_causes(error)))),
            // Nothing else can report a failure to write this.
            (Self::Json, Some(refused)) => drop(self.answer(&"", &refused.json())),
            (Self::Json, None) => drop(self.answer(&"", &json_of(error))),
        }
        if is_deny { Exit::Denied } else { Exit::Error }
    }
}

/// An error with its causes, for programs.
pub fn json_of(error: &anyhow::Error) -> Value {
    json!({"ok": false, "error": with_causes(error)})
}

/// Prints a line on stderr. A closed reader ends nothing: `eprintln!` would panic, and a failure to print an error cannot be
/// printed either.
pub fn note(line: impl fmt::Display) {
    let mut line = line.to_string();
    line.push('\n');
    // At once, so that lines of several programs stay whole.
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Says on stderr what is only observed: there a server lets calls pass that are denied here.
pub fn note_observed(config: &ObserveConfig) {
    if let Some(observed) = config.on_summary() {
        note(format_args!(
            "note: only observed (`[observe]`): {}. A server lets such calls pass, NOT ENFORCED, whatever is decided here",
            printable(&observed)
        ));
    }
}

/// Escapes control and invisible characters for the terminal. Untrusted names and values are escaped individually
/// before, so that none of them starts a line.
fn lines(text: &impl fmt::Display) -> String {
    escaped_lines(&text.to_string()).into_owned()
}

/// An error and its causes in one line, without causes that the message already contains.
pub(super) fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

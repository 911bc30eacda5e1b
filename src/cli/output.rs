//! How every verb answers: text for people, JSON for programs, and the exit code.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;

use crate::bundle::diagnostic::BundleError;
use crate::cli::connect::RpcError;
use crate::domain::request::visible::escaped_lines;

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON document on stdout.
    Json,
}

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or allowed.
    Done,
    /// Something went wrong.
    Error,
    /// The call was denied.
    Denied,
    /// The directory has faults.
    Faults,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Error => 1,
            Exit::Denied => 2,
            Exit::Faults => 3,
        })
    }
}

impl Output {
    /// Prints an answer.
    pub fn answer(self, text: &impl fmt::Display, json: &impl Serialize) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        let written = match self {
            Self::Text => write!(out, "{}", lines(text)),
            Self::Json => writeln!(out, "{}", serde_json::to_string_pretty(json)?),
        };
        match written {
            // A reader such as `head` that has seen enough is no error.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }

    /// Prints one of many answers, each as soon as it is there: JSON is one document a line. Says whether
    /// anybody still reads.
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

    /// Prints the faults of a directory.
    pub fn faults(self, faults: &BundleError) -> anyhow::Result<Exit> {
        match self {
            Self::Text => eprintln!("{}", lines(faults)),
            Self::Json => self.answer(&"", &json!({"ok": false, "faults": faults}))?,
        }
        Ok(Exit::Faults)
    }

    /// Prints what went wrong, with its causes. That a change was denied is no error, but an answer.
    pub fn error(self, error: &anyhow::Error) -> Exit {
        let refused = error.downcast_ref::<RpcError>();
        let is_deny = refused.is_some_and(RpcError::is_deny);
        match (self, refused) {
            (Self::Text, Some(refused)) if is_deny => {
                eprintln!("denied: {}", lines(refused));
            }
            (Self::Text, _) => eprintln!("error: {}", lines(&with_causes(error))),
            // Nobody is left to tell if this cannot be written either.
            (Self::Json, Some(refused)) => drop(self.answer(&"", &refused.json())),
            (Self::Json, None) => {
                let message = with_causes(error);
                drop(self.answer(&"", &json!({"ok": false, "error": message})));
            }
        }
        if is_deny { Exit::Denied } else { Exit::Error }
    }
}

/// What goes to a terminal. Whatever a verb prints, nothing in it moves the cursor or hides; names and values of others
/// are escaped one by one before, so that none of them begins a line.
fn lines(text: &impl fmt::Display) -> String {
    escaped_lines(&text.to_string()).into_owned()
}

/// An error and its causes in one line. Many a library repeats a cause in its own words: once will do.
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

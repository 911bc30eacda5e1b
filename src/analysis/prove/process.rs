//! The solver as a process: started, probed, asked within a time, and started again when it is in no state to be asked.
//!
//! Invariant: nobody waits for a solver without end, a process that does not reason is found out before it is asked, and none
//! outlives its [`Process`]. What has no answer is an error, never a proof.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Stdio;
use std::time::{Duration, Instant};

use cedar_policy_symcc::CedarSymCompiler;
use cedar_policy_symcc::solver::{Decision, LocalSolver, Solver, SolverError};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::analysis::prove::{QuestionKind, QuestionTime};

/// The compiler to formulas, with its solver.
pub type Compiler = CedarSymCompiler<LocalSolver>;

/// How long the solver may take over one question, in milliseconds. It keeps to this itself.
const LIMIT: &str = "--tlimit-per=60000";
/// How long a question is waited for: past the solver's own limit, since a solver may not keep it.
const PATIENCE: Duration = Duration::from_secs(75);
/// How many times a solver may not answer in time before it is not asked any more.
const MAX_HUNG: u32 = 3;
/// The oldest cvc5 that is asked, major and minor: what older ones make of the formulas nobody has tried.
const OLDEST: (u32, u32) = (1, 1);
/// How long a program may take to say its version.
const VERSION_PATIENCE: Duration = Duration::from_secs(2);
/// How to get a solver.
const INSTALL: &str = "Get it from https://cvc5.github.io, or with `brew install cvc5`, \
     `nix profile install nixpkgs#cvc5` or `conda install -c conda-forge cvc5`; with `pip` alone as in docs/prove.md";

/// A solver and the runtime it is spoken to in.
pub struct Process {
    runtime: tokio::runtime::Runtime,
    /// `None` once it is given up.
    compiler: Option<Compiler>,
    program: OsString,
    patience: Duration,
    hung: u32,
    asked: BTreeMap<QuestionKind, (usize, Duration)>,
}

impl Process {
    /// Starts the solver of `$CVC5` or of the search path.
    ///
    /// # Errors
    ///
    /// If there is none, with how to get one, or if it is no solver.
    pub fn start() -> Result<Self, String> {
        let named = std::env::var_os("CVC5").filter(|it| !it.is_empty());
        Self::start_program(named.unwrap_or_else(|| "cvc5".into()), PATIENCE)
    }

    /// Starts a program as the solver, which has so long for each question.
    ///
    /// # Errors
    ///
    /// If it cannot be run or is no solver.
    pub(super) fn start_program(program: OsString, patience: Duration) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("the solver cannot be run: {error}"))?;
        let compiler = runtime.block_on(started(&program, patience))?;
        Ok(Self {
            runtime,
            compiler: Some(compiler),
            program,
            patience,
            hung: 0,
            asked: BTreeMap::new(),
        })
    }

    /// Asks one question. After an error another solver is started.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub fn ask<T>(
        &mut self,
        kind: QuestionKind,
        question: impl AsyncFnOnce(&mut Compiler) -> Result<T, cedar_policy_symcc::err::Error>,
    ) -> Result<T, String> {
        let Some(compiler) = &mut self.compiler else {
            return Err("the solver is not asked any more".to_owned());
        };
        let began = Instant::now();
        let waited =
            (self.runtime).block_on(async { timeout(self.patience, question(compiler)).await });
        let (count, took) = self.asked.entry(kind).or_default();
        *count += 1;
        *took += began.elapsed();
        let said = match waited {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => {
                self.hung += 1;
                let seconds = self.patience.as_secs_f64();
                format!("the solver gave no answer within {seconds} s")
            }
        };
        self.compiler = None;
        if self.hung < MAX_HUNG {
            let again = started(&self.program, self.patience);
            self.compiler = self.runtime.block_on(again).ok();
        }
        Err(said)
    }

    /// How many questions of each kind were asked, and how long they took.
    pub fn asked(&self) -> Vec<QuestionTime> {
        let millis = |took: &Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let each = self.asked.iter().map(|(kind, (asked, took))| QuestionTime {
            kind: *kind,
            asked: *asked,
            millis: millis(took),
        });
        each.collect()
    }
}

/// Starts a program and makes sure that it tells what can be true from what cannot.
async fn started(program: &OsString, patience: Duration) -> Result<Compiler, String> {
    let mut command = tokio::process::Command::new(program);
    command.args(["--lang", "smt", LIMIT]).kill_on_drop(true);
    let mut solver = LocalSolver::from_command(&mut command).map_err(|error| {
        format!(
            "no solver: put `cvc5` 1.1 or later into the search path or name it in `CVC5` ({}). {INSTALL}",
            cause(&error)
        )
    })?;
    let shown = program.to_string_lossy();
    let probed = timeout(patience, async {
        Ok::<_, SolverError>([
            probe(&mut solver, "true").await?,
            probe(&mut solver, "false").await?,
        ])
    });
    match probed.await {
        Ok(Ok([Decision::Sat, Decision::Unsat])) => {
            if let Some(version) = version(program).await.filter(|it| is_old(it)) {
                let (major, minor) = OLDEST;
                return Err(format!(
                    "`{shown}` is cvc5 {version}, and {major}.{minor} or later is needed. {INSTALL}"
                ));
            }
            CedarSymCompiler::new(solver).map_err(|error| error.to_string())
        }
        Ok(Ok(_)) => Err(format!(
            "`{shown}` is no solver: it does not tell what is true from what is false. {INSTALL}"
        )),
        Ok(Err(error)) => Err(format!(
            "`{shown}` does not answer as a solver does ({}). {INSTALL}",
            cause(&error)
        )),
        Err(_) => Err(format!(
            "`{shown}` gave no answer within {} s. {INSTALL}",
            patience.as_secs_f64()
        )),
    }
}

/// The version that a cvc5 says it has; `None` of a program that says none.
async fn version(program: &OsString) -> Option<String> {
    let mut command = tokio::process::Command::new(program);
    command
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let said = timeout(VERSION_PATIENCE, command.output())
        .await
        .ok()?
        .ok()?;
    let said = String::from_utf8_lossy(&said.stdout);
    let (_, rest) = said.split_once("cvc5 version ")?;
    rest.split_whitespace().next().map(str::to_owned)
}

/// Whether a version, `1.0.3` or `1.1.0-dev.12`, is older than [`OLDEST`]; not if it cannot be read.
fn is_old(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < OLDEST,
        _ => false,
    }
}

/// What a solver says of `(assert what)`. Every question begins with a reset, so this leaves nothing behind.
async fn probe(solver: &mut LocalSolver, what: &str) -> Result<Decision, SolverError> {
    let script = format!("(reset)\n(set-logic ALL)\n(assert {what})\n");
    solver.smtlib_input().write_all(script.as_bytes()).await?;
    solver.check_sat().await
}

/// What is behind an error of the solver: "No such file or directory", for example.
fn cause(error: &SolverError) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;

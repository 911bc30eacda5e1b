//! Trial compilation in another process under limits: a compiler crash ends that process and not the server.
//!
//! Start at [`TrialCompiler::compile`], which the server calls before it compiles; [`run_trial`] is the other side.
//!
//! Invariant: a trial reports only whether compilation ends well, not its diagnostics.

use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::files::{BundleFiles, SourceFile};
use crate::bundle::{self, COMPILE_STACK_BYTES};
use crate::config::ReloadConfig;
use crate::reload::blame::{Suspects, listed};

/// The hidden subcommand of the program that runs a trial.
pub const VERB: &str = "try-compiling";
/// The interval of checks whether the process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Runs trials under limits of time and memory.
#[derive(Debug, Clone, Copy)]
pub struct TrialCompiler {
    deadline: Duration,
    memory_mib: u64,
}

impl TrialCompiler {
    /// Trials under the limits of these settings.
    pub fn new(settings: &ReloadConfig) -> Self {
        Self {
            deadline: settings.deadline(),
            memory_mib: settings.memory_mib,
        }
    }

    /// Compiles files in another process. If the system has no process to give, there is no trial, and the limits on
    /// the files themselves must do.
    ///
    /// # Errors
    ///
    /// A diagnostic of how the process ended, if it crashed or took too long. It names the file that a crash is due to
    /// if that can be found within half of the deadline.
    pub(super) fn compile(
        &self,
        files: &BundleFiles,
        suspects: &Suspects,
    ) -> Result<(), BundleDiagnostic> {
        let begun = Instant::now();
        let status = match self.run(&files.sources, self.deadline) {
            Ok(TrialEnd::Well) => return Ok(()),
            Ok(TrialEnd::Badly(status)) => status,
            Ok(TrialEnd::TooLate) => return Err(self.too_late(&suspects.names())),
            Err(error) => {
                tracing::warn!(%error, "the directory is compiled without a trial");
                return Ok(());
            }
        };
        let found = suspects.found(|sources| {
            let left = (self.deadline / 2).checked_sub(begun.elapsed())?;
            match self.run(sources, left) {
                Ok(TrialEnd::Well) => Some(true),
                Ok(TrialEnd::Badly(_)) => Some(false),
                Ok(TrialEnd::TooLate) | Err(_) => None,
            }
        });
        Err(self.crashed(status, &found))
    }

    fn run(&self, sources: &[SourceFile], deadline: Duration) -> io::Result<TrialEnd> {
        // This path leads to the running program even if its file was replaced since.
        let own = Path::new("/proc/self/exe");
        let program = match own.exists() {
            true => own.to_owned(),
            false => std::env::current_exe()?,
        };
        let mut command = Command::new(program);
        command
            .args([VERB, "--memory-mib", &self.memory_mib.to_string()])
            .args(["--seconds", &self.deadline.as_secs().max(1).to_string()]);
        run(command, sources, deadline)
    }

    fn crashed(&self, status: ExitStatus, found: &[Arc<str>]) -> BundleDiagnostic {
        let message = format!("compiling it does not end well ({status})");
        let limit = format!(
            "it was tried in a process of its own, which may have {} MiB (`reload.memory_mib`)",
            self.memory_mib
        );
        match found {
            [] => fault(message).with_help(format!(
                "{limit}; tried once more it ended well, so it may have been ended from outside"
            )),
            [file] => BundleDiagnostic::for_file(file, message)
                .with_help(format!("{limit}; mend this file")),
            several => {
                fault(message).with_help(format!("{limit}; it is one of {}", listed(several)))
            }
        }
    }

    /// The diagnostic of a trial that took too long.
    fn too_late(&self, changed: &[Arc<str>]) -> BundleDiagnostic {
        let message = format!(
            "compiling took longer than `reload.deadline_ms`, {} ms",
            self.deadline.as_millis()
        );
        match changed {
            [file] => BundleDiagnostic::for_file(file, message),
            several => fault(message).with_help(format!("what changed: {}", listed(several))),
        }
    }
}

/// How a trial ended.
#[derive(Debug)]
enum TrialEnd {
    Well,
    Badly(ExitStatus),
    TooLate,
}

/// Hands files over to a process and waits for its end. Its output is discarded.
fn run(mut command: Command, sources: &[SourceFile], deadline: Duration) -> io::Result<TrialEnd> {
    let begun = Instant::now();
    let mut child = command
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let sources = sources.to_vec();
    let stdin = child.stdin.take();
    // The process may never read; then it is killed, which ends this thread.
    let written = thread::Builder::new().spawn(move || hand_over(stdin, &sources));
    if let Err(error) = written {
        end(&mut child);
        return Err(error);
    }
    let ended = wait(&mut child, begun, deadline);
    end(&mut child);
    Ok(match ended {
        Some(status) if status.success() => TrialEnd::Well,
        Some(status) => TrialEnd::Badly(status),
        None => TrialEnd::TooLate,
    })
}

fn wait(child: &mut Child, begun: Instant, deadline: Duration) -> Option<ExitStatus> {
    loop {
        // A process that cannot be waited for is killed.
        if let Some(status) = child.try_wait().ok()? {
            return Some(status);
        }
        if begun.elapsed() >= deadline {
            return None;
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn fault(message: String) -> BundleDiagnostic {
    BundleDiagnostic::for_file(&Arc::from("<bundle>"), message)
}

/// A broken pipe means that the process has ended, which is reported by its status.
fn hand_over(stdin: Option<impl Write>, sources: &[SourceFile]) {
    if let Some(stdin) = stdin {
        let mut writer = BufWriter::new(stdin);
        if serde_json::to_writer(&mut writer, sources).is_ok() {
            let _ = writer.flush();
        }
    }
}

fn end(child: &mut Child) {
    // The process may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads the files of a trial from `input`, and compiles them under limits of memory (MiB) and CPU time (seconds).
/// Invalid files count as success.
///
/// # Errors
///
/// Any error of reading the input or of setting the limits.
pub fn run_trial(mut input: impl Read, memory_mib: u64, seconds: u64) -> io::Result<()> {
    let processors = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    // In addition to what the process uses already, and the stacks of its threads.
    let stacks = (processors + 1).saturating_mul(COMPILE_STACK_BYTES as u64);
    if let Some(taken) = address_space() {
        let memory = memory_mib.saturating_mul(1 << 20);
        let all = memory.saturating_add(taken).saturating_add(stacks);
        bound(Resource::As, all)?;
    }
    bound(Resource::Cpu, seconds.saturating_mul(processors))?;
    bound(Resource::Core, 0)?;
    let sources: Vec<SourceFile> = serde_json::from_reader(io::BufReader::new(&mut input))?;
    let files = BundleFiles::from_sources(sources);
    let compiling = thread::Builder::new().stack_size(COMPILE_STACK_BYTES);
    let compiled = compiling.spawn(move || drop(bundle::compile(&files)))?;
    compiled
        .join()
        .map_err(|_| io::Error::other("compiling panicked"))
}

/// The address space of this process in bytes, if the system reports it.
fn address_space() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib.saturating_mul(1_024))
}

fn bound(resource: Resource, most: u64) -> io::Result<()> {
    let now = getrlimit(resource);
    let most = now.maximum.map_or(most, |hard| hard.min(most));
    let new = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    Ok(setrlimit(resource, new)?)
}

#[cfg(test)]
#[path = "trial_tests.rs"]
mod tests;

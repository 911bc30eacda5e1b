//! Runs the binary in a directory of its own, so that paths in its output are the same everywhere.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::bundle_dir::BundleDir;
use super::files;

/// A directory with files, and the binary run in it.
pub struct Workplace {
    dir: tempfile::TempDir,
}

/// What came out.
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Workplace {
    /// A directory with these files.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let workplace = Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
        };
        for (path, text) in files {
            workplace.write(path, text);
        }
        workplace
    }

    /// A directory in the making, as `policies/`.
    pub fn of(dir: &BundleDir) -> Self {
        let workplace = Self::new(&[]);
        dir.write_into(&workplace.path().join("policies"));
        workplace
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file and the directories it is in.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        files::write(self.path(), path, content);
    }

    /// Reads a file.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path().join(path)).expect("a file")
    }

    /// Runs `callgate`.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with_input(args, "")
    }

    /// Runs `callgate` with something on standard input.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        let mut child = Command::new(env!("CARGO_BIN_EXE_callgate"))
            .args(args)
            .current_dir(self.path())
            // Help is as wide as the terminal says.
            .env_remove("COLUMNS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        child
            .stdin
            .take()
            .expect("stdin")
            .write_all(input.as_bytes())
            .expect("written");
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().expect("it ends");
        Ran {
            code: status.code().expect("it was not killed"),
            stdout: String::from_utf8(stdout).expect("text"),
            stderr: String::from_utf8(stderr).expect("text"),
        }
    }
}

impl Ran {
    /// Everything, for snapshots.
    pub fn transcript(&self) -> String {
        format!(
            "exit {}\n--- stdout\n{}--- stderr\n{}",
            self.code, self.stdout, self.stderr
        )
    }

    /// Standard output as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.transcript()))
    }
}

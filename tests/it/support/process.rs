//! A real server process over a directory of its own, and the outside programs that talk to it.
//!
//! Start at [`Bundle`] and [`Server::start`].

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tempfile::TempDir;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::bundle_dir::BundleDir;
pub use super::port::{free_address, free_port};
use super::{files, worlds};

/// How long a process may take to be there, or to be gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory with `policies/` in it.
#[derive(Clone)]
pub struct Bundle {
    folder: Arc<TempDir>,
}

impl Bundle {
    /// An empty one.
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("policies")).unwrap();
        Self {
            folder: Arc::new(folder),
        }
    }

    /// What a directory in the making holds, as `policies/`.
    pub fn of(dir: &BundleDir) -> Self {
        let bundle = Self::empty();
        dir.write_into(&bundle.policies());
        bundle
    }

    /// The world of most processes: [`worlds::notes`].
    pub fn notes() -> Self {
        Self::of(&worlds::notes())
    }

    /// A copy of the policies in this repository.
    pub fn shipped() -> Self {
        Self::of(&BundleDir::copy_of("policies"))
    }

    /// Writes a file below `policies/`.
    pub fn file(&self, path: &str, text: &str) -> &Self {
        files::write(&self.policies(), path, text);
        self
    }

    /// The folder around `policies/`, where the program is run.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The directory of policies.
    pub fn policies(&self) -> PathBuf {
        self.folder().join("policies")
    }

    /// Runs `callgate` here with these arguments, to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(&[], arguments)
    }

    /// The same with these variables.
    pub fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
        let mut command = callgate(self.folder());
        command.envs(variables.iter().copied());
        command.args(arguments).output().unwrap()
    }
}

/// A running `callgate serve`. Dropping it kills it.
pub struct Server {
    process: Child,
    target: String,
    http_target: String,
    log: PathBuf,
    /// Its store is in there.
    _folder: Arc<TempDir>,
}

impl Server {
    /// Starts the server and waits until its health service says that it serves.
    pub fn start(bundle: &Bundle, variables: &[(&str, &str)]) -> Self {
        let mut server = Self::listening(bundle, variables);
        server.wait_until_serving();
        server
    }

    /// Starts the server and waits until it says where it listens.
    pub fn listening(bundle: &Bundle, variables: &[(&str, &str)]) -> Self {
        Self::run(bundle, callgate(bundle.folder()), variables)
    }

    /// Starts the server with so many descriptors and no more.
    pub fn limited(bundle: &Bundle, open_files: u32) -> Self {
        let mut command = Command::new("sh");
        command
            .current_dir(bundle.folder())
            .args([
                "-c",
                &format!("ulimit -n {open_files} && exec \"$0\" \"$@\""),
            ])
            .arg(env!("CARGO_BIN_EXE_callgate"));
        Self::run(bundle, command, &[])
    }

    fn run(bundle: &Bundle, mut command: Command, variables: &[(&str, &str)]) -> Self {
        let log = bundle.folder().join("server.log");
        let process = command
            .args(["serve", "--without-callers", "--listen", "127.0.0.1:0"])
            .args(["--http", "127.0.0.1:0"])
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self {
            process,
            target: String::new(),
            http_target: String::new(),
            log,
            _folder: Arc::clone(&bundle.folder),
        };
        let mut listens_for = |protocol: &str| {
            server.wait_for("a line that says where it listens", |server| {
                server.log().lines().find_map(|line| {
                    let line: Json = serde_json::from_str(line).ok()?;
                    let address = line["address"].as_str()?;
                    let is_meant = line["message"] == "listening" && line["protocol"] == protocol;
                    is_meant.then(|| address.to_owned())
                })
            })
        };
        let (target, http_target) = (listens_for("grpc"), listens_for("http"));
        (server.target, server.http_target) = (target, http_target);
        server
    }

    /// Where it listens, e.g. `127.0.0.1:50051`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The port of that.
    pub fn port(&self) -> u16 {
        self.target.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Where it listens for plain HTTP.
    pub fn http_target(&self) -> &str {
        &self.http_target
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Sends it a signal, e.g. `-STOP`.
    pub fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let kill = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(kill.success());
        if signal == "-STOP" {
            wait_for("every thread to stop", || self.is_stopped().then_some(()));
        }
    }

    /// Whether none of its threads runs on: they stop one after the other, and may answer until then.
    fn is_stopped(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let mut states = threads.map(|thread| {
            let status = fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
            // Behind the name, which is in brackets and may hold anything.
            status.rsplit(") ").next().unwrap().starts_with('T')
        });
        states.all(|is_stopped| is_stopped)
    }

    /// Asks it to stop, waits until it has, and gives its exit status and its log.
    pub fn stop(mut self) -> (ExitStatus, String) {
        self.signal("-TERM");
        let ended = wait_for("the server's end", || self.process.try_wait().unwrap());
        (ended, self.log())
    }

    fn wait_until_serving(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        self.wait_for("a serving server", |server| {
            runtime.block_on(async {
                let address = format!("http://{}", server.target);
                let channel = endpoint(address).connect().await.ok()?;
                let request = HealthCheckRequest::default();
                let answer = HealthClient::new(channel).check(request).await.ok()?;
                (answer.into_inner().status() == ServingStatus::Serving).then_some(())
            })
        });
    }

    /// Waits as long as the process lives.
    fn wait_for<T>(&mut self, what: &str, mut answer: impl FnMut(&Self) -> Option<T>) -> T {
        wait_for(what, || {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("the server ended with {status}:\n{}", self.log());
            }
            answer(self)
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A command of the program under test, without any setting of the shell that runs the tests.
pub fn callgate(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callgate"));
    command.current_dir(folder);
    for (name, _) in std::env::vars_os() {
        let is_setting = name.to_str().is_some_and(|name| {
            ["OTEL_", "CALLGATE_", "RUST_LOG"]
                .iter()
                .any(|start| name.starts_with(start))
        });
        if is_setting {
            command.env_remove(name);
        }
    }
    command
}

/// Where a client finds a server. Nothing is waited for without an end: a port may belong to another by now.
pub fn endpoint(address: String) -> Endpoint {
    Endpoint::from_shared(address)
        .expect("an address")
        .connect_timeout(PATIENCE)
        .timeout(PATIENCE)
}

/// Asks again and again until there is an answer.
pub fn wait_for<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The Python that tests/run installed.
pub fn python() -> OsString {
    std::env::var_os("CALLGATE_TEST_PYTHON")
        .expect("CALLGATE_TEST_PYTHON names no Python: run tests/run, which installs one")
}

/// One of the programs in tests/clients.
pub fn client(name: &str) -> PathBuf {
    files::repository("tests/clients").join(name)
}

/// Runs a program on some lines of JSON and gives its lines of JSON back.
pub fn on_lines(command: &mut Command, lines: &[Json]) -> Vec<Json> {
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    // Beside reading: a program may answer more than a pipe holds before it has read everything.
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that ends early says why below.
            let _ = input.write_all(text.as_bytes());
        });
        process.wait_with_output().unwrap()
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?} ended with {}:\n{errors}",
        output.status
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Calls a method of the server from Python, through reflection.
pub fn ask(server: &Server, method: &str, options: &[&str], requests: &[Json]) -> Vec<Json> {
    let mut command = Command::new(python());
    command
        .arg(client("call.py"))
        .arg(server.target())
        .arg(method)
        .args(options);
    on_lines(&mut command, requests)
}

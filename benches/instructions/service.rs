//! What a whole `Authorize` allocates: HTTP/2, protocol, decision, session store and record.
//!
//! The server is `callgate serve` in a process of its own, so that what the client allocates is not counted. That process is
//! this program, started with the arguments of the server: it has the allocator that counts.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use callgate::reload::trial;
use tonic::transport::{Channel, Endpoint};

use crate::{allocations, bundle};

/// Why nothing could be counted.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Calls that are counted, and those before them that are not.
const CALLS: u64 = 2_000;
const WARM_UP: u64 = 500;

/// The first argument of the server.
const SERVE: &str = "serve";

/// Runs the program that the first argument is for: the server, or the process in which a server tries to compile.
/// `None` if this process is to measure.
pub fn run_server() -> Option<ExitCode> {
    let verb = std::env::args().nth(1)?;
    if verb == SERVE {
        std::thread::spawn(tell);
    } else if verb != trial::VERB {
        return None;
    }
    Some(callgate::cli::main())
}

/// Says how many allocations there were so far, for each line that comes in.
fn tell() {
    for _ in std::io::stdin().lines() {
        println!("{}", allocations());
    }
}

/// Allocations of one typical call, one after the other.
pub fn per_authorize() -> Result<f64, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let folder = tempfile::tempdir()?;
    // Its database lies beside it.
    let dir = folder.path().join("policies");
    bundle::write(Path::new(env!("CARGO_MANIFEST_DIR")), &dir)?;
    let mut server = Server::start(&dir)?;
    runtime.block_on(async {
        let mut client = AuthorizationClient::new(server.connect().await?);
        ask(&mut client, WARM_UP).await?;
        let before = server.allocations()?;
        ask(&mut client, CALLS).await?;
        Ok((server.allocations()? - before) as f64 / CALLS as f64)
    })
}

async fn ask(client: &mut AuthorizationClient<Channel>, calls: u64) -> Result<(), Fault> {
    for _ in 0..calls {
        let answer = client.authorize(bundle::typical_call()).await?.into_inner();
        assert_eq!(answer.decision(), v1::Decision::Allow, "{answer:?}");
    }
    Ok(())
}

/// A server that ends with this value.
struct Server {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    fn start(dir: &Path) -> Result<Self, Fault> {
        let (port, http_port) = (free_port()?, free_port()?);
        let mut child = Command::new(std::env::current_exe()?)
            .args([SERVE, "--without-callers"])
            .arg(dir)
            .current_dir(dir.parent().unwrap_or(dir))
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--http", &format!("127.0.0.1:{http_port}")])
            .env("OTEL_SDK_DISABLED", "true")
            .env("RUST_LOG", "warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self {
            stdin: child.stdin.take().ok_or("the server has no input")?,
            stdout: BufReader::new(child.stdout.take().ok_or("the server has no output")?),
            child,
            port,
        })
    }

    /// Connects once it accepts.
    async fn connect(&self) -> Result<Channel, Fault> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", self.port))?;
        for _ in 0..300 {
            if let Ok(channel) = endpoint.connect().await {
                return Ok(channel);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err("the server does not accept connections".into())
    }

    /// Allocations since it started.
    fn allocations(&mut self) -> Result<u64, Fault> {
        self.stdin.write_all(b"\n")?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Result<u16, Fault> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

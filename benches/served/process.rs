//! Servers in processes of their own, so that their CPU time is theirs alone.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use crate::served::Fault;

/// A server that ends with this value.
pub struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// A process that listens on this port of the loopback.
    pub fn new(child: Child, port: u16) -> Self {
        Self { child, port }
    }

    /// [`Server::of_build`] of the build that is measured.
    pub fn callgate(dir: &Path, collector: Option<&str>, http_port: u16) -> Result<Self, Fault> {
        let program = Path::new(env!("CARGO_BIN_EXE_callgate"));
        Self::of_build(program, dir, collector, http_port)
    }

    /// `callgate serve` of a directory with plain HTTP on `http_port`. Every decision is traced to `collector`; without one
    /// nothing is exported. The database lies beside the directory.
    pub fn of_build(
        program: &Path,
        dir: &Path,
        collector: Option<&str>,
        http_port: u16,
    ) -> Result<Self, Fault> {
        let variables: Vec<(&str, &str)> = match collector {
            Some(collector) => vec![
                ("OTEL_EXPORTER_OTLP_ENDPOINT", collector),
                ("OTEL_TRACES_SAMPLER", "always_on"),
                ("OTEL_BSP_MAX_QUEUE_SIZE", "65536"),
                ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2048"),
            ],
            None => vec![("OTEL_SDK_DISABLED", "true")],
        };
        let port = free_port()?;
        let child = Command::new(program)
            .args(["serve", "--without-callers"])
            .arg(dir)
            .current_dir(dir.parent().unwrap_or(dir))
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--http", &format!("127.0.0.1:{http_port}")])
            .envs(variables)
            .env("RUST_LOG", "warn")
            .stderr(Stdio::inherit())
            .spawn()?;
        Ok(Self::new(child, port))
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connects once the server accepts.
    pub async fn connect(&self) -> Result<Channel, Fault> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", self.port()))?;
        for _ in 0..300 {
            if let Ok(channel) = endpoint.connect().await {
                return Ok(channel);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err("the server does not accept connections".into())
    }

    /// CPU seconds the process has used so far.
    pub fn cpu_seconds(&self) -> Result<f64, Fault> {
        // Nanoseconds on a CPU, which `stat` rounds to hundredths of a second; one file per thread.
        let mut nanoseconds = 0_u64;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            nanoseconds += text
                .split_whitespace()
                .next()
                .unwrap_or("0")
                .parse::<u64>()?;
        }
        Ok(nanoseconds as f64 / 1e9)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of the loopback that was free a moment ago.
pub fn free_port() -> Result<u16, Fault> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}

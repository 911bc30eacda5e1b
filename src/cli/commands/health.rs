//! `callgate health`: whether a running server serves, for the probes of containers.
//!
//! It asks over gRPC, or, with `--admin`, as a probe of the admin listener does.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::cli::connect::{self, ClientCredentials, DEFAULT_ENDPOINT, RpcError, ServerConnection};
use crate::cli::output::{Exit, Output};
use crate::cli::render::printable;

/// Asks whether a running server serves
///
/// It asks `grpc.health.v1`, for which no credential is needed: SERVING from the moment a directory is loaded until the
/// server is told to stop, but for a replica that its database does not confirm, which denies every call. It answers within
/// five seconds, or that is an error. With `--admin` it asks `/readyz` of the admin listener, which needs neither the addresses
/// nor the certificates of the service. With `--live` any answer will do, as starting again mends nothing that is not ready.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The server: `http://…`, `https://…` or `unix:/path`
    #[arg(
        long,
        value_name = "URL",
        env = connect::ENDPOINT_VARIABLE,
        default_value = DEFAULT_ENDPOINT
    )]
    endpoint: String,
    /// Ask about one part: `callgate.bundle` or `callgate.store`. By default about the server as a whole
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    service: String,
    /// Ask the admin listener at this address instead: `http://…`
    #[arg(long, value_name = "URL", conflicts_with = "service")]
    admin: Option<String>,
    /// Ask only whether the server answers, as a liveness probe does; with `--admin`, `/livez`
    #[arg(long, conflicts_with = "service")]
    live: bool,
    #[command(flatten)]
    credentials: ClientCredentials,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  callgate health
  callgate health --endpoint unix:/run/callgate/callgate.sock
  callgate health --service callgate.store
  callgate health --admin http://127.0.0.1:9464
  callgate health --live

Exit codes: 0 it serves (with `--live`: it answers), 1 it does not, or does not answer.";

/// Longest time from the connection to the answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer of the admin listener that is read, in bytes.
const MAX_ANSWER: usize = 4_096;

/// Asks, prints, and ends with 0 only if the answer is SERVING.
///
/// # Errors
///
/// If an argument is invalid, or the server does not answer in time.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if let Some(admin) = &args.admin {
        let path = if args.live { "/livez" } else { "/readyz" };
        let (status, said) = in_time(admin, probe(admin, path))?;
        let text = format!("{}\n", printable(&said));
        let answer = json!({ "status": status.as_u16(), "answer": said });
        args.output.answer(&text, &answer)?;
        return Ok(match status {
            StatusCode::OK => Exit::Done,
            _ => Exit::Error,
        });
    }
    let status = in_time(&args.endpoint, ask(args))?;
    let name = status.as_str_name();
    let text = format!("{name}\n");
    args.output.answer(&text, &json!({ "status": name }))?;
    Ok(match status {
        _ if args.live => Exit::Done,
        ServingStatus::Serving => Exit::Done,
        ServingStatus::Unknown | ServingStatus::NotServing | ServingStatus::ServiceUnknown => {
            Exit::Error
        }
    })
}

fn in_time<T>(place: &str, asked: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    connect::block_on(async {
        match tokio::time::timeout(TIMEOUT, asked).await {
            Ok(answer) => answer,
            Err(_) => anyhow::bail!(
                "`{}` did not answer within {} s",
                printable(place),
                TIMEOUT.as_secs()
            ),
        }
    })
}

/// Asks for a path of an admin listener, which speaks plain HTTP.
async fn probe(admin: &str, path: &'static str) -> anyhow::Result<(StatusCode, String)> {
    let url = url::Url::parse(admin)
        .ok()
        .filter(|it| it.scheme() == "http");
    let place = url
        .as_ref()
        .and_then(|url| url.host_str().zip(url.port_or_known_default()));
    let Some((host, port)) = place else {
        anyhow::bail!("`--admin` is not a URL such as `http://127.0.0.1:9464`");
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port))
        .await
        .with_context(|| format!("cannot reach `{}`", printable(admin)))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Whoever sends hears of its end.
    let connection = tokio::spawn(async move { drop(connection.await) });
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = http::Uri::from_static(path);
    let host = HeaderValue::from_str(&format!("{host}:{port}"))?;
    request.headers_mut().insert(HOST, host);
    let response = sender.send_request(request).await;
    let response = response.with_context(|| format!("`{}` does not answer", printable(admin)))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("the answer cannot be read: {error}"))?;
    connection.abort();
    let said = String::from_utf8_lossy(&body.to_bytes()).trim().to_owned();
    Ok((head.status, said))
}

async fn ask(args: &Args) -> anyhow::Result<ServingStatus> {
    let server = ServerConnection::connect(&args.endpoint, &args.credentials).await?;
    let asked = server.request(HealthCheckRequest {
        service: args.service.clone(),
    });
    match server.health().check(asked).await {
        Ok(answer) => Ok(answer.into_inner().status()),
        Err(status) if status.code() == Code::NotFound => {
            anyhow::bail!("the server has no part `{}`", printable(&args.service))
        }
        Err(status) => Err(RpcError::question(status).into()),
    }
}

//! `callgate health`: whether a running server serves, for the probes of containers.

use std::time::Duration;

use serde_json::json;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::cli::connect::{self, ClientCredentials, DEFAULT_ENDPOINT, RpcError, ServerConnection};
use crate::cli::output::{Exit, Output};
use crate::cli::render::printable;

/// Asks whether a running server serves
///
/// It asks `grpc.health.v1`, for which no credential is needed: SERVING from the moment a directory is loaded until the
/// server is told to stop. It answers within five seconds, or that is an error.
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

Exit codes: 0 it serves, 1 it does not, or does not answer.";

/// Longest time from the connection to the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks, prints, and ends with 0 only if the answer is SERVING.
///
/// # Errors
///
/// If an argument is invalid, or the server does not answer in time.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let status = connect::block_on(async {
        let asked = ask(args);
        match tokio::time::timeout(TIMEOUT, asked).await {
            Ok(answer) => answer,
            Err(_) => anyhow::bail!(
                "`{}` did not answer within {} s",
                args.endpoint,
                TIMEOUT.as_secs()
            ),
        }
    })?;
    let name = status.as_str_name();
    let text = format!("{name}\n");
    args.output.answer(&text, &json!({ "status": name }))?;
    Ok(match status {
        ServingStatus::Serving => Exit::Done,
        ServingStatus::Unknown | ServingStatus::NotServing | ServingStatus::ServiceUnknown => {
            Exit::Error
        }
    })
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

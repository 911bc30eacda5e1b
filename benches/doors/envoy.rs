//! How much longer a call takes through Envoy if Envoy asks Callgate about it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::net::TcpStream;

use crate::asked;
use crate::served::load;
use crate::served::process::{Server, free_port};
use crate::served::{Fault, QUIET_IN_FLIGHT, ROUNDS, calls, median, metric};
use crate::web::{Web, answering, post};

/// Calls in one measurement.
const CALLS: usize = 3_000;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The binary that the Python package of Envoy brings along, where `tests/run` has installed it.
fn binary() -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/venv/lib");
    let versions = std::fs::read_dir(tools).ok()?;
    let paths = versions.filter_map(|version| {
        let path = version.ok()?.path();
        Some(path.join("site-packages/envoy/_bin/envoy"))
    });
    paths.into_iter().find(|path| path.exists())
}

/// Measures both ways to a server that only answers, in turns.
pub async fn measure(callgate_port: u16) -> Result<(), Fault> {
    let Some(binary) = binary() else {
        println!(
            "SKIPPED envoy: there is no Envoy below target/test-tools; `tests/run` installs it"
        );
        return Ok(());
    };
    let server_port = answering().await?;
    let [alone_port, with_port] = [free_port()?, free_port()?];
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("envoy.json");
    let settings = settings([alone_port, with_port], server_port, callgate_port);
    std::fs::write(&config, settings.to_string())?;
    let process = Command::new(binary)
        .arg("--config-path")
        .arg(&config)
        .args([
            "--use-dynamic-base-id",
            "--concurrency",
            "1",
            "--log-level",
            "error",
        ])
        .stdout(Stdio::null())
        .spawn()?;
    let _envoy = Server::new(process, with_port);
    for port in [alone_port, with_port] {
        wait_for(port).await?;
    }
    let call = |port| {
        let request = post(port, "/mcp", TRACE, &asked::message());
        Web::new(port, request, "\"result\"")
    };
    compare(&call(alone_port), &call(with_port)).await
}

async fn compare(alone: &Web, with: &Web) -> Result<(), Fault> {
    let calls = calls(CALLS);
    for way in [alone, with] {
        load::run(way, calls / 4, QUIET_IN_FLIGHT).await?;
    }
    let mut milliseconds = vec![Vec::new(); 6];
    for _ in 0..ROUNDS {
        let plain = load::run(alone, calls, QUIET_IN_FLIGHT).await?;
        let decided = load::run(with, calls, QUIET_IN_FLIGHT).await?;
        for (at, percent) in [50, 99].into_iter().enumerate() {
            let plain = plain.percentile(percent).as_secs_f64() * 1e3;
            let decided = decided.percentile(percent).as_secs_f64() * 1e3;
            milliseconds[at].push(plain);
            milliseconds[at + 2].push(decided);
            milliseconds[at + 4].push(decided - plain);
        }
    }
    let names = [
        "alone_p50",
        "alone_p99",
        "callgate_p50",
        "callgate_p99",
        "added_p50",
        "added_p99",
    ];
    for (name, samples) in names.into_iter().zip(milliseconds) {
        metric(&format!("envoy.{name}_ms"), median(samples), "ms");
    }
    Ok(())
}

async fn wait_for(port: u16) -> Result<(), Fault> {
    for _ in 0..300 {
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("Envoy does not accept connections".into())
}

fn typed(name: &str, ty: &str, mut config: Json) -> Json {
    config["@type"] = json!(format!("type.googleapis.com/{ty}"));
    json!({ "name": name, "typed_config": config })
}

/// The same listener twice: alone, and with Callgate.
fn settings(ports: [u16; 2], server_port: u16, callgate_port: u16) -> Json {
    let mcp = typed(
        "envoy.filters.http.mcp",
        "envoy.extensions.filters.http.mcp.v3.Mcp",
        json!({"max_request_body_size": 1_048_576}),
    );
    let ext_authz = typed(
        "envoy.filters.http.ext_authz",
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        json!({
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": "callgate"}, "timeout": "5s"},
            "metadata_context_namespaces": ["envoy.filters.http.mcp"],
            "with_request_body": {"max_request_bytes": 1_048_576, "pack_as_bytes": true},
        }),
    );
    let router = typed(
        "envoy.filters.http.router",
        "envoy.extensions.filters.http.router.v3.Router",
        json!({}),
    );
    let listener = |name: &str, port: u16, filters: &[&Json]| {
        let manager = typed(
            "envoy.filters.network.http_connection_manager",
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            json!({
                "stat_prefix": name,
                "route_config": {"virtual_hosts": [{
                    "name": "mcp", "domains": ["*"],
                    "routes": [{"match": {"path": "/mcp"}, "route": {"cluster": "server"}}],
                }]},
                "http_filters": filters,
            }),
        );
        json!({
            "name": name,
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "filter_chains": [{"filters": [manager]}],
        })
    };
    let cluster = |name: &str, port: u16| {
        json!({
            "name": name,
            "connect_timeout": "1s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            }}]}]},
        })
    };
    let mut callgate = cluster("callgate", callgate_port);
    callgate["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        },
    });
    json!({"static_resources": {
        "listeners": [
            listener("alone", ports[0], &[&mcp, &router]),
            listener("callgate", ports[1], &[&mcp, &ext_authz, &router]),
        ],
        "clusters": [cluster("server", server_port), callgate],
    }})
}

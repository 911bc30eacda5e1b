//! A mapping of claims that finds nothing in a token is told in the log, once after each load, whoever asks.

use std::time::Duration;

use callgate::proto::agentgateway::ext_mcp::ext_mcp_client::ExtMcpClient;
use callgate::proto::envoy::auth::authorization_client::AuthorizationClient as EnvoyClient;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use serde_json::{Value as Json, json};
use tonic::transport::Channel;

use crate::grpc::whose_claims::{
    CONFIG, MAPPING, TOOLHIVE, agentgateways_question, directory, envoys_question, native_question,
    read, token,
};
use crate::support::plain_http::send;
use crate::support::process::{Bundle, Server, endpoint, wait_for};

/// One name that tokens have, and three that they do not: misspelled, a path that leads through a list, and one that
/// is there and null.
const NAMES: &str = r#"
[[claims.groups]]
claim = "groups"
[[claims.groups]]
claim = "grups"
[[claims.groups]]
claim = "groups.writers"
[[claims.attributes]]
claim = "tenant"
tag = "tenant"
"#;

/// What is told of each, and nothing else.
const TOLD: [(&str, &str); 3] = [
    ("claims.groups[1]", "grups"),
    ("claims.groups[2]", "groups.writers"),
    ("claims.attributes[0]", "tenant"),
];

/// Whoever passes claims on.
#[derive(Clone, Copy, Debug)]
enum Adapter {
    Native,
    Agentgateway,
    Envoy,
    ToolHive,
}

const ADAPTERS: [Adapter; 4] = [
    Adapter::Native,
    Adapter::Agentgateway,
    Adapter::Envoy,
    Adapter::ToolHive,
];

fn bundle(config: &str) -> Bundle {
    Bundle::of(&directory().config(config))
}

async fn channel(server: &Server) -> Channel {
    let address = format!("http://{}", server.target());
    endpoint(address).connect().await.expect("a connection")
}

/// Asks with a token of which `tenant` is null.
fn ask(server: &Server, adapter: Adapter) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(ask_by(server, adapter));
}

async fn ask_by(server: &Server, adapter: Adapter) {
    let mut token = token(&json!({}));
    token["tenant"] = Json::Null;
    match adapter {
        Adapter::Native => {
            let mut client = AuthorizationClient::new(channel(server).await);
            let answer = client.authorize(native_question(&token)).await;
            answer.expect("an answer");
        }
        Adapter::Agentgateway => {
            let mut client = ExtMcpClient::new(channel(server).await);
            let question = agentgateways_question(&token, "tools/call");
            client.check_request(question).await.expect("an answer");
        }
        Adapter::Envoy => {
            let mut client = EnvoyClient::new(channel(server).await);
            let answer = client.check(envoys_question(&token)).await;
            answer.expect("an answer");
        }
        Adapter::ToolHive => {
            let address = server.http_target().parse().expect("an address");
            let json = [("content-type", "application/json")];
            let mut question = read(TOOLHIVE);
            question["principal"]["tenant"] = Json::Null;
            let body = question.to_string();
            let reply = send(address, "POST", "/toolhive/decision", &json, &body).await;
            assert_eq!(reply.status, 200, "{reply:?}");
        }
    }
}

/// The lines so far, as the field and the claim that each names.
fn told(server: &Server) -> Vec<(String, String)> {
    let log = server.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Json>(line).ok());
    let lines = lines.filter(|line| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with("a token has no claim of the name")
    });
    lines
        .map(|line| {
            assert_eq!(line["level"], "WARN", "{line}");
            assert!(line["caller"].is_string(), "{line}");
            let text = |name: &str| line[name].as_str().expect("a text").to_owned();
            (text("field"), text("claim"))
        })
        .collect()
}

/// Waits for as many lines, and then for more that must not come.
fn assert_told(server: &Server, times: usize, what: &str) {
    let wanted: Vec<(String, String)> = TOLD
        .iter()
        .cycle()
        .take(TOLD.len() * times)
        .map(|(field, claim)| ((*field).to_owned(), (*claim).to_owned()))
        .collect();
    wait_for("lines about claims", || {
        (told(server).len() >= wanted.len()).then_some(())
    });
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(told(server), wanted, "{what}");
}

#[test]
fn a_mapping_that_finds_nothing_in_a_token_is_told_once_by_whichever_adapter() {
    for adapter in ADAPTERS {
        let bundle = bundle(&format!("{NAMES}{CONFIG}"));
        let server = Server::start(&bundle, &[("CALLGATE_LOG_FORMAT", "json")]);
        ask(&server, adapter);
        assert_told(&server, 1, &format!("{adapter:?}"));
        // Not again by the others, however often they ask.
        for other in ADAPTERS.iter().cycle().take(2 * ADAPTERS.len()) {
            ask(&server, *other);
        }
        assert_told(&server, 1, &format!("{adapter:?}, then all"));
    }
}

#[test]
fn it_is_told_again_after_a_load_and_never_where_nothing_is_missing() {
    let named = bundle(&format!("{NAMES}{CONFIG}"));
    let server = Server::start(&named, &[("CALLGATE_LOG_FORMAT", "json")]);
    ask(&server, Adapter::Native);
    assert_told(&server, 1, "at first");
    named.file(
        "more.cedar",
        "@id(\"more\") permit (principal == Mcp::User::\"more\", action, resource);",
    );
    wait_for("the new directory", || {
        let log = server.log();
        let mut lines = log.lines();
        lines.find(|it| it.contains("is in service") && it.contains("more.cedar"))?;
        Some(())
    });
    ask(&server, Adapter::Native);
    assert_told(&server, 2, "after a load");

    // Whatever is mapped is there; and claims that nobody passes on are no token's.
    let silent = CONFIG.replace("claims = true", "claims = false");
    for config in [format!("{MAPPING}{CONFIG}"), format!("{NAMES}{silent}")] {
        let bundle = bundle(&config);
        let server = Server::start(&bundle, &[("CALLGATE_LOG_FORMAT", "json")]);
        for adapter in [Adapter::Agentgateway, Adapter::Envoy] {
            ask(&server, adapter);
        }
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(told(&server), Vec::new(), "{config}");
    }
}

//! What `deploy/istio` says: that its field names are Istio's, and that Callgate, configured as it says, decides
//! about what a sidecar sends. No Istio takes part; `istio_envoy.rs` runs what it would make of these files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use callgate::proto::envoy::auth::authorization_client::AuthorizationClient;
use callgate::proto::envoy::auth::{
    AttributeContext, CheckRequest, HttpRequest, Metadata, Peer, Request,
};
use serde_json::json;

use crate::support::in_process::start;
use crate::support::wire::structure;

/// The fields that the examples use, as `istio/api` has them: `mesh/v1alpha1/config.proto`, `security/v1`,
/// `networking/v1` and `networking/v1alpha3`; and as Kubernetes and Envoy have them.
const FIELDS: &[&str] = &[
    // Kubernetes.
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "namespace",
    "spec",
    "labels",
    "app",
    "mcp",
    // MeshConfig.ExtensionProvider.
    "meshConfig",
    "extensionProviders",
    "envoyExtAuthzGrpc",
    "service",
    "port",
    "timeout",
    "failOpen",
    "statusOnError",
    "includeRequestBodyInCheck",
    "maxRequestBytes",
    "allowPartialMessage",
    "packAsBytes",
    // WorkloadSelector, in security and in networking.
    "selector",
    "matchLabels",
    "workloadSelector",
    // RequestAuthentication, JWTRule.
    "jwtRules",
    "issuer",
    "audiences",
    "jwksUri",
    "forwardOriginalToken",
    "outputClaimToHeaders",
    "header",
    "claim",
    // AuthorizationPolicy.
    "action",
    "provider",
    "rules",
    "from",
    "source",
    "namespaces",
    "to",
    "operation",
    "paths",
    // EnvoyFilter.
    "configPatches",
    "applyTo",
    "match",
    "context",
    "listener",
    "filterChain",
    "filter",
    "subFilter",
    "patch",
    "value",
    // Envoy's ExtAuthz.
    "typed_config",
    "@type",
    "encode_raw_headers",
    "metadata_context_namespaces",
    // Envoy's HttpConnectionManager.
    "common_http_protocol_options",
    "headers_with_underscores_action",
    // Envoy's Lua.
    "default_source_code",
    "inline_string",
    // Sidecar.
    "ingress",
    "number",
    "protocol",
    "defaultEndpoint",
    // PeerAuthentication.
    "mtls",
    "mode",
];

fn read(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/istio");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// The names before colons, in block and flow style. Addresses and types are no names: they have dots. A text in a block
/// of its own, such as the source of a filter, has none.
fn names(yaml: &str) -> BTreeSet<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut text_below = None;
    let lines = yaml.lines().filter(|line| {
        if text_below.is_some_and(|it| line.is_empty() || indent(line) > it) {
            return false;
        }
        text_below = line.ends_with(": |").then(|| indent(line));
        !line.trim_start().starts_with('#')
    });
    let parts = lines.flat_map(|line| line.split(['{', '}', ',', '[', ']']));
    let named = parts.filter_map(|part| {
        let (name, _) = part.split_once(": ").or_else(|| {
            let name = part.strip_suffix(':')?;
            Some((name, ""))
        })?;
        let name = name.trim().trim_start_matches("- ").trim_matches('"');
        Some(name.to_owned())
    });
    named.collect()
}

#[test]
fn every_field_is_one_of_istios() {
    let known: BTreeSet<&str> = FIELDS.iter().copied().collect();
    for file in ["mesh.yaml", "resources.yaml"] {
        let names = names(&read(file));
        assert!(names.len() > 10, "{file}: {names:?}");
        for name in names {
            assert!(known.contains(name.as_str()), "{file}: `{name}`");
        }
    }
    let mesh = read("mesh.yaml");
    assert!(mesh.contains("failOpen: false") && mesh.contains("timeout: 0.5s"));
}

#[tokio::test]
async fn callgate_decides_about_what_a_sidecar_sends() {
    decides(true).await;
}

#[tokio::test]
async fn a_workload_acts_by_itself_only_if_the_configuration_lets_it() {
    decides(false).await;
}

/// What the page's configuration decides, with calls that have to name a person or do not.
async fn decides(has_to_name_a_person: bool) {
    let page = read("README.md");
    let block = page
        .split("```toml\n")
        .nth(1)
        .and_then(|it| it.split("```").next());
    let config = block
        .expect("a configuration")
        .replace("\"notes\"", "\"git\"")
        .replace(
            "require_delegation = true",
            &format!("require_delegation = {has_to_name_a_person}"),
        );
    let server = start(&config).await;
    let mut client = AuthorizationClient::new(server.channel().await);
    let mut ask = async |tool: &str, principal: &str, token: Option<serde_json::Value>| {
        let message =
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool}});
        let http = HttpRequest {
            method: "POST".to_owned(),
            path: "/mcp".to_owned(),
            host: "notes.mcp.svc.cluster.local:8000".to_owned(),
            raw_body: message.to_string().into(),
            headers: [("content-type".to_owned(), "application/json".to_owned())].into(),
            ..HttpRequest::default()
        };
        let filter_metadata = token.map(|token| {
            let namespace = "envoy.filters.http.jwt_authn".to_owned();
            (namespace, structure(&json!({"payload": token})))
        });
        let attributes = AttributeContext {
            source: Some(Peer {
                principal: principal.to_owned(),
                ..Peer::default()
            }),
            request: Some(Request { http: Some(http) }),
            metadata_context: Some(Metadata {
                filter_metadata: filter_metadata.into_iter().collect(),
            }),
            ..AttributeContext::default()
        };
        let attributes = Some(attributes);
        let answer = client.check(CheckRequest { attributes }).await;
        answer
            .expect("an answer")
            .into_inner()
            .status
            .map(|it| it.code)
    };
    const CODER: &str = "spiffe://cluster.local/ns/agents/sa/coder";
    const ELSEWHERE: &str = "spiffe://cluster.local/ns/default/sa/coder";
    // Istio makes a list of `scope`.
    let token = |person: &str| {
        Some(json!({"sub": person, "scope": ["tools", "read"], "act": {"sub": "coder"}}))
    };
    for (tool, principal, token, is_allowed) in [
        ("commit", CODER, None, !has_to_name_a_person),
        ("purge", CODER, None, false),
        ("commit", ELSEWHERE, None, false),
        ("commit", ELSEWHERE, token("ana"), true),
        ("commit", CODER, token("bob"), false),
        ("commit", "", None, false),
    ] {
        let code = ask(tool, principal, token.clone()).await;
        assert_eq!(code == Some(0), is_allowed, "{tool} {principal} {token:?}");
    }
}

//! Checks names in `callgate.toml` that gateways and observe mode go by: requests for an unregistered server or tool are
//! denied, and a misspelt one is not observed. The agents of ToolHive are looked up, too, and rights of callers that can only be
//! denied are told.

use crate::authn::rights::Rpc;
use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::files::{BundleFiles, FileKind};
use crate::bundle::validate::references::KnownEntities;
use crate::config::callers::{CallerConfig, RpcSelector};
use crate::config::{Config, agentgateway, envoy};
use crate::domain::names::check_server_name;
use crate::domain::schema::{self, TYPES};

/// The SHA-256 of tokens that are no secret, and what they are.
const TOLD_TOKENS: [(&str, &str); 2] = [
    (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "an empty token",
    ),
    (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "`abc`",
    ),
];

/// Warns about unregistered servers and tools, and about gateways without an identity source. These are warnings,
/// since the missing registrations may come through the control API.
pub(crate) fn warn(
    config: &Config,
    files: &BundleFiles,
    known: &KnownEntities<'_>,
    warnings: &mut Vec<BundleDiagnostic>,
) {
    let Some(source) = files.of_kind(FileKind::Config).next() else {
        return;
    };
    let mut said: Vec<(String, String)> = Vec::new();
    for (field, server, tool) in names(config) {
        if !known.has(&schema::server_uid(&server.into())) {
            said.push((
                format!("{field}.server"),
                format!("is `{server}`, which nothing here registers"),
            ));
        } else if let Some(tool) = tool.filter(|tool| !known.has(&schema::tool_uid(server, tool))) {
            said.push((
                format!("{field}.tool"),
                format!("is `{tool}`, which `{server}` is not registered with"),
            ));
        }
    }
    for (field, servers) in [
        ("envoy.verified_servers", &config.envoy.verified_servers),
        ("ext_mcp.verified_servers", &config.ext_mcp.verified_servers),
    ] {
        for (at, server) in servers.iter().enumerate() {
            if !known.has(&schema::server_uid(&server.into())) {
                said.push((
                    format!("{field}[{at}]"),
                    format!("is `{server}`, which nothing here registers"),
                ));
            }
        }
    }
    for (at, server) in config.observe.servers.iter().enumerate() {
        said.extend(misspelt(server, known).map(|said| (format!("observe.servers[{at}]"), said)));
    }
    for (field, agent) in config.toolhive_agents() {
        let uid = schema::entity_uid(&TYPES.agent, agent);
        if !known.has(&uid) {
            let meant = known.meant(&uid);
            let meant = meant.map(|it| format!(": did you mean `{}`?", it.eid().escaped()));
            let meant = meant.unwrap_or_default();
            said.push((
                field,
                format!("is `{agent}`, an agent that nothing here defines{meant}"),
            ));
        }
    }
    said.extend(told_tokens(config));
    said.extend(useless_rights(config));
    said.extend(unused_claims(config));
    warnings.extend(said.into_iter().map(|(field, said)| {
        let place = Config::place(&source.text, &source.file, &field, &said);
        BundleDiagnostic::at(
            source.origin(),
            place.span.start,
            place.span.len(),
            place.message,
        )
    }));
}

/// Rights with which every request is denied: to ask for others whose word the caller does not have, or by an adapter that
/// finds nobody in a request.
fn useless_rights(config: &Config) -> Vec<(String, String)> {
    let mut said = Vec::new();
    let envoy = &config.envoy;
    let is_used = !(envoy.servers.is_empty() && envoy.routes.is_empty());
    if is_used && envoy.identity.is_empty() {
        let why = "is empty: nobody is known, so every request is denied";
        said.push(("envoy.identity".to_owned(), why.to_owned()));
    }
    for (at, caller) in config.callers.iter().enumerate() {
        let field = format!("callers[{at}].rights.rpcs");
        let rpcs = || caller.rights.rpcs.iter().flat_map(|it| it.rpcs());
        let needs = [
            (
                Rpc::ExtAuthzCheck,
                "envoy.identity",
                envoy.identity.is_empty(),
            ),
            (
                Rpc::ExtProcProcess,
                "envoy.identity",
                envoy.identity.is_empty(),
            ),
            (
                Rpc::ExtMcpCheck,
                "ext_mcp.identity",
                config.ext_mcp.identity.is_empty(),
            ),
        ];
        for (rpc, table, is_empty) in needs {
            // With a table the other warning says it.
            let is_told = table == "envoy.identity" && is_used;
            if is_empty && !is_told && rpcs().any(|it| it == rpc) {
                let name = rpc.name();
                said.push((
                    field.clone(),
                    format!("has `{name}`, and there is no `[[{table}]]`: nobody is known, so every request is denied"),
                ));
            }
        }
        if !caller.rights.assert_identity && rpcs().any(states_who_acts) {
            said.push((
                field,
                "lets it ask without `assert_identity = true`: its word on who acts does not count, so every call is denied"
                    .to_owned(),
            ));
        }
    }
    said
}

/// Whether a request of this kind says who acts.
fn states_who_acts(rpc: Rpc) -> bool {
    let asks = Rpc::AUTHORIZATION.into_iter().chain(Rpc::ADAPTERS);
    asks.filter(|it| *it != Rpc::ReportOutcome)
        .any(|it| it == rpc)
}

/// What is wrong with the name of a server that need not be registered: to observe one is how to find out what to register.
fn misspelt(server: &str, known: &KnownEntities<'_>) -> Option<String> {
    if check_server_name(server).is_err() {
        return Some(format!("is `{server}`, which no server can be called"));
    }
    let uid = schema::server_uid(&server.into());
    let meant = known.meant(&uid).filter(|_| !known.has(&uid))?;
    let meant = meant.eid().escaped();
    Some(format!(
        "is `{server}`, which nothing here registers: did you mean `{meant}`?"
    ))
}

/// Tokens that anybody tries first: that of examples, and none at all.
fn told_tokens(config: &Config) -> impl Iterator<Item = (String, String)> {
    config.callers.iter().enumerate().flat_map(|(caller, it)| {
        let digests = it.token_sha256.iter().enumerate();
        digests.filter_map(move |(at, digest)| {
            let (_, token) = TOLD_TOKENS.into_iter().find(|(told, _)| *told == digest)?;
            let field = format!("callers[{caller}].token_sha256[{at}]");
            Some((
                field,
                format!("is the digest of {token}, which is no secret"),
            ))
        })
    })
}

/// A claim mapping that no decision uses, because no identity source passes claims on or no caller may assert them.
fn unused_claims(config: &Config) -> Option<(String, String)> {
    let (field, _) = config.claims.named().next()?;
    let said = |said: &str| Some((format!("{field}.claim"), said.to_owned()));
    let callers = &config.callers;
    if !callers.is_empty() && !callers.iter().any(|it| it.rights.assert_claims) {
        return said("counts for nobody: no caller has `assert_claims`");
    }
    let envoy = config.envoy.identity.iter().filter_map(|it| match it {
        envoy::EnvoyIdentitySource::Jwt { claims, .. } => Some(*claims),
        _ => None,
    });
    let ext_mcp = config.ext_mcp.identity.iter().filter_map(|it| match it {
        agentgateway::AgentgatewayIdentitySource::Jwt { claims, .. } => Some(*claims),
        agentgateway::AgentgatewayIdentitySource::Keys { .. } => None,
    });
    let sources: Vec<bool> = envoy.chain(ext_mcp).collect();
    let is_unused = !sources.is_empty() && !sources.contains(&true);
    if is_unused && !callers.iter().any(passes_claims_itself) {
        return said(
            "is taken from no token: set `claims = true` in the `[[envoy.identity]]` or `[[ext_mcp.identity]]` that reads them",
        );
    }
    None
}

/// Whether a caller sends claims itself, rather than in tokens that an adapter reads.
fn passes_claims_itself(caller: &CallerConfig) -> bool {
    let reads_tokens = |selector: &RpcSelector| {
        matches!(
            selector,
            RpcSelector::One(
                Rpc::AuthzenEvaluation
                    | Rpc::AuthzenSearch
                    | Rpc::ExtAuthzCheck
                    | Rpc::ExtMcpCheck
                    | Rpc::ExtProcProcess
            )
        )
    };
    let rights = &caller.rights;
    rights.assert_claims && !rights.rpcs.iter().all(reads_tokens)
}

/// Every server that `[envoy]` routes to, with the path of its setting, and the tool of a route to a tool.
fn names(config: &Config) -> impl Iterator<Item = (String, &str, Option<&str>)> {
    let servers = config.envoy.servers.iter().enumerate();
    let servers = servers.map(|(at, it)| (format!("envoy.servers[{at}]"), &*it.server, None));
    let routes = config.envoy.routes.iter().enumerate();
    servers
        .chain(routes.map(|(at, it)| (format!("envoy.routes[{at}]"), &*it.server, Some(&*it.tool))))
}

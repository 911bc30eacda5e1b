//! What `callgate.toml` says of gateways, held against what is registered: a name that nothing has denies
//! everything that is asked under it.

use crate::bundle::entities::Collected;
use crate::bundle::fault::Fault;
use crate::bundle::files::{Files, Kind};
use crate::call::model;
use crate::config::Config;

/// Warns of servers and tools that nobody has registered here, and of gateways whose requests nobody can be
/// known to make. Another process may still register what is missing, so none of it is a fault.
pub(super) fn warn(
    config: &Config,
    files: &Files,
    collected: &Collected,
    warnings: &mut Vec<Fault>,
) {
    let Some(source) = files.of(Kind::Config).next() else {
        return;
    };
    let mut said: Vec<(String, String)> = Vec::new();
    for (field, server, tool) in names(config) {
        if !collected.has(&model::server(&server.into())) {
            said.push((
                format!("{field}.server"),
                format!("is `{server}`, which nothing here registers"),
            ));
        } else if let Some(tool) = tool.filter(|tool| !collected.has(&model::tool(server, tool))) {
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
            if !collected.has(&model::server(&server.into())) {
                said.push((
                    format!("{field}[{at}]"),
                    format!("is `{server}`, which nothing here registers"),
                ));
            }
        }
    }
    let envoy = &config.envoy;
    let is_used = !(envoy.servers.is_empty() && envoy.routes.is_empty());
    if is_used && envoy.identity.is_empty() {
        said.push((
            "envoy.identity".to_owned(),
            "is empty: nobody is known, so every request is denied".to_owned(),
        ));
    }
    warnings.extend(said.into_iter().map(|(field, said)| {
        let place = Config::place(&source.text, &source.file, &field, &said);
        Fault::at(
            source.origin(),
            place.span.start,
            place.span.len(),
            place.message,
        )
    }));
}

/// Every server of `[envoy]` that requests are sent to, with the field around its name, and the tool if it is
/// one.
fn names(config: &Config) -> impl Iterator<Item = (String, &str, Option<&str>)> {
    let servers = config.envoy.servers.iter().enumerate();
    let servers = servers.map(|(at, it)| (format!("envoy.servers[{at}]"), &*it.server, None));
    let routes = config.envoy.routes.iter().enumerate();
    servers
        .chain(routes.map(|(at, it)| (format!("envoy.routes[{at}]"), &*it.server, Some(&*it.tool))))
}

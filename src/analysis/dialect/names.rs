//! What the names of a product mean here: its servers, tools, users and groups.

use std::collections::{BTreeMap, BTreeSet};

use callgate_engine::cedar::EntityUID;
use serde_json::{Value as Json, json};

use crate::analysis::dialect::source::ForeignPolicy;
use crate::analysis::dialect::{Dialect, ImportOptions};
use crate::bundle::Bundle;
use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::validate::references::is_configured;
use crate::domain::names::check_server_name;
use crate::domain::schema::{self, TYPES};

/// What stands between target and tool in an action of AgentCore.
pub const BETWEEN: &str = "___";

/// The type of the gateways of AgentCore.
pub const GATEWAY: &str = "AgentCore::Gateway";

/// What a `forbid` needs to apply here, and the directory may not have.
pub enum Lookup {
    /// It is there.
    There,
    /// It is not; in words.
    Lacking(String),
}

/// What the names mean.
pub struct Names<'a> {
    options: &'a ImportOptions,
    bundle: &'a Bundle,
    /// For AgentCore: the gateway that is meant.
    pub gateway: Option<String>,
}

impl<'a> Names<'a> {
    /// Reads from all policies what they are about.
    ///
    /// # Errors
    ///
    /// A name of a server that cannot be one, policies about several gateways or namespaces.
    pub fn new(
        options: &'a ImportOptions,
        policies: &[ForeignPolicy],
        bundle: &'a Bundle,
    ) -> Result<Self, BundleDiagnostic> {
        let Some(first) = policies.first() else {
            // There is nothing to be read, which was told.
            return Ok(Self {
                options,
                bundle,
                gateway: None,
            });
        };
        let fault = |message: String| BundleDiagnostic::for_file(first.origin().file, message);
        for name in options.servers.values() {
            check_server_name(name).map_err(|error| fault(error.to_string()))?;
        }
        if options.dialect != Dialect::Agentcore && !options.servers.contains_key("") {
            return Err(fault(
                "name the server whose tools these are with `--server`".to_owned(),
            ));
        }
        let mut uids = BTreeSet::new();
        for policy in policies.iter().filter_map(|it| it.policy.as_ref()) {
            entities(&policy.to_json().unwrap_or_default(), &mut uids);
        }
        let mut gateways: BTreeSet<String> = uids
            .iter()
            .filter(|(ty, _)| ty == GATEWAY)
            .map(|(_, id)| id.clone())
            .collect();
        if let Some(chosen) = &options.gateway {
            let all: Vec<String> = gateways.iter().cloned().collect();
            gateways.retain(|it| it == chosen);
            if gateways.is_empty() {
                let none = fault(format!("no policy is about the gateway `{chosen}`"));
                return Err(match all.is_empty() {
                    true => none.with_help("leave out `--gateway`: no policy names one"),
                    false => none.with_help(format!("they are about {}", all.join(", "))),
                });
            }
        }
        if let Some(unused) = unused_target(options, &uids) {
            let message = format!("no policy is about the target `{unused}` of `--server`");
            return Err(fault(message));
        }
        if gateways.len() > 1 {
            let all: Vec<String> = gateways.into_iter().collect();
            let message = "these policies are about several gateways: choose one with `--gateway`";
            return Err(fault(message.to_owned()).with_help(all.join(", ")));
        }
        let namespaces = namespaces(&uids);
        if options.dialect == Dialect::CedarForAgents && namespaces.len() > 1 {
            let all: Vec<String> = namespaces.into_iter().collect();
            return Err(fault(format!(
                "actions come from several namespaces, {}: import them one by one",
                all.join(", ")
            )));
        }
        Ok(Self {
            options,
            bundle,
            gateway: options.gateway.clone().or_else(|| gateways.pop_first()),
        })
    }

    /// The one server of a dialect that has no names of servers.
    pub fn server(&self) -> &str {
        self.options.servers.get("").map_or("", String::as_str)
    }

    /// The server that AgentCore calls a target.
    pub fn server_of_target(&self, target: &str) -> String {
        let named: &BTreeMap<String, String> = &self.options.servers;
        named
            .get(target)
            .cloned()
            .unwrap_or_else(|| target.to_owned())
    }

    /// A group of the product, here.
    pub fn group(&self, id: &str) -> Json {
        entity("Mcp::Group", &format!("{}{id}", self.options.group_prefix))
    }

    /// Whether anybody can be in a group: it is stored, or claims are mapped to groups with its prefix.
    pub fn look_up_group(&self, id: &str) -> Lookup {
        let name = format!("{}{id}", self.options.group_prefix);
        let uid: EntityUID = schema::entity_uid(&TYPES.group, name.as_str());
        let mut mapped = self.bundle.config.claims.groups.iter();
        let is_there =
            self.bundle.snapshot.contains(&uid) || mapped.any(|it| name.starts_with(&it.prefix));
        match is_there {
            true => Lookup::There,
            false => Lookup::Lacking(format!(
                "nobody is in `Mcp::Group::\"{name}\"`: map the claim with `[[claims.groups]]`"
            )),
        }
    }

    /// Whether a server and, if one is named, its tool are registered, or the configuration says that they come from elsewhere.
    pub fn look_up_call(&self, server: &str, tool: Option<&str>) -> Lookup {
        let uid = match tool {
            Some(tool) => schema::entity_uid(&TYPES.tool, format!("{server}/{tool}").as_str()),
            None => schema::entity_uid(&TYPES.server, server),
        };
        let is_there =
            |uid| self.bundle.snapshot.contains(uid) || is_configured(&self.bundle.config, uid);
        if is_there(&uid) {
            return Lookup::There;
        }
        let hint = match self.options.dialect {
            Dialect::Agentcore => ", or name its server with `--server TARGET=NAME`",
            _ => "",
        };
        Lookup::Lacking(match tool {
            Some(tool) => {
                let server_uid = schema::entity_uid(&TYPES.server, server);
                let no_server = match is_there(&server_uid) {
                    true => String::new(),
                    false => format!("there is no server `{server}`; "),
                };
                format!(
                    "the tool `{server}/{tool}` is not registered: {no_server}register it{hint}"
                )
            }
            None => format!("the server `{server}` is not registered: register it{hint}"),
        })
    }

    /// Whether a claim becomes a tag of this name.
    pub fn look_up_tag(&self, tag: &str) -> Lookup {
        let mut mapped = self.bundle.config.claims.attributes.iter();
        match mapped.any(|it| it.tag == tag) {
            true => Lookup::There,
            false => Lookup::Lacking(format!(
                "nobody has the tag `{tag}`: map the claim with `[[claims.attributes]]`"
            )),
        }
    }
}

/// An entity in Cedar's JSON form of a scope.
pub fn entity(ty: &str, id: &str) -> Json {
    json!({"type": ty, "id": id})
}

/// A target that got a name, and that no action is of.
fn unused_target<'o>(
    options: &'o ImportOptions,
    uids: &BTreeSet<(String, String)>,
) -> Option<&'o str> {
    if options.dialect != Dialect::Agentcore {
        return None;
    }
    let is_used = |target: &&String| uids.iter().any(|(_, id)| is_of_target(id, target));
    let mut targets = options.servers.keys();
    targets.find(|it| !is_used(it)).map(String::as_str)
}

/// The namespaces of the actions among entities.
fn namespaces(uids: &BTreeSet<(String, String)>) -> BTreeSet<String> {
    let actions = uids.iter().filter_map(|(ty, _)| ty.strip_suffix("Action"));
    actions
        .map(|it| it.trim_end_matches("::").to_owned())
        .collect()
}

/// All entities that a policy names.
fn entities(json: &Json, found: &mut BTreeSet<(String, String)>) {
    match json {
        Json::Object(members) => {
            let text = |name: &str| members.get(name).and_then(Json::as_str);
            if let (Some(ty), Some(id)) = (text("type"), text("id")) {
                found.insert((ty.to_owned(), id.to_owned()));
            }
            members.values().for_each(|it| entities(it, found));
        }
        Json::Array(items) => items.iter().for_each(|it| entities(it, found)),
        _ => {}
    }
}

/// Whether the id of an action is of a tool of this target.
fn is_of_target(id: &str, target: &str) -> bool {
    id.split_once(BETWEEN).is_some_and(|(it, _)| it == target)
}

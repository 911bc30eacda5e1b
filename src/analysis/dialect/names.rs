//! What the names of a product mean here: its servers, tools, users and groups.

use std::collections::{BTreeMap, BTreeSet};

use callgate_engine::cedar::{EntityUID, Type};
use serde_json::{Value as Json, json};

use crate::analysis::dialect::merged;
use crate::analysis::dialect::source::ForeignPolicy;
use crate::analysis::dialect::{Dialect, ImportOptions};
use crate::bundle::Bundle;
use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::validate::references::is_configured;
use crate::config::claims::ClaimKind;
use crate::domain::names::check_server_name;
use crate::domain::schema::{self, TYPES};

/// What stands between target and tool in an action of AgentCore.
pub const BETWEEN: &str = "___";

/// The type of the gateways of AgentCore.
pub const GATEWAY: &str = "AgentCore::Gateway";

/// The type of the actions of AgentCore.
pub const ACTION: &str = "AgentCore::Action";

/// The actions of AgentCore that all calls are in.
pub const CALLS: [&str; 2] = ["CallTool", "Mcp"];

/// What a policy needs to mean the same here, and the directory may not have.
pub enum Lookup {
    /// It is there.
    There,
    /// It is not, so it is of nobody; in words.
    Lacking(String),
    /// Of some who have it there it is not known here; in words.
    Partial(String),
    /// It may be of others than there; in words.
    Inexact(String),
}

/// What the names mean.
pub struct Names<'a> {
    options: &'a ImportOptions,
    bundle: &'a Bundle,
    /// For AgentCore: the gateway that is meant.
    pub gateway: Option<String>,
    /// For ToolHive: groups may be in groups, by entities that are not read.
    has_entities: bool,
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
                has_entities: false,
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
        let mut written = Vec::new();
        for policy in policies.iter().filter_map(|it| it.policy.as_ref()) {
            let json = policy.to_json().unwrap_or_default();
            entities(&json, &mut uids);
            written.push(json);
        }
        let gateway = gateway(options, &uids, fault)?;
        if options.dialect == Dialect::Agentcore {
            let names_all = written.iter().any(permits_any_call);
            check_targets(options, &uids, names_all).map_err(&fault)?;
        }
        if options.dialect == Dialect::CedarForAgents {
            merged::check(&written).map_err(&fault)?;
        }
        Ok(Self {
            options,
            bundle,
            gateway,
            has_entities: policies.iter().any(|it| it.has_entities),
        })
    }

    /// The one server of a dialect that has no names of servers.
    pub fn server(&self) -> &str {
        self.options.servers.get("").map_or("", String::as_str)
    }

    /// The servers that were named here, whatever the policies call them.
    pub fn named_servers(&self) -> impl Iterator<Item = String> {
        self.options.servers.values().cloned()
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
        let prefix = &self.options.group_prefix;
        let name = format!("{prefix}{id}");
        let uid: EntityUID = schema::entity_uid(&TYPES.group, name.as_str());
        let mapped = || {
            let groups = self.bundle.config.claims.groups.iter();
            groups.filter(|it| it.prefix == *prefix)
        };
        if !self.bundle.snapshot.contains(&uid) && mapped().next().is_none() {
            return Lookup::Lacking(format!(
                "nobody is in `Mcp::Group::\"{name}\"`: map the claim with `[[claims.groups]]`"
            ));
        }
        if self.options.dialect != Dialect::Toolhive {
            return Lookup::There;
        }
        if let Some(mapped) = mapped().find(|it| it.kind != ClaimKind::List) {
            return Lookup::Inexact(format!(
                "ToolHive takes groups from lists only: set `kind = \"list\"` in `[[claims.groups]]` of `{}`",
                mapped.claim
            ));
        }
        match self.has_entities {
            true => Lookup::Partial(format!(
                "the entities of ToolHive's configuration, by which more may be in the group `{id}`, are not read"
            )),
            false => Lookup::There,
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

    /// Whether the claim of this name becomes the tag of this name, and is of one of these kinds.
    pub fn look_up_tag(&self, tag: &str, kinds: &[ClaimKind]) -> Lookup {
        let said = |kind: &ClaimKind| format!("`kind = \"{}\"`", kind.as_str());
        let wanted = kinds.iter().map(said).collect::<Vec<_>>().join(" or ");
        if tag.contains('.') {
            let why = "has a dot, and may be read from within another claim here";
            return Lookup::Inexact(format!("the name of the claim `{tag}` {why}"));
        }
        let mut mapped = self.bundle.config.claims.attributes.iter();
        match mapped.find(|it| it.tag == tag) {
            None => Lookup::Lacking(format!(
                "nobody has the tag `{tag}`: map the claim with `[[claims.attributes]]` and {wanted}"
            )),
            Some(mapped) if mapped.claim != tag => Lookup::Inexact(format!(
                "the tag `{tag}` is of the claim `{}` here, not of `{tag}`",
                mapped.claim
            )),
            Some(mapped) if !kinds.contains(&mapped.kind) => Lookup::Inexact(format!(
                "texts, numbers and lists of the claim `{tag}` are not told apart as they are there: set {wanted} in its `[[claims.attributes]]`"
            )),
            Some(_) => Lookup::There,
        }
    }

    /// The type of an argument of a tool that policies can read; `None` if they cannot.
    pub fn argument(&self, (server, tool): (&str, &str), path: &[&str]) -> Option<&Type> {
        let uid = schema::action_uid(&format!("{server}/{tool}"));
        let context = self.bundle.snapshot.context_attributes(&uid)?;
        let mut found = &*context.get_attr("input")?.attr_type;
        for name in path {
            let Type::Record { attrs, .. } = found else {
                return None;
            };
            found = &attrs.get_attr(name)?.attr_type;
        }
        Some(found)
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
    names_all: bool,
) -> Option<&'o str> {
    let is_used = |target: &&String| {
        names_all && !target.is_empty() || uids.iter().any(|(_, id)| is_of_target(id, target))
    };
    let mut targets = options.servers.keys();
    targets.find(|it| !is_used(it)).map(String::as_str)
}

/// The gateway that is meant: the chosen one, or the only one that the policies name.
fn gateway(
    options: &ImportOptions,
    uids: &BTreeSet<(String, String)>,
    fault: impl Fn(String) -> BundleDiagnostic,
) -> Result<Option<String>, BundleDiagnostic> {
    let named = uids.iter().filter(|(ty, _)| ty == GATEWAY);
    let mut gateways: BTreeSet<&str> = named.map(|(_, id)| id.as_str()).collect();
    let all: Vec<&str> = gateways.iter().copied().collect();
    if let Some(chosen) = &options.gateway {
        if gateways.contains(chosen.as_str()) {
            return Ok(Some(chosen.clone()));
        }
        let none = fault(format!("no policy is about the gateway `{chosen}`"));
        return Err(match all.is_empty() {
            true => none.with_help("leave out `--gateway`: no policy names one"),
            false => none.with_help(format!("they are about {}", all.join(", "))),
        });
    }
    if gateways.len() > 1 {
        let message = "these policies are about several gateways: choose one with `--gateway`";
        return Err(fault(message.to_owned()).with_help(all.join(", ")));
    }
    Ok(gateways.pop_first().map(str::to_owned))
}

/// Every named target is used, and no two are the same server here.
fn check_targets(
    options: &ImportOptions,
    uids: &BTreeSet<(String, String)>,
    names_all: bool,
) -> Result<(), String> {
    if let Some(unused) = unused_target(options, uids, names_all) {
        return Err(format!(
            "no policy is about the target `{unused}` of `--server`"
        ));
    }
    let mut servers: BTreeMap<&str, &str> = BTreeMap::new();
    let actions = uids.iter().filter(|(ty, _)| ty == ACTION);
    let targets = actions.filter_map(|(_, id)| id.split_once(BETWEEN).map(|(target, _)| target));
    for target in targets.chain(options.servers.keys().map(String::as_str)) {
        let server = options.servers.get(target).map_or(target, String::as_str);
        match servers.insert(server, target) {
            Some(other) if other != target => {
                return Err(format!(
                    "the targets `{other}` and `{target}` would both be the server `{server}`: name another with `--server`"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether it is a permit of AgentCore about any tool, and so of every target.
fn permits_any_call(policy: &Json) -> bool {
    let action = &policy["action"];
    let mut named = BTreeSet::new();
    entities(action, &mut named);
    let names_calls = || named.iter().any(|(_, id)| CALLS.contains(&id.as_str()));
    policy["effect"] == "permit" && (action["op"] == "All" || names_calls())
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

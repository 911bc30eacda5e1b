//! Rewrites one policy: its scope, then its conditions, once for each thing that it is about.

use std::collections::BTreeSet;

use callgate_engine::cedar::api;
use serde_json::{Value as Json, json};

use crate::analysis::dialect::clauses;
use crate::analysis::dialect::condition::{Conditions, Safe, Vocabulary};
use crate::analysis::dialect::ids::Ids;
use crate::analysis::dialect::names::{self, Lookup, Names, entity};
use crate::analysis::dialect::source::ForeignPolicy;
use crate::analysis::dialect::target::{Target, Within};
use crate::analysis::dialect::{Dialect, agentcore, agents, toolhive};

/// What became of a policy.
pub enum Translation {
    /// Policies of the directory.
    Policies(Translated),
    /// It is not about what is imported, in words.
    Elsewhere(String),
}

/// The policies that one became.
pub struct Translated {
    /// As Cedar has them.
    pub policies: Vec<api::Policy>,
    /// As text, in the same order.
    pub texts: Vec<String>,
    /// What is written before them, as comments.
    pub comments: Vec<String>,
    /// Where they differ.
    pub notes: BTreeSet<String>,
    /// What the directory lacks for them to apply.
    pub needs: BTreeSet<String>,
}

/// Translates a policy.
///
/// # Errors
///
/// Why it cannot be carried over.
pub fn translate(
    policy: &ForeignPolicy,
    names: &Names<'_>,
    dialect: Dialect,
    ids: &Ids,
) -> Result<Translation, String> {
    let Some(foreign) = &policy.policy else {
        return Err("it is a template".to_owned());
    };
    let json = foreign.to_json().map_err(|error| error.to_string())?;
    if let Some(gateway) = scoped_gateway(&json)
        && names.gateway.as_deref().is_some_and(|it| it != gateway)
    {
        return Ok(Translation::Elsewhere(format!(
            "it is about the gateway `{gateway}`"
        )));
    }
    let targets = targets(&json, names, dialect, policy.is_forbid)?;
    let targets = match policy.is_forbid {
        true => targets,
        false => within_servers(targets, names)?,
    };
    let mut translated = Translated {
        policies: Vec::new(),
        texts: Vec::new(),
        comments: Vec::new(),
        notes: BTreeSet::new(),
        needs: BTreeSet::new(),
    };
    let of_targets = ids.of(&json, policy, targets.len());
    translated.notes.extend(of_targets.note);
    if let Some(note) = annotations(&json, &mut translated.comments) {
        translated.notes.insert(note);
    }
    for (id, target) in of_targets.ids.iter().zip(&targets) {
        one(&json, id, target, names, dialect, &mut translated)?;
    }
    Ok(Translation::Policies(translated))
}

/// What an annotation says there, it does not say here: all but the id become comments.
fn annotations(json: &Json, comments: &mut Vec<String>) -> Option<String> {
    let all = json["annotations"].as_object()?;
    let mut names = Vec::new();
    for (name, value) in all.iter().filter(|(name, _)| *name != "id") {
        names.push(format!("`@{name}`"));
        let value = value.as_str().unwrap_or_default();
        comments.push(format!("@{name}(\"{}\")", value.escape_debug()));
    }
    (!names.is_empty()).then(|| {
        format!(
            "annotations of another product mean nothing here: {} became a comment",
            names.join(", ")
        )
    })
}

/// The gateway in the scope of a policy of AgentCore.
fn scoped_gateway(json: &Json) -> Option<&str> {
    let resource = json.get("resource")?;
    let named = resource.get("in").unwrap_or(resource);
    let uid = named.get("entity")?;
    (uid.get("type")?.as_str()? == names::GATEWAY).then_some(uid.get("id")?.as_str()?)
}

fn parts(uid: &Json) -> Option<(&str, &str)> {
    Some((uid.get("type")?.as_str()?, uid.get("id")?.as_str()?))
}

/// What the action and the resource of a policy name.
fn targets(
    json: &Json,
    names: &Names<'_>,
    dialect: Dialect,
    is_forbid: bool,
) -> Result<Vec<Target>, String> {
    let resource = scoped_resource(&json["resource"], names, dialect)?;
    let action = &json["action"];
    let listed: Vec<&Json> = match action["op"].as_str() {
        Some("All") => Vec::new(),
        Some("==" | "in") => match action.get("entities").and_then(Json::as_array) {
            Some(all) => all.iter().collect(),
            None => action.get("entity").into_iter().collect(),
        },
        _ => return Err("its action has a form that is not known".to_owned()),
    };
    if listed.is_empty() && action["op"] != "All" {
        return Err("it names no action".to_owned());
    }
    if listed.is_empty() {
        let whole = match (dialect, resource) {
            (Dialect::Toolhive, Some(("Tool", tool))) => Target::Tool {
                server: names.server().to_owned(),
                tool: tool.to_owned(),
            },
            (Dialect::Toolhive, Some((ty, _))) => {
                return Err(format!("it is about any action on a `{ty}`"));
            }
            _ if is_forbid => Target::Anything,
            (Dialect::Agentcore, _) => Target::AnyCall,
            _ => Target::Server {
                server: names.server().to_owned(),
            },
        };
        return Ok(vec![whole]);
    }
    let mut targets: Vec<Target> = Vec::new();
    let within = Within {
        may_be_in: action["op"] == "in",
        is_forbid,
    };
    for uid in listed {
        let Some((ty, id)) = parts(uid) else {
            return Err("its action has a form that is not known".to_owned());
        };
        let target = match dialect {
            Dialect::Agentcore => agentcore::target(names, (ty, id), within),
            Dialect::CedarForAgents => agents::target(names, (ty, id), within),
            Dialect::Toolhive => toolhive::target(names, (ty, id), resource),
        }?;
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    Ok(targets)
}

/// Binds a permit for any tool of a gateway to the servers that are named: which of those that are here are behind the gateway,
/// nothing else says.
fn within_servers(targets: Vec<Target>, names: &Names<'_>) -> Result<Vec<Target>, String> {
    let is_any = |it: &Target| *it == Target::AnyCall;
    if !targets.iter().any(is_any) {
        return Ok(targets);
    }
    let servers = names
        .named_servers()
        .map(|server| Target::Server { server });
    let mut within: Vec<Target> = servers.collect();
    if within.is_empty() {
        return Err(
            "it is about every tool of a gateway: name the servers behind it with `--server TARGET=NAME`"
                .to_owned(),
        );
    }
    within.extend(targets.into_iter().filter(|it| !is_any(it)));
    Ok(within)
}

/// The resource that the scope names, if that says anything.
fn scoped_resource<'j>(
    resource: &'j Json,
    names: &Names<'_>,
    dialect: Dialect,
) -> Result<Option<(&'j str, &'j str)>, String> {
    let ty = resource.get("entity_type").and_then(Json::as_str);
    let named = resource.get("in").unwrap_or(resource);
    let named = named.get("entity").and_then(parts);
    let is_alone = resource.get("in").is_none();
    match (dialect, resource["op"].as_str(), ty, named) {
        (_, Some("All"), _, _) => Ok(None),
        (Dialect::Agentcore, Some("is"), Some(names::GATEWAY), None) if is_alone => Ok(None),
        // No gateway is in another one, and another one than is meant was told.
        (Dialect::Agentcore, Some("is"), Some(names::GATEWAY), Some((names::GATEWAY, _))) => {
            Ok(None)
        }
        (Dialect::Agentcore, Some("==" | "in"), _, Some((names::GATEWAY, _))) => Ok(None),
        // Whatever stands for the server: there is one.
        (Dialect::CedarForAgents, Some("is"), Some(_), _) if is_alone => Ok(None),
        (Dialect::CedarForAgents, Some("=="), _, Some(_)) => Ok(None),
        (Dialect::Toolhive, Some("=="), _, Some(uid)) => Ok(Some(uid)),
        (Dialect::Toolhive, Some("in"), _, Some(("MCP", server))) if server == names.server() => {
            Ok(None)
        }
        (Dialect::Toolhive, Some("is"), Some("Tool"), _) if is_alone => Ok(None),
        _ => Err("its resource has no counterpart here".to_owned()),
    }
}

/// What the words of a dialect mean in conditions.
fn vocabulary(dialect: Dialect) -> &'static dyn Vocabulary {
    match dialect {
        Dialect::Agentcore => &agentcore::AgentcoreVocabulary,
        Dialect::CedarForAgents => &agents::AgentsVocabulary,
        Dialect::Toolhive => &toolhive::ToolhiveVocabulary,
    }
}

/// Writes the policy for one target.
fn one(
    json: &Json,
    id: &str,
    target: &Target,
    names: &Names<'_>,
    dialect: Dialect,
    translated: &mut Translated,
) -> Result<(), String> {
    let is_forbid = json["effect"] == "forbid";
    let conditions = Conditions::new(names, vocabulary(dialect), target, is_forbid);
    let principal = principal(json, &conditions, dialect, is_forbid)?;
    let bodies = clauses::rewrite(&conditions, json)?;
    if let Some((server, tool)) = target.place() {
        match (
            conditions.has_read_input(),
            names.look_up_call(server, tool),
        ) {
            // Arguments are read of the tool's own action, which is not in the schema.
            (true, Lookup::Lacking(why)) => return Err(why),
            (_, found) => conditions.require(found, Safe::False)?,
        }
    }
    let (action, resource) = scope(target, conditions.has_read_input())?;
    let written = json!({
        "effect": json["effect"],
        "principal": principal,
        "action": action,
        "resource": resource,
        "conditions": bodies,
        "annotations": {"id": id},
    });
    let policy = api::Policy::from_json(Some(api::PolicyId::new(id)), written)
        .map_err(|error| format!("Cedar does not take the translation: {error}"))?;
    let text = policy
        .to_cedar()
        .ok_or("Cedar cannot write the translation")?;
    translated.texts.push(text);
    translated.policies.push(policy);
    translated.notes.extend(conditions.notes.into_inner());
    translated.needs.extend(conditions.needs.into_inner());
    let note = match target {
        Target::Server { .. } if !is_forbid && dialect == Dialect::Agentcore => {
            "it allows calls of every tool of the servers that `--server` names, and nothing else"
        }
        Target::AnyCall => "it forbids calls of every tool here, whatever it was about",
        Target::Anything => "it forbids everything here, whatever it was about",
        _ => return Ok(()),
    };
    translated.notes.insert(note.to_owned());
    Ok(())
}

/// A permit for anybody is one for people: an agent that acts for them needs its own. A forbid for anybody is for agents, too.
fn principal(
    json: &Json,
    conditions: &Conditions<'_, '_>,
    dialect: Dialect,
    is_forbid: bool,
) -> Result<Json, String> {
    let principal = &json["principal"];
    let safe = if is_forbid { Safe::True } else { Safe::False };
    let group = |of: &Json| conditions.entity(&of["entity"], safe);
    let is_users = json!({"op": "is", "entity_type": "Mcp::User"});
    // Whoever calls there is of one type, or may be an agent.
    let is_anybody = is_forbid && dialect != Dialect::CedarForAgents;
    match principal["op"].as_str() {
        Some("All") if is_forbid => Ok(json!({"op": "All"})),
        Some("All") => Ok(is_users),
        Some("==") => Ok(json!({"op": "==", "entity": conditions.person(&principal["entity"])?})),
        Some("in") => {
            let group = group(principal)?;
            Ok(match is_forbid {
                true => json!({"op": "in", "entity": group}),
                false => json!({"op": "is", "entity_type": "Mcp::User", "in": {"entity": group}}),
            })
        }
        Some("is") => {
            let ty = principal["entity_type"].as_str().unwrap_or_default();
            let ty = conditions.principal_type(ty)?;
            Ok(match principal.get("in") {
                Some(of) if is_anybody => json!({"op": "in", "entity": group(of)?}),
                Some(of) => json!({"op": "is", "entity_type": ty, "in": {"entity": group(of)?}}),
                None if is_anybody => json!({"op": "All"}),
                None => json!({"op": "is", "entity_type": ty}),
            })
        }
        _ => Err("its principal has a form that is not known".to_owned()),
    }
}

/// Action and resource. Arguments can be read of one typed tool only.
fn scope(target: &Target, reads_input: bool) -> Result<(Json, Json), String> {
    let all = || json!({"op": "All"});
    let is = |uid: Json| json!({"op": "==", "entity": uid});
    let within = |uid: Json| json!({"op": "in", "entity": uid});
    let action = |id: &str| entity("Mcp::Action", id);
    Ok(match target {
        Target::Tool { server, tool } => {
            let uid = format!("{server}/{tool}");
            let call = match reads_input {
                true => is(action(&uid)),
                false => within(action("call_tool")),
            };
            (call, is(entity("Mcp::Tool", &uid)))
        }
        _ if reads_input => {
            return Err("it reads arguments, and names no single tool that they are of".to_owned());
        }
        Target::Server { server } => (
            within(action("call_tool")),
            within(entity("Mcp::Server", server)),
        ),
        Target::AnyCall => (within(action("call_tool")), all()),
        Target::Anything => (all(), all()),
        Target::List { server, action: of } => (is(action(of)), is(entity("Mcp::Server", server))),
        Target::Prompt { server, prompt } => (
            is(action("get_prompt")),
            is(entity("Mcp::Prompt", &format!("{server}/{prompt}"))),
        ),
    })
}

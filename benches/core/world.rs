//! A company of any size: teams of users and agents, servers with tools, and policies that name them.
//!
//! A larger company has more teams, each with about as many rules as before. So the rules that concern
//! one call stay as many as they were, and what is measured is the price of all the others.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use callgate::domain::request::call_context::{ActorChain, Operation, Subject};
use callgate::domain::request::operation::OperationKind;
use callgate::domain::schema::{self, SCHEMA, TYPES};
use callgate::{CallContext, Snapshot};
use callgate_engine::cedar::{
    Context, Entity, EntityUID, Extensions, PolicySet, ValidatorSchema, Value, parse_policyset,
};
use callgate_engine::{Query, Reach, SnapshotParts};
use serde_json::json;
use smol_str::{SmolStr, format_smolstr};

const POLICIES_PER_TEAM: usize = 10;
const TOOLS_PER_SERVER: usize = 20;
/// Of every ten entities one is a user, one an agent, and the others are tools.
const USER_SHARE: usize = 10;

/// Rules for everybody, as any company has them.
const COMPANY_RULES: &str = r#"
    forbid (principal is Mcp::Agent, action, resource) unless { principal.active };
    forbid (principal, action in [Mcp::Action::"call_write", Mcp::Action::"call_admin"], resource)
        unless { context.identity.verified };
    forbid (principal, action in Mcp::Action::"call_tool", resource)
        when { context has delegation && context.delegation.depth > 4 };
    forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource is Mcp::Tool)
        when { resource.sensitivity == "restricted" && !(principal.owner == resource.owner) };
    permit (principal, action in Mcp::Action::"discover", resource);
"#;

fn teams(policies: usize) -> usize {
    (policies / POLICIES_PER_TEAM).max(1)
}

fn servers(entities: usize) -> usize {
    (entities * (USER_SHARE - 2) / USER_SHARE / TOOLS_PER_SERVER).max(1)
}

fn server_of(team: usize, place: usize, servers: usize) -> usize {
    (team * 7 + place) % servers
}

pub fn policies(count: usize) -> PolicySet {
    parse_policyset(&policy_texts(count).concat()).expect("the policies parse")
}

/// The rules for everybody, and a text of its own for every team.
pub fn policy_texts(count: usize) -> Vec<String> {
    // The servers named are those of a world ten times as large as its policies, as measured here.
    let servers = servers(count * 10);
    let mut texts = vec![String::from(COMPANY_RULES)];
    texts.extend((0..teams(count)).map(|team| team_rules(team, servers)));
    texts
}

fn team_rules(team: usize, servers: usize) -> String {
    let group = format!("Mcp::Group::\"team{team}\"");
    let rule = |place: usize| {
        let server = format!("Mcp::Server::\"s{}\"", server_of(team, place, servers));
        match place {
            0..=5 => format!(
                "permit (principal in {group}, action == Mcp::Action::\"call_read\", resource in {server});\n"
            ),
            6 | 7 => format!(
                "permit (principal in {group}, action == Mcp::Action::\"call_write\", resource in {server})
                 when {{ context has delegation && context.delegation.verified }};\n"
            ),
            _ => format!(
                "forbid (principal in {group}, action in Mcp::Action::\"call_tool\", resource in {server})
                 when {{ resource.egress && !context.arguments.untyped.isEmpty() }};\n"
            ),
        }
    };
    (0..POLICIES_PER_TEAM).map(rule).collect()
}

pub fn entities(policies: usize, count: usize) -> Vec<Entity> {
    let teams = teams(policies);
    let people = count / USER_SHARE;
    let everyone = uid("Group", "everyone");
    let mut entities = vec![entity(everyone.clone(), [], [])];
    for team in 0..teams {
        entities.push(entity(
            uid("Group", &format!("team{team}")),
            [],
            [everyone.clone()],
        ));
    }
    for person in 0..people {
        let team = uid("Group", &format!("team{}", person % teams));
        let user = uid("User", &format!("u{person}"));
        let agent = [("owner", user.clone().into()), ("active", true.into())];
        entities.push(entity(user, [("active", true.into())], [team.clone()]));
        entities.push(entity(uid("Agent", &format!("a{person}")), agent, [team]));
    }
    for server in 0..servers(count) {
        let owner = uid("User", &format!("u{}", server % people.max(1)));
        let attributes = [("owner", owner.clone().into()), ("active", true.into())];
        let server = format!("s{server}");
        let server_uid = uid("Server", &server);
        entities.push(entity(server_uid.clone(), attributes, []));
        for tool in 0..TOOLS_PER_SERVER {
            let access = if tool % 4 == 3 { "write" } else { "read" };
            let id = format!("{server}/t{tool}");
            entities.push(tool_entity(&id, access, owner.clone(), server_uid.clone()));
        }
    }
    entities
}

/// Tools as a registration makes them: six attributes, one server.
pub fn tools_with_six_attributes(count: usize) -> Vec<Entity> {
    (0..count)
        .map(|number| {
            let server = number / TOOLS_PER_SERVER;
            let owner = uid("User", &format!("u{}", server % 100));
            tool_entity(
                &format!("s{server}/t{}", number % TOOLS_PER_SERVER),
                "read",
                owner,
                uid("Server", &format!("s{server}")),
            )
        })
        .collect()
}

fn tool_entity(id: &str, access: &str, owner: EntityUID, server: EntityUID) -> Entity {
    let yields = Value::set([Value::new("private", None)], None);
    let attributes = [
        ("access", Value::new(access, None)),
        ("confirmed", true.into()),
        ("yields", yields),
        ("egress", false.into()),
        ("sensitivity", Value::new("internal", None)),
        ("owner", owner.into()),
    ];
    entity(uid("Tool", id), attributes, [server])
}

fn entity<const A: usize, const P: usize>(
    uid: EntityUID,
    attributes: [(&'static str, Value); A],
    parents: [EntityUID; P],
) -> Entity {
    Entity::new_with_attr_partial_value(
        uid,
        attributes.map(|(name, value)| (SmolStr::new_static(name), value.into())),
        HashSet::new(),
        HashSet::from(parents),
        [],
    )
}

fn uid(ty: &str, id: &str) -> EntityUID {
    let ty = match ty {
        "Agent" => &TYPES.agent,
        "Group" => &TYPES.group,
        "Server" => &TYPES.server,
        "Tool" => &TYPES.tool,
        _ => &TYPES.user,
    };
    schema::entity_uid(ty, id)
}

/// Writes a world as a bundle: `rules*.cedar` of so many policies each, `entities/*.json`.
pub fn write(dir: &Path, policy_count: usize, entity_count: usize, policies_per_file: usize) {
    let teams_per_file = policies_per_file / POLICIES_PER_TEAM;
    let texts = policy_texts(policy_count);
    for (number, texts) in texts.chunks(teams_per_file).enumerate() {
        fs::write(dir.join(format!("rules{number}.cedar")), texts.concat()).expect("a file");
    }
    let room = dir.join("entities");
    fs::create_dir(&room).expect("a directory");
    let entities = entities(policy_count, entity_count);
    for (number, entities) in entities.chunks(10_000).enumerate() {
        let json = |entity: &Entity| entity.to_json_value().expect("JSON can say it");
        let list: Vec<_> = entities.iter().map(json).collect();
        let text = serde_json::to_vec(&list).expect("JSON");
        fs::write(room.join(format!("part{number}.json")), text).expect("a file");
    }
}

pub fn snapshot(policy_count: usize, entity_count: usize) -> Snapshot {
    let (schema, _) = ValidatorSchema::from_cedarschema_str(SCHEMA, Extensions::all_available())
        .expect("the schema parses");
    let actions = schema.action_entities().expect("the schema has actions");
    let entities = entities(policy_count, entity_count);
    Snapshot::build(SnapshotParts {
        policies: policies(policy_count),
        entities: entities.into_iter().chain(actions.iter().cloned()),
        schema: Some(Arc::new(schema)),
        reach: Reach::Level(2),
    })
    .expect("the world is sound")
}

/// Calls of agents for people of their team: four of five to a server the team may use.
pub fn calls(policy_count: usize, entity_count: usize, count: usize) -> Vec<CallContext> {
    let people = entity_count / USER_SHARE;
    let servers = servers(entity_count);
    let call = |number: usize| {
        let person = number * 7919 % people;
        let team = person % teams(policy_count);
        let place = if number % 5 == 4 {
            POLICIES_PER_TEAM + 3
        } else {
            number % 6
        };
        let server = format_smolstr!("s{}", server_of(team, place, servers));
        let tool = format_smolstr!("t{}", number % 3);
        let mut call = CallContext::new(
            Subject::verified(uid("Agent", &format!("a{person}")), "jwt"),
            Operation::call_tool(server, tool, arguments()),
        );
        call.actor_chain = Some(ActorChain::verified_from(uid(
            "User",
            &format!("u{person}"),
        )));
        call.workflow.purpose = Some(SmolStr::new_static("support"));
        call
    };
    (0..count).map(call).collect()
}

fn arguments() -> serde_json::Map<String, serde_json::Value> {
    let arguments = json!({ "path": "/srv/app/report.txt", "lines": 40, "follow": false });
    arguments.as_object().cloned().unwrap_or_default()
}

/// A plain Cedar request.
pub struct Question {
    pub principal: EntityUID,
    pub action: EntityUID,
    pub resource: EntityUID,
    pub context: Context,
}

impl Question {
    pub fn query(&self) -> Query<'_> {
        Query {
            action: &self.action,
            resource: &self.resource,
            context: &self.context,
            overlays: &[],
            unknown: &[],
        }
    }
}

/// The calls as plain Cedar requests, with a context as the calls have it.
pub fn questions(calls: &[CallContext]) -> Vec<Question> {
    let identity = Value::record([("verified", Value::from(true))], None);
    let delegation = Value::record(
        [
            ("verified", Value::from(true)),
            ("depth", Value::from(1_i64)),
        ],
        None,
    );
    let arguments = Value::record([("untyped", Value::empty_set(None))], None);
    let context = Context::Value(Arc::new(
        [
            ("identity", identity),
            ("delegation", delegation),
            ("arguments", arguments),
        ]
        .map(|(name, value)| (SmolStr::new_static(name), value))
        .into(),
    ));
    calls
        .iter()
        .map(|call| {
            let OperationKind::CallTool(tool) = &call.operation.kind else {
                unreachable!("the world only calls tools")
            };
            Question {
                principal: call.subject.entity.clone(),
                action: schema::action_uid("call_read"),
                resource: schema::tool_uid(&call.operation.server, &tool.tool),
                context: context.clone(),
            }
        })
        .collect()
}

//! A small world that the tests of this room share.

use std::sync::Arc;

use callgate_engine::cedar::{
    CoreSchema, Entity, EntityJsonParser, EntityUID, Extensions, TCComputation, ValidatorSchema,
    parse_policyset,
};
use callgate_engine::{Reach, Snapshot, SnapshotParts};
use serde_json::{Value as Json, json};

use crate::authn::caller::{Rights, RpcSet};
use crate::domain::request::call_context::{ActorChain, CallContext, Operation, Subject};
use crate::domain::schema::{self, SCHEMA, TYPES};
use crate::domain::unconfirmed_tool;

/// A tool with an action of its own, whose arguments are typed.
pub const TYPED: &str = r#"
    namespace Mcp {
        action "github/create_issue" in [call_write] appliesTo {
            principal: [User, Agent], resource: [Tool], context: IssueFacts,
        };
        type IssueFacts = {
            input: { title: String, labels?: Set<String>, number?: Long, on?: Bool, milestone?: { name: String } },
            arguments: Arguments, initiator: String, identity: Identity, environment: Environment,
            delegation?: Delegation, purpose?: String, target?: Resource, target_role?: String, task?: TaskFacts,
            session?: Session, usage?: Usage, approval?: Approval,
        };
    }
"#;

/// The definition of `github/get_issue`, and the digest that it is pinned to.
pub const GET_ISSUE: (&str, &str) = (
    r#"{"name": "get_issue", "inputSchema": {}}"#,
    "sha256:2882cd97ec3da79b6d6c22ac16e7a4068ab842a46898df9dfdbc9b7da55d0669",
);

pub fn person(id: &str) -> EntityUID {
    schema::entity_uid(&TYPES.user, id)
}

pub fn agent(id: &str) -> EntityUID {
    schema::entity_uid(&TYPES.agent, id)
}

pub fn world(policies: &str) -> Snapshot {
    let text = SCHEMA
        .trim_end()
        .strip_suffix('}')
        .expect("the schema is one namespace");
    let typed = TYPED
        .trim()
        .strip_prefix("namespace Mcp {")
        .expect("one namespace");
    let (schema, _) = ValidatorSchema::from_cedarschema_str(
        &format!("{text}{typed}"),
        Extensions::all_available(),
    )
    .expect("the schema parses");
    let core = CoreSchema::new(&schema);
    let parser = EntityJsonParser::new(
        Some(&core),
        Extensions::all_available(),
        TCComputation::ComputeNow,
    );
    let entities = parser
        .from_json_value(entities())
        .expect("the entities fit the schema");
    let entities: Vec<Entity> = entities
        .iter()
        .cloned()
        .map(unconfirmed_tool::in_force)
        .collect();
    let parts = SnapshotParts {
        policies: parse_policyset(policies).expect("policies parse"),
        entities,
        schema: Some(Arc::new(schema)),
        reach: Reach::Level(2),
    };
    Snapshot::build_with_types(parts, &TYPES.all()).expect("no fault")
}

pub fn entities() -> Json {
    let uid = |ty: &str, id: &str| json!({ "type": format!("Mcp::{ty}"), "id": id });
    let staff = || json!([uid("Group", "staff")]);
    let agent = |id: &str, parents: Json| {
        json!({ "uid": uid("Agent", id), "parents": parents,
                "attrs": { "owner": { "__entity": uid("User", "alice") }, "active": true } })
    };
    let tool = |id: &str, access: &str, confirmed: bool, more: Json| {
        let mut attributes = json!({
            "access": access, "confirmed": confirmed, "yields": [], "egress": false,
            "sensitivity": "internal", "owner": { "__entity": uid("User", "alice") },
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            attributes[name] = value.clone();
        }
        let server = id.split('/').next().unwrap_or_default();
        json!({ "uid": uid("Tool", id), "parents": [uid("Server", server)], "attrs": attributes })
    };
    let server = |id: &str| {
        json!({ "uid": uid("Server", id), "parents": [],
                "attrs": { "owner": { "__entity": uid("User", "alice") }, "active": true } })
    };
    json!([
        { "uid": uid("User", "alice"), "attrs": { "active": true }, "parents": staff() },
        { "uid": uid("User", "mallory"), "attrs": { "active": true }, "parents": [] },
        agent("helper", staff()),
        agent("planner", staff()),
        agent("stray", json!([])),
        server("github"),
        { "uid": uid("Server", "files"), "parents": [],
          "attrs": { "owner": { "__entity": uid("User", "alice") }, "active": true, "yields": ["private"] } },
        { "uid": uid("Server", "retired"), "parents": [],
          "attrs": { "owner": { "__entity": uid("User", "alice") }, "active": false } },
        tool("retired/read", "read", true, json!({})),
        tool("github/create_issue", "write", true, json!({})),
        tool("github/get_issue", "read", true, json!({ "digest": GET_ISSUE.1 })),
        tool("github/merge", "read", false, json!({ "yields": ["secret"] })),
        tool("github/odd", "destroy", true, json!({})),
        tool("files/find", "read", true, json!({ "target_arguments": [{ "argument": "path", "optional": true }] })),
        tool("files/read", "read", true, json!({ "target_arguments": [{ "argument": "path", "optional": false }] })),
    ])
}

pub fn tool_call(server: &str, tool: &str, arguments: Json) -> CallContext {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    let mut call = CallContext::new(
        Subject::verified(agent("helper"), "jwt"),
        Operation::call_tool(server, tool, arguments),
    );
    call.actor_chain = Some(ActorChain::verified_from(person("alice")));
    call
}

pub fn get_issue() -> CallContext {
    tool_call("github", "get_issue", json!({}))
}

pub fn trusted() -> Rights {
    Rights {
        rpcs: RpcSet::all(),
        assert_identity: true,
        assert_delegation: true,
        assert_claims: true,
        vouch_sessions: false,
        people_in_person: false,
        assert_properties: true,
        explain: true,
        require_delegation: false,
    }
}

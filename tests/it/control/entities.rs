//! Entities and tools: put, looked at, listed, deleted, registered, pinned, and what cannot be.

use callgate::proto::v1;
use callgate::proto::v1::EntitySource;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use tonic::Code;

use crate::control::{World, assert_refused, by, directory, person};
use crate::support::in_process::{call, context, entity};

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn text(text: &str) -> Value {
    value(Kind::StringValue(text.into()))
}

fn fields<const N: usize>(fields: [(&str, Value); N]) -> Option<Struct> {
    Some(Struct {
        fields: fields.map(|(name, value)| (name.to_owned(), value)).into(),
    })
}

/// The agent `bot` of `sam`, put by the security team.
fn bot() -> v1::PutEntityRequest {
    let owner = fields([("type", text("Mcp::User")), ("id", text("sam"))]).unwrap();
    let skills = ListValue {
        values: vec![text("go"), text("rust")],
    };
    v1::PutEntityRequest {
        actor: person("sec"),
        entity: Some(v1::Entity {
            uid: entity("Mcp::Agent", "bot"),
            attributes: fields([
                ("owner", value(Kind::StructValue(owner))),
                ("active", value(Kind::BoolValue(true))),
            ]),
            parents: vec![entity("Mcp::Group", "reading").unwrap()],
            tags: fields([("skills", value(Kind::ListValue(skills)))]),
            source: 0,
        }),
        ..Default::default()
    }
}

/// The tool `git/blame`, as an entity.
fn tool() -> v1::Entity {
    let owner = fields([("type", text("Mcp::User")), ("id", text("sam"))]).unwrap();
    let nothing = ListValue { values: Vec::new() };
    v1::Entity {
        uid: entity("Mcp::Tool", "git/blame"),
        attributes: fields([
            ("owner", value(Kind::StructValue(owner))),
            ("access", text("read")),
            ("sensitivity", text("internal")),
            ("confirmed", value(Kind::BoolValue(true))),
            ("egress", value(Kind::BoolValue(false))),
            ("yields", value(Kind::ListValue(nothing))),
        ]),
        parents: vec![entity("Mcp::Server", "git").unwrap()],
        ..Default::default()
    }
}

fn get(of_type: &str, id: &str) -> v1::GetEntityRequest {
    v1::GetEntityRequest {
        uid: entity(of_type, id),
    }
}

fn delete(of_type: &str, id: &str) -> v1::DeleteEntityRequest {
    v1::DeleteEntityRequest {
        actor: person("sec"),
        uid: entity(of_type, id),
        ..Default::default()
    }
}

/// The tool `git/blame`, registered by the security team.
fn blame() -> v1::RegisterToolRequest {
    v1::RegisterToolRequest {
        actor: person("sec"),
        server: "git".into(),
        tool: "blame".into(),
        access: v1::AccessLevel::Read.into(),
        yields: vec!["untrusted".into()],
        sensitivity: "internal".into(),
        owner: "ana".into(),
        groups: vec!["reading".into()],
        target_arguments: vec![v1::TargetArgument {
            argument: "path".into(),
            kind: "path".into(),
            ..Default::default()
        }],
        definition_json: br#"{"name": "blame", "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}}"#
            .as_slice()
            .into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn what_was_put_is_part_of_every_decision() {
    let mut world = World::start().await;
    let mut question = call("log");
    context(&mut question)
        .subject
        .get_or_insert_default()
        .entity = entity("Agent", "bot");
    let mut asking = world.server.client().await;
    let before = asking
        .authorize(by("edge", question.clone()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(before.reasons[0].code(), v1::ReasonCode::SubjectUnknown);
    let put = world
        .client
        .put_entity(by("edge", bot()))
        .await
        .expect("put")
        .into_inner();
    assert_eq!(put.revision, 2);
    question.at_least_revision = put.revision;
    let after = asking
        .authorize(by("edge", question.clone()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(after.decision(), v1::Decision::Allow);

    let found = world
        .client
        .get_entity(by("edge", get("Agent", "bot")))
        .await;
    let found = found.expect("an entity").into_inner();
    let entity = found.entity.unwrap();
    assert_eq!(entity.source(), EntitySource::Stored);
    let put = bot().entity.unwrap();
    assert_eq!((&entity.uid, &entity.parents), (&put.uid, &put.parents));
    assert_eq!(entity.tags, put.tags);
    let attributes = entity.attributes.unwrap().fields;
    assert_eq!(attributes["active"], value(Kind::BoolValue(true)));

    let gone = world
        .client
        .delete_entity(by("edge", delete("Agent", "bot")))
        .await;
    assert_eq!(gone.expect("gone").into_inner().revision, 3);
    let answer = world
        .client
        .get_entity(by("edge", get("Agent", "bot")))
        .await;
    assert_refused(answer, Code::NotFound, "is not known");
    let answer = world
        .client
        .delete_entity(by("edge", delete("Agent", "bot")))
        .await;
    assert_refused(answer, Code::NotFound, "is not known");
    let after = asking
        .authorize(by("edge", question))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(after.reasons[0].code(), v1::ReasonCode::SubjectUnknown);
}

#[tokio::test]
async fn entities_of_the_directory_are_told_and_left_alone() {
    let mut world = World::start().await;
    let found = world
        .client
        .get_entity(by("edge", get("Tool", "git/log")))
        .await;
    let found = found.expect("an entity").into_inner().entity.unwrap();
    assert_eq!(found.source(), EntitySource::Bundle);
    let parents = [
        entity("Mcp::Group", "reading"),
        entity("Mcp::Server", "git"),
    ];
    assert_eq!(found.parents, parents.map(Option::unwrap));
    let answer = world
        .client
        .delete_entity(by("edge", delete("Tool", "git/log")))
        .await;
    assert_refused(
        answer,
        Code::FailedPrecondition,
        "is defined in the directory",
    );
    let mut theirs = bot();
    theirs.entity.as_mut().unwrap().uid = entity("Agent", "helper");
    let answer = world.client.put_entity(by("edge", theirs)).await;
    assert_refused(
        answer,
        Code::FailedPrecondition,
        "is defined in the directory",
    );
    let tool = v1::RegisterToolRequest {
        tool: "log".into(),
        definition_json: Default::default(),
        ..blame()
    };
    let answer = world.client.register_tool(by("edge", tool)).await;
    assert_refused(
        answer,
        Code::FailedPrecondition,
        "is defined in the directory",
    );
    let pin = v1::PinToolRequest {
        actor: person("sec"),
        server: "git".into(),
        tool: "log".into(),
        definition_json: br#"{"name": "log"}"#.as_slice().into(),
        ..Default::default()
    };
    let answer = world.client.pin_tool(by("edge", pin)).await;
    assert_refused(
        answer,
        Code::FailedPrecondition,
        "is defined in the directory",
    );
}

/// Makes a resource of an entity, with an attribute.
fn place(it: &mut v1::Entity, name: &str, attribute: Option<(&str, &str)>) {
    *it = v1::Entity {
        uid: entity("Mcp::Resource", name),
        attributes: attribute
            .map_or_else(|| fields([]), |(name, value)| fields([(name, text(value))])),
        ..Default::default()
    };
}

/// Changes a good request, and says how it is then refused.
type Spoil = (fn(&mut v1::Entity), Code, &'static str);

const SPOILS: &[Spoil] = &[
    (
        |it| it.uid = entity("Action", "call_read"),
        Code::InvalidArgument,
        "`entity` is an action",
    ),
    (
        |it| it.uid = entity("Task", "task-1"),
        Code::InvalidArgument,
        "`entity` is a task",
    ),
    (
        |it| it.attributes = None,
        Code::InvalidArgument,
        "`entity` cannot be used",
    ),
    (
        |it| {
            let attributes = it.attributes.as_mut().unwrap();
            attributes.fields.insert("active".into(), text("yes"));
        },
        Code::InvalidArgument,
        "`entity` cannot be used",
    ),
    (
        |it| {
            let attributes = it.attributes.as_mut().unwrap();
            attributes.fields.insert("colour".into(), text("blue"));
        },
        Code::InvalidArgument,
        "`entity` cannot be used",
    ),
    (
        |it| it.uid = entity("Mcp::Robot", "r2"),
        Code::InvalidArgument,
        "`entity` cannot be used",
    ),
    (
        |it| it.parents = vec![entity("Server", "git").unwrap()],
        Code::InvalidArgument,
        "`entity` cannot be used",
    ),
    (
        |it| {
            it.uid = entity("Group", "mine");
            it.attributes = None;
            it.tags = None;
            it.parents = vec![entity("Group", "mine").unwrap()];
        },
        Code::InvalidArgument,
        "is its own ancestor",
    ),
    (
        |it| place(it, "/srv/hr", None),
        Code::InvalidArgument,
        "`entity` has a name under which no call acts upon it: `file:///srv/hr` is the canonical one",
    ),
    (
        |it| place(it, "git:0F4E1D2C-3B4A-5968-8776-655443322110", None),
        Code::InvalidArgument,
        "`git:0f4e1d2c-3b4a-5968-8776-655443322110` is the canonical one",
    ),
    (
        |it| place(it, "file:///srv/../hr", None),
        Code::InvalidArgument,
        "`entity` has a name under which no call acts upon it: it ",
    ),
    (
        |it| place(it, "file:///etc/x", Some(("uri", "file:///srv/y"))),
        Code::InvalidArgument,
        "`entity` states `uri`, which follows from the name of what a call acts upon",
    ),
    (
        |it| place(it, "https://evil.example", Some(("domain", "example.com"))),
        Code::InvalidArgument,
        "`entity` states `domain`",
    ),
    (
        |it| {
            it.uid = entity("Server", "git/log");
            it.parents.clear();
        },
        Code::InvalidArgument,
        "`entity` is a server with `/` in its name",
    ),
    (
        |it| {
            *it = tool();
            it.parents = vec![entity("Group", "reading").unwrap()];
        },
        Code::InvalidArgument,
        "`entity` is a tool, `<server>/<tool>`, without that server as its parent",
    ),
    (
        |it| {
            *it = tool();
            it.uid = entity("Tool", "svn/blame");
        },
        Code::InvalidArgument,
        "without that server as its parent",
    ),
    (
        |it| it.tags = fields([("long", text(&"x".repeat(20_000)))]),
        Code::InvalidArgument,
        "`limits.text_bytes` allows 16384",
    ),
];

#[tokio::test]
async fn what_does_not_fit_is_not_put() {
    let mut world = World::start().await;
    for (spoil, code, said) in SPOILS {
        let mut request = bot();
        spoil(request.entity.as_mut().unwrap());
        let answer = world.client.put_entity(by("edge", request)).await;
        assert_refused(answer, *code, said);
    }
    let theirs = v1::PutEntityRequest {
        actor: person("sam"),
        ..bot()
    };
    let answer = world.client.put_entity(by("edge", theirs)).await;
    assert_refused(answer, Code::PermissionDenied, "");
    let theirs = v1::DeleteEntityRequest {
        actor: person("sam"),
        ..delete("Agent", "bot")
    };
    let answer = world.client.delete_entity(by("edge", theirs)).await;
    assert_refused(answer, Code::PermissionDenied, "");
    let listed = world
        .client
        .list_entities(by("edge", v1::ListEntitiesRequest::default()))
        .await;
    assert!(listed.unwrap().into_inner().entities.is_empty());
}

#[tokio::test]
async fn lists_hold_what_was_put() {
    let mut world = World::start().await;
    for name in ["b", "a", "c"] {
        let mut request = bot();
        request.entity.as_mut().unwrap().uid = entity("Agent", name);
        world
            .client
            .put_entity(by("edge", request))
            .await
            .expect("put");
    }
    let mut group = bot();
    group.entity = Some(v1::Entity {
        uid: entity("Group", "g"),
        ..Default::default()
    });
    world
        .client
        .put_entity(by("edge", group))
        .await
        .expect("put");
    let mut ask = v1::ListEntitiesRequest {
        r#type: "Mcp::Agent".into(),
        page_size: 2,
        ..Default::default()
    };
    let mut found = Vec::new();
    loop {
        let page = world.client.list_entities(by("edge", ask.clone())).await;
        let page = page.expect("a page").into_inner();
        found.extend(page.entities.into_iter().map(|it| it.uid.unwrap().id));
        ask.page_token = page.next_page_token;
        if ask.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, ["a", "b", "c"]);
    let all = world
        .client
        .list_entities(by("edge", v1::ListEntitiesRequest::default()))
        .await;
    assert_eq!(all.unwrap().into_inner().entities.len(), 4);
    let odd = v1::ListEntitiesRequest {
        page_token: "odd".into(),
        ..Default::default()
    };
    let answer = world.client.list_entities(by("edge", odd)).await;
    assert_refused(
        answer,
        Code::InvalidArgument,
        "`page_token` is not a token of this list",
    );
}

#[tokio::test]
async fn a_target_that_no_call_could_name_is_refused() {
    let mut world = World::start().await;
    let path = || v1::TargetArgument {
        argument: "path".into(),
        kind: "path".into(),
        ..Default::default()
    };
    for (written, said) in [
        (
            v1::TargetArgument {
                argument: "pth".into(),
                ..path()
            },
            "`target_arguments[0].argument` `pth` is not among the arguments",
        ),
        (
            v1::TargetArgument {
                kind: "place".into(),
                ..path()
            },
            "`target_arguments[0].kind` `place` is not one of",
        ),
        (
            v1::TargetArgument {
                base: "repo".into(),
                ..path()
            },
            "`target_arguments[0].base` `repo` is not among the arguments",
        ),
        (
            v1::TargetArgument {
                role: "The Source".into(),
                ..path()
            },
            "`target_arguments[0].role` `The Source` is not a label",
        ),
    ] {
        let asked = v1::RegisterToolRequest {
            target_arguments: vec![written],
            ..blame()
        };
        let answer = world.client.register_tool(by("edge", asked)).await;
        assert_refused(answer, Code::InvalidArgument, said);
    }
}

#[tokio::test]
async fn a_tool_is_registered_and_pinned() {
    let mut world = World::start().await;
    let registered = world.client.register_tool(by("edge", blame())).await;
    let registered = registered.expect("registered").into_inner();
    // SHA-256 over the canonical form: members in order, no space.
    let digest = "sha256:1700aaecbcb60932ea538b0983fbafbd292e348504f8f838a1fd92c62433572d";
    assert_eq!(registered.digest, digest);
    let found = world
        .client
        .get_entity(by("edge", get("Tool", "git/blame")))
        .await;
    let found = found.unwrap().into_inner().entity.unwrap();
    let attributes = &found.attributes.as_ref().unwrap().fields;
    assert_eq!(attributes["access"], text("read"));
    assert_eq!(attributes["confirmed"], value(Kind::BoolValue(true)));
    assert_eq!(attributes["digest"], text(&registered.digest));
    assert_eq!(found.parents.len(), 2);

    // It may be called at once, and only under the definition it is pinned to.
    let mut question = call("blame");
    let operation = context(&mut question).operation.as_mut().unwrap();
    let Some(v1::operation::Kind::CallTool(tool)) = &mut operation.kind else {
        panic!("not a tool call");
    };
    tool.definition_digest = registered.digest.clone();
    tool.input = Some(v1::call_tool::Input::ArgumentsJson(
        br#"{"path": "/a"}"#.as_slice().into(),
    ));
    context(&mut question)
        .subject
        .get_or_insert_default()
        .entity = entity("Agent", "helper");
    let mut asking = world.server.client().await;
    let answer = asking
        .authorize(by("edge", question.clone()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.decision(), v1::Decision::Allow, "{answer:?}");
    let pin = v1::PinToolRequest {
        actor: person("sec"),
        server: "git".into(),
        tool: "blame".into(),
        definition_json: br#"{"name": "blame", "description": "new"}"#.as_slice().into(),
        ..Default::default()
    };
    let pinned = world
        .client
        .pin_tool(by("edge", pin.clone()))
        .await
        .expect("pinned")
        .into_inner();
    assert_ne!(pinned.digest, registered.digest);
    assert_eq!(pinned.revision, registered.revision + 1);
    question.at_least_revision = pinned.revision;
    let answer = asking
        .authorize(by("edge", question))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.reasons[0].code(), v1::ReasonCode::ToolChanged);

    let unknown = v1::PinToolRequest {
        tool: "annotate".into(),
        definition_json: br#"{"name": "annotate"}"#.as_slice().into(),
        ..pin.clone()
    };
    let answer = world.client.pin_tool(by("edge", unknown)).await;
    assert_refused(answer, Code::NotFound, "tool `git/annotate` is not known");
    let theirs = v1::PinToolRequest {
        actor: person("sam"),
        ..pin
    };
    let answer = world.client.pin_tool(by("edge", theirs)).await;
    assert_refused(answer, Code::PermissionDenied, "");
}

/// Changes a good request, and says how it is then refused.
type ToolSpoil = (fn(&mut v1::RegisterToolRequest), Code, &'static str);

const TOOL_SPOILS: &[ToolSpoil] = &[
    (
        |it| it.server = "svn".into(),
        Code::InvalidArgument,
        "`server` `svn` is not a registered server",
    ),
    (
        |it| it.sensitivity = "secret".into(),
        Code::InvalidArgument,
        "`sensitivity` `secret` is not one of `public`",
    ),
    (
        |it| it.yields = vec!["fine".into(), "Not Fine".into()],
        Code::InvalidArgument,
        "`yields[1]` `Not Fine` is not a label",
    ),
    (
        |it| it.definition_json = br#"{"name": "other"}"#.as_slice().into(),
        Code::InvalidArgument,
        "`definition_json` is not the definition of `blame`",
    ),
    (
        |it| it.definition_json = br#"{"name": "blame", "name": "blame"}"#.as_slice().into(),
        Code::InvalidArgument,
        "`definition_json` is not JSON that can be used",
    ),
    (|it| it.actor = person("sam"), Code::PermissionDenied, ""),
    (
        |it| {
            it.tool = "x".repeat(513);
            it.definition_json = Default::default();
        },
        Code::InvalidArgument,
        "`tool` is longer than 512 bytes",
    ),
];

#[tokio::test]
async fn what_cannot_be_a_tool_is_not_registered() {
    let mut world = World::start().await;
    for (spoil, code, said) in TOOL_SPOILS {
        let mut request = blame();
        spoil(&mut request);
        let answer = world.client.register_tool(by("edge", request)).await;
        assert_refused(answer, *code, said);
    }
    let without = v1::RegisterToolRequest {
        definition_json: Default::default(),
        ..blame()
    };
    let registered = world.client.register_tool(by("edge", without)).await;
    assert_eq!(registered.expect("registered").into_inner().digest, "");
}

/// A server whose team has types of its own.
async fn with_own_types(config: &str) -> World {
    let world = World::with(config).await;
    let own = "entity Team = { size: Long };\n\
        entity Project in [Team, Mcp::Group] = { team: Team, owner: Mcp::User } tags Set<String>;\n\
        namespace Acme { entity Site; }\n";
    let load = directory().file("own.cedarschema", own).load();
    world.server.service.publish(load).expect("a revision");
    world
}

fn put(uid: Option<v1::EntityRef>, attributes: Option<Struct>) -> v1::PutEntityRequest {
    v1::PutEntityRequest {
        actor: person("sec"),
        entity: Some(v1::Entity {
            uid,
            attributes,
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[tokio::test]
async fn entities_of_the_teams_own_types_are_put_and_checked() {
    let mut world = with_own_types("").await;
    let size = |size: f64| fields([("size", value(Kind::NumberValue(size)))]);
    let team = put(entity("Team", "red"), size(7.0));
    world
        .client
        .put_entity(by("edge", team))
        .await
        .expect("put");
    let name = |of_type: &str, id: &str| {
        let named = fields([("type", text(of_type)), ("id", text(id))]).unwrap();
        value(Kind::StructValue(named))
    };
    let mut project = put(
        entity("Project", "moon"),
        fields([
            ("team", name("Team", "red")),
            ("owner", name("Mcp::User", "sam")),
        ]),
    );
    let form = project.entity.as_mut().unwrap();
    form.parents = vec![
        entity("Team", "red").unwrap(),
        entity("Group", "staff").unwrap(),
    ];
    world
        .client
        .put_entity(by("edge", project))
        .await
        .expect("put");
    let site = put(entity("Acme::Site", "hq"), None);
    world
        .client
        .put_entity(by("edge", site))
        .await
        .expect("put");

    let found = world
        .client
        .get_entity(by("edge", get("Project", "moon")))
        .await;
    let found = found.expect("an entity").into_inner().entity.unwrap();
    assert_eq!(found.uid, entity("Project", "moon"));
    let mut parents = found.parents;
    parents.sort_by(|one, other| one.r#type.cmp(&other.r#type));
    assert_eq!(
        parents,
        [
            entity("Mcp::Group", "staff").unwrap(),
            entity("Team", "red").unwrap()
        ]
    );
    let listed = v1::ListEntitiesRequest {
        r#type: "Team".into(),
        ..Default::default()
    };
    let listed = world.client.list_entities(by("edge", listed)).await;
    assert_eq!(listed.unwrap().into_inner().entities.len(), 1);

    // The schema is kept to.
    for (request, why) in [
        (put(entity("Team", "blue"), None), "size"),
        (
            put(entity("Team", "blue"), fields([("size", text("many"))])),
            "size",
        ),
        (put(entity("Nothing", "x"), None), "Nothing"),
        (put(entity("Acme::Nothing", "x"), None), "Nothing"),
    ] {
        let answer = world.client.put_entity(by("edge", request)).await;
        assert_refused(answer, Code::InvalidArgument, why);
    }
    let gone = world
        .client
        .delete_entity(by("edge", delete("Project", "moon")))
        .await;
    gone.expect("gone");
    let gone = world
        .client
        .get_entity(by("edge", get("Project", "moon")))
        .await;
    assert_refused(gone, Code::NotFound, "is not known");
}

#[tokio::test]
async fn only_so_many_entities_are_stored() {
    let mut world = with_own_types("[limits]\nstored_entities = 2\n").await;
    let size = fields([("size", value(Kind::NumberValue(1.0)))]);
    for id in ["one", "two", "two"] {
        let team = put(entity("Team", id), size.clone());
        world
            .client
            .put_entity(by("edge", team))
            .await
            .expect("put");
    }
    let third = put(entity("Team", "three"), size.clone());
    let refused = world.client.put_entity(by("edge", third)).await;
    assert_refused(refused, Code::ResourceExhausted, "`limits.stored_entities`");
    let gone = world
        .client
        .delete_entity(by("edge", delete("Team", "one")))
        .await;
    gone.expect("gone");
    let third = put(entity("Team", "three"), size);
    world
        .client
        .put_entity(by("edge", third))
        .await
        .expect("put");
}

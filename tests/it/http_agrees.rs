//! The protocols over plain HTTP decide as the native RPCs do.

use callgate::proto::v1;
use callgate::proto::v1::Decision;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use callgate::proto::v1::is_authorized_request::ContextForm;
use callgate::proto::v1::operation::Kind;
use serde_json::{Value as Json, json};
use tonic::transport::{Channel, Endpoint};

use crate::authzen::{EVALUATION, certified};
use crate::harness::{Bundle, Server};
use crate::plain_http::{post, send};
use crate::serving::{Running, entity, start};

const TOOLHIVE: &str = "/toolhive/decision";

/// The same choices on every run.
struct Dice(u64);

impl Dice {
    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let index = (self.0 >> 33) as usize % from.len();
        &from[index]
    }
}

fn codes(reasons: &[v1::Reason]) -> Vec<String> {
    reasons
        .iter()
        .map(|it| it.code().as_str_name().to_owned())
        .collect()
}

/// Asks natively and through AuthZEN, and gives both answers.
async fn both(
    client: &mut AuthorizationClient<Channel>,
    server: &Running,
    parts: [(&str, &str); 3],
    context: &Json,
) -> [(bool, Vec<String>); 2] {
    let [subject, action, resource] = parts;
    let request = v1::IsAuthorizedRequest {
        principal: entity(subject.0, subject.1),
        action: entity(action.0, action.1),
        resource: entity(resource.0, resource.1),
        context_form: Some(ContextForm::ContextJson(
            context.to_string().into_bytes().into(),
        )),
        ..v1::IsAuthorizedRequest::default()
    };
    let native = client
        .is_authorized(request)
        .await
        .expect("an answer")
        .into_inner();
    let name = match action.0 {
        "Action" => action.1.to_owned(),
        namespaced => format!("{namespaced}::\"{}\"", action.1),
    };
    let question = json!({
        "subject": {"type": subject.0, "id": subject.1}, "action": {"name": name},
        "resource": {"type": resource.0, "id": resource.1}, "context": context,
    });
    let reply = post(server, EVALUATION, &question).await;
    assert_eq!(reply.status, 200, "{question}: {reply:?}");
    let json = reply.json();
    let reasons = json["context"]["reasons"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let said: Vec<String> = reasons
        .iter()
        .map(|it| format!("REASON_CODE_{}", it["code"].as_str().expect("a code")))
        .collect();
    let is_allow = json["decision"].as_bool().expect("a boolean");
    [
        (native.decision() == Decision::Allow, codes(&native.reasons)),
        (is_allow, said),
    ]
}

#[tokio::test]
async fn authzen_and_is_authorized_agree_with_their_reasons() {
    let server = certified("").await;
    let mut client = server.client().await;
    let mut dice = Dice(7);
    let subjects = [
        ("user", "alice"),
        ("user", "bob"),
        ("user", "eve"),
        ("record", "record-1"),
        ("robot", "x"),
    ];
    let actions = [
        ("Action", "read"),
        ("Action", "write"),
        ("Action", "delete"),
        ("Action", "fly"),
        ("Mcp::Action", "list_tools"),
    ];
    let resources = [
        ("record", "record-1"),
        ("record", "record-2"),
        ("record", "record-3"),
        ("user", "bob"),
    ];
    let (mut allowed, mut denied) = (0, 0);
    for round in 0..2_000 {
        let parts = [
            *dice.pick(&subjects),
            *dice.pick(&actions),
            *dice.pick(&resources),
        ];
        // What an action does not declare, AuthZEN leaves out and Cedar refuses: sent to neither here.
        let contexts: &[Json] = match parts[1].1 {
            "delete" => &[
                json!({}),
                json!({"soft": true}),
                json!({"soft": false}),
                json!({"soft": "x"}),
            ],
            "read" | "write" => &[json!({}), json!({"time": "now"}), json!({"time": 7})],
            _ => &[json!({})],
        };
        let context = dice.pick(contexts);
        let [native, door] = both(&mut client, &server, parts, context).await;
        assert_eq!(native, door, "round {round}: {parts:?} {context}");
        match native.0 {
            true => allowed += 1,
            false => denied += 1,
        }
    }
    assert!(
        allowed > 20 && denied > 20,
        "{allowed} allowed, {denied} denied"
    );
}

fn toolhive(subject: &str, operation: &str, resource: &str, args: &Json) -> Json {
    let (feature, verb) = operation["mcp:".len()..]
        .split_once(':')
        .expect("two words");
    let id = resource.splitn(5, ':').nth(4).expect("a name");
    json!({
        "principal": {"sub": subject, "groups": ["x"]}, "operation": operation, "resource": resource,
        "context": {"mcp": {"feature": feature, "operation": verb, "resource_id": id, "args": args}},
    })
}

fn native(subject: &str, server: &str, kind: Kind) -> v1::AuthorizeRequest {
    let claims = [("sub", subject)].map(|(name, text)| {
        let kind = prost_types::value::Kind::StringValue(text.to_owned());
        (name.to_owned(), prost_types::Value { kind: Some(kind) })
    });
    v1::AuthorizeRequest {
        call_context: Some(Box::new(v1::CallContext {
            subject: Some(v1::Subject {
                entity: entity("User", subject),
                identity: Some(v1::Identity {
                    method: "jwt".into(),
                    verified: true,
                }),
                claims: Some(prost_types::Struct {
                    fields: claims.into_iter().collect(),
                }),
            }),
            operation: Some(v1::Operation {
                server: server.into(),
                kind: Some(kind),
                ..v1::Operation::default()
            }),
            ..v1::CallContext::default()
        })),
        ..v1::AuthorizeRequest::default()
    }
}

#[tokio::test]
async fn toolhive_and_authorize_agree() {
    let server = start("").await;
    let mut client = server.client().await;
    let mut dice = Dice(11);
    let (mut allowed, mut denied) = (0, 0);
    for round in 0..1_500 {
        let subject = *dice.pick(&["ana", "bob", "nobody"]);
        let at = *dice.pick(&["git", "git", "svn"]);
        let args = dice
            .pick(&[json!({}), json!({"n": 3}), json!({"n": {"deep": ["x"]}})])
            .clone();
        let tool = *dice.pick(&["log", "commit", "purge", "unheard-of"]);
        let (operation, name, kind) = match dice.pick(&[0, 0, 0, 1, 2, 3, 4, 5]) {
            0 => {
                let input =
                    v1::call_tool::Input::ArgumentsJson(args.to_string().into_bytes().into());
                let call = v1::CallTool {
                    tool: tool.into(),
                    input: Some(input),
                    ..v1::CallTool::default()
                };
                ("mcp:tool:call", tool, Kind::CallTool(call))
            }
            1 => ("mcp:tool:list", "", Kind::ListTools(v1::ListTools {})),
            2 => ("mcp:prompt:list", "", Kind::ListPrompts(v1::ListPrompts {})),
            3 => (
                "mcp:resource:list",
                "",
                Kind::ListResources(v1::ListResources {}),
            ),
            4 => {
                let uri = "file:///srv/a".to_owned();
                (
                    "mcp:resource:read",
                    "file:///srv/a",
                    Kind::ReadResource(v1::ReadResource { uri }),
                )
            }
            _ => {
                let get = v1::GetPrompt {
                    name: "hello".into(),
                    ..v1::GetPrompt::default()
                };
                ("mcp:prompt:get", "hello", Kind::GetPrompt(get))
            }
        };
        let feature = operation.split(':').nth(1).expect("a feature");
        let resource = format!("mrn:mcp:{at}:{feature}:{name}");
        let args = if operation == "mcp:tool:call" {
            args
        } else {
            json!({})
        };
        let question = toolhive(subject, operation, &resource, &args);
        let reply = post(&server, TOOLHIVE, &question).await;
        assert_eq!(reply.status, 200, "{question}: {reply:?}");
        let answer = client
            .authorize(native(subject, at, kind))
            .await
            .expect("an answer");
        let is_allow = answer.into_inner().decision() == Decision::Allow;
        assert_eq!(
            reply.json(),
            json!({"allow": is_allow}),
            "round {round}: {question}"
        );
        match is_allow {
            true => allowed += 1,
            false => denied += 1,
        }
    }
    assert!(
        allowed > 20 && denied > 20,
        "{allowed} allowed, {denied} denied"
    );
}

#[tokio::test]
async fn toolhive_hears_no_for_what_is_not_known_and_an_error_for_what_cannot_be_read() {
    let server = start("").await;
    let mut question = toolhive("ana", "mcp:tool:call", "mrn:mcp:git:tool:log", &json!({}));
    assert_eq!(
        post(&server, TOOLHIVE, &question).await.json(),
        json!({"allow": true})
    );
    let probe = format!("{TOOLHIVE}?probe=true");
    assert_eq!(
        post(&server, &probe, &question).await.json(),
        json!({"allow": true})
    );
    for operation in ["mcp::list", "mcp:tool:delete", "sampling:create"] {
        question["operation"] = json!(operation);
        let reply = post(&server, TOOLHIVE, &question).await;
        assert_eq!(
            (reply.status, reply.json()),
            (200, json!({"allow": false})),
            "{operation}"
        );
    }
    question["operation"] = json!("mcp:tool:call");
    question["context"]["mcp"]["resource_id"] = json!("purge");
    let reply = post(&server, TOOLHIVE, &question).await;
    assert_eq!(reply.status, 400);
    assert!(
        reply
            .message()
            .starts_with("`context.mcp.resource_id` says something else")
    );
}

/// The lines of the decision log, without what differs from one decision to the next.
fn decisions(log: &str) -> Vec<Json> {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Json>(line).ok());
    lines
        .filter(|line| line["target"] == "callgate::decision")
        .map(|mut line| {
            let fields = line.as_object_mut().expect("an object");
            for volatile in ["timestamp", "took_us", "decision_id", "adapter"] {
                assert!(fields.remove(volatile).is_some(), "{volatile}: {fields:?}");
            }
            line
        })
        .collect()
}

#[test]
fn what_is_on_record_differs_in_nothing_but_the_door() {
    let bundle = Bundle::small();
    bundle.file("callgate.toml", "[telemetry]\ndecision_log = \"all\"\n");
    let server = Server::start(&bundle, &[]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let address = server.http_target().parse().expect("an address");
    let json = [("content-type", "application/json")];
    let mut asked = 0;
    runtime.block_on(async {
        let target = format!("http://{}", server.target());
        let channel = Endpoint::from_shared(target)
            .expect("an endpoint")
            .connect()
            .await;
        let mut client = AuthorizationClient::new(channel.expect("a connection"));
        for subject in ["alice", "bob"] {
            for tool in [
                "list_notes",
                "add_note",
                "drop_notes",
                "merge_notes",
                "unheard-of",
            ] {
                let call = v1::CallTool {
                    tool: tool.into(),
                    ..v1::CallTool::default()
                };
                let request = native(subject, "notes", Kind::CallTool(call));
                client.authorize(request).await.expect("an answer");
                let resource = format!("mrn:mcp:notes:tool:{tool}");
                let question =
                    toolhive(subject, "mcp:tool:call", &resource, &json!({})).to_string();
                let reply = send(address, "POST", TOOLHIVE, &json, &question).await;
                assert_eq!(reply.status, 200);
                asked += 1;

                let request = v1::IsAuthorizedRequest {
                    principal: entity("Mcp::User", subject),
                    action: entity("Mcp::Action", "call_read"),
                    resource: entity("Mcp::Tool", tool),
                    ..v1::IsAuthorizedRequest::default()
                };
                client.is_authorized(request).await.expect("an answer");
                let question = json!({
                    "subject": {"type": "Mcp::User", "id": subject},
                    "action": {"name": "Mcp::Action::\"call_read\""},
                    "resource": {"type": "Mcp::Tool", "id": tool},
                })
                .to_string();
                let reply = send(address, "POST", EVALUATION, &json, &question).await;
                assert_eq!(reply.status, 200);
                asked += 1;
            }
        }
    });
    let (ended, log) = server.stop();
    assert!(ended.success(), "{log}");
    let decisions = decisions(&log);
    assert_eq!(decisions.len(), 2 * asked, "{log}");
    for pair in decisions.chunks(2) {
        assert_eq!(pair[0], pair[1]);
    }
    assert!(decisions.iter().any(|line| line["decision"] == "allow"));
    assert!(decisions.iter().any(|line| line["decision"] == "deny"));
}

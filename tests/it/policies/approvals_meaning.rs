//! An approval means what the person read: it fits one call and no other, to the last digit, and says what decided.

use callgate::proto::v1;
use callgate::proto::v1::{ApprovalStatus, ReasonCode};
use tonic::Code;

use crate::control::{World, actor, assert_refused, by, person};
use crate::support::in_process::{call_for, context, entity};

/// `helper` commits for `sam`, with these arguments.
fn question(arguments: &str) -> v1::AuthorizeRequest {
    let mut request = call_for("commit", "sam");
    let call = context(&mut request);
    call.subject = Some(v1::Subject {
        entity: entity("Agent", "helper"),
        identity: actor("Agent", "helper").unwrap().identity,
        claims: None,
    });
    let operation = call.operation.get_or_insert_default();
    operation.kind = Some(v1::operation::Kind::CallTool(v1::CallTool {
        tool: "commit".into(),
        input: Some(v1::call_tool::Input::ArgumentsJson(
            arguments.to_owned().into_bytes().into(),
        )),
        ..Default::default()
    }));
    request
}

fn operation(request: &mut v1::AuthorizeRequest) -> &mut v1::Operation {
    context(request).operation.get_or_insert_default()
}

async fn decided(
    world: &World,
    question: &v1::AuthorizeRequest,
    id: &str,
) -> v1::AuthorizeResponse {
    let mut question = question.clone();
    if !id.is_empty() {
        context(&mut question).approval_ids = vec![id.to_owned()];
    }
    let mut asking = world.server.client().await;
    let answer = asking.authorize(by("edge", question)).await;
    answer.expect("an answer").into_inner()
}

async fn requested(world: &mut World, who: &str, question: &v1::AuthorizeRequest) -> v1::Approval {
    let request = v1::RequestApprovalRequest {
        call_context: question.call_context.as_deref().cloned(),
        ..Default::default()
    };
    let answer = world.client.request_approval(by(who, request)).await;
    answer.expect("an approval").into_inner().approval.unwrap()
}

async fn approved(world: &mut World, approval: &v1::Approval) {
    let yes = v1::ApproveCallRequest {
        actor: person("sam"),
        id: approval.id.clone(),
        digest: approval.digest.clone(),
        uses: 9,
        ..Default::default()
    };
    let answer = world.client.approve_call(by("edge", yes)).await;
    answer.expect("approved");
}

/// Calls of which no two are the same, each with what is told of it.
fn calls() -> Vec<(&'static str, v1::AuthorizeRequest)> {
    let mut calls: Vec<(&str, v1::AuthorizeRequest)> = [
        r#"{"n": 1122334455667788990}"#,
        r#"{"n": 1122334455667788991}"#,
        r#"{"n": -1122334455667788990}"#,
        r#"{"n": -1122334455667788991}"#,
        r#"{"n": 9007199254740992}"#,
        r#"{"n": 9007199254740993}"#,
        r#"{"n": 9223372036854775806}"#,
        r#"{"n": 9223372036854775807}"#,
        r#"{"n": [{"deep": 1122334455667788990}]}"#,
        r#"{"n": [{"deep": 1122334455667788991}]}"#,
        r#"{"n": 1}"#,
        r#"{"n": "1"}"#,
        r#"{"n": 1.5}"#,
        r#"{"n": null}"#,
        "{}",
    ]
    .map(|arguments| (arguments, question(arguments)))
    .into();
    for responses in [
        r#"{"q": {"action": "accept", "content": {"n": 1122334455667788990}}}"#,
        r#"{"q": {"action": "accept", "content": {"n": 1122334455667788991}}}"#,
        r#"{"q": {"action": "accept", "content": {"card": "1"}}}"#,
        r#"{"q": {"action": "accept"}}"#,
        r#"{"q": {"action": "decline"}}"#,
        r#"{"q": {"action": "cancel"}}"#,
        r#"{"other": {"action": "decline"}}"#,
        r#"{"q": {"model": "m", "role": "assistant", "content": {"type": "text", "text": "yes"}}}"#,
        r#"{"q": {"model": "m", "role": "assistant", "content": {"type": "text", "text": "no"}}}"#,
        r#"{"q": {"roots": [{"uri": "file:///srv"}]}}"#,
    ] {
        let mut request = question(r#"{"n": 1}"#);
        operation(&mut request).input_responses_json = responses.to_owned().into_bytes().into();
        calls.push((responses, request));
    }
    for state in ["s", "S", "s\u{200b}"] {
        let mut request = question(r#"{"n": 1}"#);
        operation(&mut request).request_state = state.to_owned();
        calls.push((state, request));
    }
    let mut of_ui = question(r#"{"n": 1}"#);
    operation(&mut of_ui).initiator = v1::Initiator::Ui.into();
    calls.push(("of a user interface", of_ui));
    calls
}

#[tokio::test]
async fn an_approval_is_for_one_call_to_the_last_digit() {
    let mut world = World::start().await;
    let calls = calls();
    let mut ids = Vec::new();
    for (name, call) in &calls {
        let denied = decided(&world, call, "").await;
        assert_eq!(
            denied.reasons[0].code(),
            ReasonCode::ApprovalRequired,
            "{name}"
        );
        let pending = requested(&mut world, "edge", call).await;
        assert!(!ids.contains(&pending.id), "{name} is a call of its own");
        approved(&mut world, &pending).await;
        ids.push(pending.id);
    }
    for (id, (approved, _)) in ids.iter().zip(&calls) {
        for (made, call) in &calls {
            let answer = decided(&world, call, id).await;
            if made == approved {
                assert_eq!(answer.decision(), v1::Decision::Allow, "{made}");
            } else {
                let code = answer.reasons[0].code();
                assert_eq!(
                    code,
                    ReasonCode::ApprovalInvalid,
                    "{approved} approved, {made} made"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_goes_back_is_told_as_it_is_approved() {
    let mut world = World::start().await;
    let mut call = question(r#"{"z": 1.0, "a": 1122334455667788991}"#);
    let back = operation(&mut call);
    back.input_responses_json = br#"{"q": {"content": {"n": 1e3}, "action": "accept"}}"#
        .as_slice()
        .into();
    back.request_state = "opaque".into();
    back.initiator = v1::Initiator::Ui.into();
    let pending = requested(&mut world, "edge", &call).await;
    assert_eq!(
        &*pending.arguments_json,
        br#"{"a":1122334455667788991,"z":1}"#
    );
    assert_eq!(
        &*pending.input_responses_json,
        br#"{"q":{"action":"accept","content":{"n":1000}}}"#
    );
    assert_eq!(pending.request_state, "opaque");
    assert_eq!(pending.initiator(), v1::Initiator::Ui);
    assert_eq!(pending.status(), ApprovalStatus::Pending);
    // Written otherwise, it is the same call.
    let mut again = call.clone();
    operation(&mut again).input_responses_json =
        br#"{"q":{"action":"\u0061ccept","content":{"n":1000}}}"#
            .as_slice()
            .into();
    assert_eq!(requested(&mut world, "edge", &again).await.id, pending.id);
}

#[tokio::test]
async fn what_decides_is_told_and_whose_policy_it_is_to_those_who_may_know() {
    let mut world = World::start().await;
    let mut call = question(r#"{"n": 3, "a": 1}"#);
    context(&mut call).workflow = Some(v1::Workflow {
        purpose: "release\u{202e}".into(),
        ..Default::default()
    });
    let told = requested(&mut world, "edge", &call)
        .await
        .circumstances
        .unwrap();
    let policy = |id: &str| v1::AskingPolicy {
        id: id.to_owned(),
        ..Default::default()
    };
    let expected = v1::ApprovalCircumstances {
        policies: vec![policy("write-with-a-yes")],
        purpose: "release\u{202e}".into(),
        access: v1::AccessLevel::Write.into(),
        argument_order: vec!["a".into(), "n".into()],
        ..Default::default()
    };
    assert_eq!(told, expected);
    let told = requested(&mut world, "blind", &call)
        .await
        .circumstances
        .unwrap();
    assert_eq!(told.policies, [policy("")]);
    let all = v1::ListApprovalsRequest::default();
    let listed = world.client.list_approvals(by("blind", all)).await.unwrap();
    let listed = listed
        .into_inner()
        .approvals
        .remove(0)
        .circumstances
        .unwrap();
    assert_eq!(listed.policies, [policy("")]);
}

#[tokio::test]
async fn the_order_of_the_pinned_schema_is_that_of_the_arguments() {
    let mut world = World::start().await;
    let definition = r#"{"inputSchema": {"type": "object", "properties":
        {"zeal": {}, "where": {"type": "string"}, "how": {}, "also": {}}}, "name": "ordered"}"#;
    let register = v1::RegisterToolRequest {
        actor: person("sec"),
        server: "git".into(),
        tool: "ordered".into(),
        access: v1::AccessLevel::Write.into(),
        sensitivity: "internal".into(),
        owner: "ana".into(),
        target_arguments: vec![v1::TargetArgument {
            argument: "where".to_owned(),
            optional: true,
            ..v1::TargetArgument::default()
        }],
        definition_json: definition.to_owned().into_bytes().into(),
        ..Default::default()
    };
    world
        .client
        .register_tool(by("edge", register))
        .await
        .expect("registered");
    let mut call = question(r#"{"also": 1, "how": 2, "where": "/srv/a", "zeal": 3}"#);
    if let Some(v1::operation::Kind::CallTool(tool)) = &mut operation(&mut call).kind {
        tool.tool = "ordered".into();
    }
    let told = requested(&mut world, "edge", &call)
        .await
        .circumstances
        .unwrap();
    assert_eq!(told.argument_order, ["where", "zeal", "how", "also"]);
    assert_eq!(told.targets.len(), 1, "{told:?}");
    assert!(told.targets[0].id.contains("/srv/a"), "{told:?}");
}

#[tokio::test]
async fn what_goes_to_a_server_does_not_come_from_it() {
    let world = World::start().await;
    let mut call = question("{}");
    operation(&mut call).request_state = "s".into();
    operation(&mut call).initiator = v1::Initiator::Server.into();
    let mut asking = world.server.client().await;
    let answer = asking.authorize(by("edge", call)).await;
    assert_refused(
        answer,
        Code::InvalidArgument,
        "`call_context.operation.request_state`",
    );
}

//! The five RPCs: what they answer, and what they refuse.

use callgate::proto::v1;
use callgate::proto::v1::authorize_stream_response::Outcome;
use callgate::proto::v1::is_authorized_request::ContextForm;
use callgate::proto::v1::operation::Kind;
use callgate::proto::v1::{Decision, ReasonCode};
use tonic::Code;

use crate::serving::{call, call_for, context, entity, start};

fn filter(tools: &[&str]) -> v1::FilterToolsRequest {
    v1::FilterToolsRequest {
        call_context: call("log").call_context,
        server: "git".into(),
        tools: tools.iter().map(ToString::to_string).collect(),
        at_least_revision: 0,
    }
}

fn question(action: &str) -> v1::IsAuthorizedRequest {
    v1::IsAuthorizedRequest {
        principal: entity("Mcp::Agent", "coder"),
        action: entity("Mcp::Action", action),
        resource: entity("Mcp::Server", "git"),
        context_form: Some(ContextForm::ContextJson(
            br#"{
                "initiator": "client",
                "identity": {"verified": true, "method": "test", "asserted_groups": [], "asserted_attributes": []},
                "environment": {"now": "2026-01-01", "gateway": {"type": "Mcp::Gateway", "id": "edge"}}
            }"#
            .as_slice()
            .into(),
        )),
        at_least_revision: 0,
        explain: true,
    }
}

#[tokio::test]
async fn authorize_answers_with_reasons_policies_and_obligations() {
    let server = start("").await;
    let mut client = server.client().await;

    let allowed = client.authorize(call("log")).await.expect("an answer").into_inner();
    assert_eq!((allowed.decision(), allowed.revision), (Decision::Allow, 1));
    assert_eq!(uuid::Uuid::parse_str(&allowed.decision_id).expect("a uuid").get_version_num(), 7);
    assert_eq!(allowed.determining_policies.len(), 1);
    assert_eq!(allowed.determining_policies[0].id, "read");
    assert_eq!(allowed.determining_policies[0].owner, "security");
    assert_eq!(allowed.determining_policies[0].controls, ["OWASP:ASI02", "NIST-CSF:PR.AA-05"]);
    assert_eq!(allowed.obligations[0].id, "log:full");
    assert!(allowed.reasons.is_empty() && allowed.explanation.is_none());

    let denied = client.authorize(call("purge")).await.expect("an answer").into_inner();
    assert_eq!(denied.decision(), Decision::Deny);
    assert_eq!(denied.reasons[0].code(), ReasonCode::Forbidden);
    assert_eq!(denied.reasons[0].message, "history is kept");
    assert_eq!(denied.reasons[0].policy_ids, ["never-purge"]);

    let delegated = client.authorize(call_for("commit", "bob")).await.expect("an answer").into_inner();
    assert_eq!(delegated.decision(), Decision::Deny);
    assert_eq!(delegated.reasons[0].code(), ReasonCode::DelegatorDenied);
    assert_eq!(delegated.reasons[0].principal, entity("Mcp::User", "bob"));
    let for_ana = client.authorize(call_for("commit", "ana")).await.expect("an answer").into_inner();
    assert_eq!(for_ana.decision(), Decision::Allow);
}

#[tokio::test]
async fn an_explanation_tells_how_everyone_fared() {
    let server = start("").await;
    let request = v1::AuthorizeRequest { explain: true, ..call_for("commit", "bob") };
    let answer = server.client().await.authorize(request).await.expect("an answer").into_inner();
    let explanation = answer.explanation.expect("an explanation");
    let fared: Vec<_> = explanation
        .principals
        .iter()
        .map(|it| (it.principal.clone(), it.decision(), it.permits.clone(), it.policies_total))
        .collect();
    assert_eq!(
        fared,
        [
            (entity("Mcp::Agent", "coder"), Decision::Allow, vec!["write-by-developers".to_owned()], 4),
            (entity("Mcp::User", "bob"), Decision::Deny, vec![], 4),
        ]
    );
    assert_eq!(explanation.principals[0].resource, entity("Mcp::Tool", "git/commit"));
}

#[tokio::test]
async fn a_batch_is_answered_in_order_and_at_one_revision() {
    let server = start("").await;
    let requests: Vec<_> = (0..50).map(|n| call(if n % 3 == 0 { "purge" } else { "log" })).collect();
    let batch = v1::AuthorizeBatchRequest { requests };
    let answer = server.client().await.authorize_batch(batch).await.expect("an answer").into_inner();
    assert_eq!(answer.responses.len(), 50);
    for (n, response) in answer.responses.iter().enumerate() {
        let wanted = if n % 3 == 0 { Decision::Deny } else { Decision::Allow };
        assert_eq!((response.decision(), response.revision), (wanted, 1), "request {n}");
    }
    let empty = server.client().await.authorize_batch(v1::AuthorizeBatchRequest::default()).await;
    assert!(empty.expect("an answer").into_inner().responses.is_empty());
}

#[tokio::test]
async fn filter_tools_keeps_the_order_and_says_why_others_are_hidden() {
    let server = start("").await;
    let request = filter(&["purge", "commit", "unheard-of", "log"]);
    let answer = server.client().await.filter_tools(request).await.expect("an answer").into_inner();
    assert_eq!(answer.tools, ["commit", "log"]);
    let hidden: Vec<_> = answer.hidden.iter().map(|it| (it.tool.as_str(), it.code())).collect();
    assert_eq!(hidden, [("purge", ReasonCode::Forbidden), ("unheard-of", ReasonCode::ToolUnknown)]);
    assert_eq!(answer.revision, 1);
}

#[tokio::test]
async fn is_authorized_asks_cedars_own_question() {
    let server = start("").await;
    let mut client = server.client().await;
    let answer = client.is_authorized(question("list_tools")).await.expect("an answer").into_inner();
    assert_eq!(answer.decision(), Decision::Allow);
    assert_eq!(answer.determining_policies[0].id, "list");
    assert_eq!(answer.explanation.expect("an explanation").principals.len(), 1);

    let mut missing = question("list_tools");
    missing.context_form = Some(ContextForm::ContextJson(b"{}".as_slice().into()));
    let answer = client.is_authorized(missing).await.expect("an answer").into_inner();
    assert_eq!(answer.decision(), Decision::Deny);
    assert_eq!(answer.reasons[0].code(), ReasonCode::ContextMissing);
}

#[tokio::test]
async fn a_stream_answers_in_order_and_survives_what_it_cannot_use() {
    let server = start("").await;
    let requests = (0..200).map(|n| v1::AuthorizeStreamRequest {
        correlation_id: format!("c{n}"),
        request: match n % 4 {
            0 => Some(call("log")),
            1 => Some(call("purge")),
            2 => Some(call("")),
            _ => None,
        },
    });
    let requests = tokio_stream::iter(requests.collect::<Vec<_>>());
    let mut answers = server.client().await.authorize_stream(requests).await.expect("a stream").into_inner();
    for n in 0..200 {
        let answer = answers.message().await.expect("no error").expect("an answer");
        assert_eq!(answer.correlation_id, format!("c{n}"));
        match (n % 4, answer.outcome.expect("an outcome")) {
            (0, Outcome::Response(response)) => assert_eq!(response.decision(), Decision::Allow),
            (1, Outcome::Response(response)) => assert_eq!(response.decision(), Decision::Deny),
            (2, Outcome::Error(error)) => {
                assert_eq!(error.code, Code::InvalidArgument as i32);
                assert_eq!(error.message, "`request.call_context.operation.call_tool.tool` is required");
            }
            (_, Outcome::Error(error)) => {
                assert_eq!(error.message, "`request.call_context` is required");
            }
            (_, other) => panic!("{n}: {other:?}"),
        }
    }
    assert!(answers.message().await.expect("a clean end").is_none());
}

/// Changes a good request and names the field that is then refused.
type Spoil = (fn(&mut v1::CallContext), &'static str);

fn call_tool(context: &mut v1::CallContext) -> &mut v1::CallTool {
    match context.operation.as_mut().and_then(|operation| operation.kind.as_mut()) {
        Some(Kind::CallTool(tool)) => tool,
        other => panic!("{other:?}"),
    }
}

fn set_json(context: &mut v1::CallContext, text: &'static str) {
    call_tool(context).input = Some(v1::call_tool::Input::ArgumentsJson(text.as_bytes().into()));
}

fn set_number(context: &mut v1::CallContext, number: f64) {
    let value = prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(number)) };
    let arguments = prost_types::Struct { fields: [("n".to_owned(), value)].into() };
    call_tool(context).input = Some(v1::call_tool::Input::Arguments(arguments));
}

fn set_kind(context: &mut v1::CallContext, kind: Kind) {
    context.operation.get_or_insert_default().kind = Some(kind);
}

const SPOILS: &[Spoil] = &[
    (|it| it.subject = None, "`call_context.subject` is required"),
    (|it| it.subject.as_mut().unwrap().entity = None, "`call_context.subject.entity` is required"),
    (|it| it.subject.as_mut().unwrap().entity = entity("", "x"), "`call_context.subject.entity.type` is required"),
    (|it| it.subject.as_mut().unwrap().entity = entity("Agent", ""), "`call_context.subject.entity.id` is required"),
    (
        |it| it.subject.as_mut().unwrap().entity = entity("no type", "x"),
        "`call_context.subject.entity.type` `no type` is not an entity type",
    ),
    (
        |it| it.subject.as_mut().unwrap().entity = entity("Agent", "a\u{0}b"),
        "`call_context.subject.entity.id` holds a control character",
    ),
    (
        |it| it.subject.as_mut().unwrap().entity = entity("Agent", &"x".repeat(1_025)),
        "`call_context.subject.entity.id` has 1025 bytes, but at most 1024 are allowed",
    ),
    (
        |it| it.subject.as_mut().unwrap().identity.as_mut().unwrap().method = "a\nb".into(),
        "`call_context.subject.identity.method` holds a control character",
    ),
    (
        |it| {
            let nothing = prost_types::Value { kind: None };
            it.subject.as_mut().unwrap().claims =
                Some(prost_types::Struct { fields: [("groups".to_owned(), nothing)].into() });
        },
        "`call_context.subject.claims` holds a value without a kind",
    ),
    (|it| it.delegation = Some(v1::Delegation::default()), "`call_context.delegation.root` is required"),
    (
        |it| {
            it.delegation = Some(v1::Delegation {
                root: entity("User", "ana"),
                actors: vec![entity("Agent", "a").unwrap(), entity("Agent", "").unwrap()],
                ..v1::Delegation::default()
            });
        },
        "`call_context.delegation.actors[1].id` is required",
    ),
    (
        |it| {
            it.delegation = Some(v1::Delegation {
                root: entity("User", "ana"),
                actors: vec![entity("Agent", "a").unwrap(); 17],
                ..v1::Delegation::default()
            });
        },
        "`call_context.delegation.actors` has 17 items, but at most 16 are allowed",
    ),
    (
        |it| {
            it.delegation = Some(v1::Delegation {
                root: entity("User", "ana"),
                scopes: vec!["a".into(), String::new()],
                ..v1::Delegation::default()
            });
        },
        "`call_context.delegation.scopes[1]` is required",
    ),
    (
        |it| {
            it.delegation = Some(v1::Delegation {
                root: entity("User", "ana"),
                expires_at: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
                ..v1::Delegation::default()
            });
        },
        "`call_context.delegation.expires_at` is not a time",
    ),
    (|it| it.operation = None, "`call_context.operation` is required"),
    (|it| it.operation.as_mut().unwrap().kind = None, "`call_context.operation.kind` is required"),
    (|it| it.operation.as_mut().unwrap().server.clear(), "`call_context.operation.server` is required"),
    (
        |it| it.operation.as_mut().unwrap().initiator = 77,
        "`call_context.operation.initiator` 77 is not a value that is known here",
    ),
    (|it| call_tool(it).tool.clear(), "`call_context.operation.call_tool.tool` is required"),
    (
        |it| call_tool(it).definition_digest = "md5:1".into(),
        "`call_context.operation.call_tool.definition_digest` `md5:1` is not `sha256:`",
    ),
    (
        |it| set_json(it, "{\"a\": 1, \"a\": 2}"),
        "`call_context.operation.call_tool.arguments_json` is not JSON that can be used: the key `a` appears twice",
    ),
    (
        |it| set_json(it, "{\"a\": 9223372036854775808}"),
        "`call_context.operation.call_tool.arguments_json` is not JSON that can be used: the whole number `9223372036854775808` does not fit",
    ),
    (
        |it| set_json(it, "{\"a\": 123456789012345678901234567890}"),
        "`call_context.operation.call_tool.arguments_json` is not JSON that can be used: the whole number `123456789012345678901234567890`",
    ),
    (|it| set_json(it, "[1]"), "`call_context.operation.call_tool.arguments_json` is not JSON that can be used: it must be an object"),
    (|it| set_json(it, "{"), "`call_context.operation.call_tool.arguments_json` is not JSON that can be used: EOF"),
    (|it| set_number(it, f64::NAN), "`call_context.operation.call_tool.arguments` holds a number that is not finite"),
    (|it| set_number(it, 1e300), "`call_context.operation.call_tool.arguments` holds a whole number beyond 2^53"),
    (
        |it| set_kind(it, Kind::ReadResource(v1::ReadResource::default())),
        "`call_context.operation.read_resource.uri` is required",
    ),
    (|it| set_kind(it, Kind::GetPrompt(v1::GetPrompt::default())), "`call_context.operation.get_prompt.name` is required"),
    (|it| set_kind(it, Kind::Complete(v1::Complete::default())), "`call_context.operation.complete.reference` is required"),
    (|it| set_kind(it, Kind::Subscribe(v1::Subscribe::default())), "`call_context.operation.subscribe.uri` is required"),
    (
        |it| set_kind(it, Kind::Sample(v1::Sample { max_tokens: -1, ..v1::Sample::default() })),
        "`call_context.operation.sample.max_tokens` is -1, but must not be negative",
    ),
    (
        |it| set_kind(it, Kind::Sample(v1::Sample { include_context: "some".into(), ..v1::Sample::default() })),
        "`call_context.operation.sample.include_context` `some` is not `none`",
    ),
    (
        |it| set_kind(it, Kind::ElicitForm(v1::ElicitForm::default())),
        "`call_context.operation.elicit_form.requested_schema_json` is required",
    ),
    (|it| set_kind(it, Kind::ElicitUrl(v1::ElicitUrl::default())), "`call_context.operation.elicit_url.url` is required"),
    (
        |it| {
            set_kind(it, Kind::ListRoots(v1::ListRoots {}));
            it.operation.as_mut().unwrap().initiator = v1::Initiator::Client.into();
        },
        "`call_context.operation.initiator` says that the call is not the server's",
    ),
    (
        |it| set_kind(it, Kind::ListRoots(v1::ListRoots {})),
        "`call_context.operation.server` names another server than the subject",
    ),
    (
        |it| it.workflow = Some(v1::Workflow { session_id: "\u{7f}".into(), ..v1::Workflow::default() }),
        "`call_context.workflow.session_id` holds a control character",
    ),
    (
        |it| it.workflow = Some(v1::Workflow { purpose: "x".repeat(16_385), ..v1::Workflow::default() }),
        "`call_context.workflow.purpose` has 16385 bytes",
    ),
    (|it| it.approval_ids = vec!["x".into(); 257], "`call_context.approval_ids` has 257 items"),
    (
        |it| it.environment = Some(v1::Environment { source_address: "nowhere".into() }),
        "`call_context.environment.source_address` `nowhere` is not an IP address",
    ),
];

#[tokio::test]
async fn every_field_that_cannot_be_used_is_named() {
    let server = start("").await;
    let mut client = server.client().await;
    for (spoil, wanted) in SPOILS {
        let mut request = call("log");
        spoil(context(&mut request));
        let status = client.authorize(request.clone()).await.expect_err(wanted);
        assert_eq!(status.code(), Code::InvalidArgument, "{wanted}");
        assert!(status.message().starts_with(wanted), "{}\n  wanted {wanted}", status.message());

        let batch = v1::AuthorizeBatchRequest { requests: vec![call("log"), request] };
        let status = client.authorize_batch(batch).await.expect_err(wanted);
        let in_batch = wanted.replacen('`', "`requests[1].", 1);
        assert!(status.message().starts_with(&in_batch), "{}\n  wanted {in_batch}", status.message());
    }
    let answer = client.authorize(call("log")).await.expect("an answer").into_inner();
    assert_eq!(answer.decision(), Decision::Allow);
}

#[tokio::test]
async fn the_other_rpcs_name_their_fields_too() {
    let server = start("[limits]\nbatch = 2\ntools = 3\njson_depth = 4\n").await;
    let mut client = server.client().await;

    let batch = v1::AuthorizeBatchRequest { requests: vec![call("log"); 3] };
    let status = client.authorize_batch(batch).await.expect_err("too many");
    assert_eq!(status.message(), "`requests` has 3 items, but at most 2 are allowed");

    let nameless = v1::FilterToolsRequest { server: String::new(), ..filter(&[]) };
    let status = client.filter_tools(nameless).await.expect_err("no server");
    assert_eq!(status.message(), "`server` is required");
    let status = client.filter_tools(filter(&["a", ""])).await.expect_err("no name");
    assert_eq!(status.message(), "`tools[1]` is required");
    let status = client.filter_tools(filter(&["a"; 4])).await.expect_err("too many");
    assert_eq!(status.message(), "`tools` has 4 items, but at most 3 are allowed");
    let nobody = v1::FilterToolsRequest { call_context: None, ..filter(&[]) };
    let status = client.filter_tools(nobody).await.expect_err("nobody");
    assert_eq!(status.message(), "`call_context` is required");

    type SpoilQuestion = fn(&mut v1::IsAuthorizedRequest);
    let spoils: [(SpoilQuestion, &str); 7] = [
        (|it| it.principal = None, "`principal` is required"),
        (|it| it.action = None, "`action` is required"),
        (|it| it.resource = None, "`resource` is required"),
        (|it| it.resource = entity("::", "x"), "`resource.type` `::` is not an entity type"),
        (
            |it| it.context_form = Some(ContextForm::ContextJson(b"{\"a\":[[[[[]]]]]}".as_slice().into())),
            "`context_json` is not JSON that can be used: nested deeper than 4 levels",
        ),
        (
            |it| it.context_form = Some(ContextForm::ContextJson(b"{\"a\":null}".as_slice().into())),
            "`context_json` is not a Cedar context: ",
        ),
        (
            |it| {
                let value = prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(f64::INFINITY)) };
                let context = prost_types::Struct { fields: [("n".to_owned(), value)].into() };
                it.context_form = Some(ContextForm::Context(context));
            },
            "`context` holds a number that is not finite",
        ),
    ];
    for (spoil, wanted) in spoils {
        let mut request = question("list_tools");
        spoil(&mut request);
        let status = client.is_authorized(request).await.expect_err(wanted);
        assert_eq!(status.code(), Code::InvalidArgument, "{wanted}");
        assert!(status.message().starts_with(wanted), "{}\n  wanted {wanted}", status.message());
    }
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused() {
    let server = start("[limits]\nmessage_bytes = 4096\n").await;
    let mut request = call("log");
    context(&mut request).approval_ids = vec!["x".repeat(1_000); 5];
    let mut client = server.client().await;
    let status = client.authorize(request).await.expect_err("too large");
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert!(client.authorize(call("log")).await.is_ok());
}

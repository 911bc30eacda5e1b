//! Requests that cannot be used: the error names the field, and the next request is answered.

use callgate::proto::v1;
use callgate::proto::v1::Decision;
use callgate::proto::v1::is_authorized_request::ContextForm;
use callgate::proto::v1::operation::Kind;
use tonic::Code;

use crate::grpc::rpcs::{filter, question};
use crate::support::in_process::{call, context, entity, start};

/// Changes a good request and names the field that is then refused.
type Spoil = (fn(&mut v1::CallContext), &'static str);

fn call_tool(context: &mut v1::CallContext) -> &mut v1::CallTool {
    match context
        .operation
        .as_mut()
        .and_then(|operation| operation.kind.as_mut())
    {
        Some(Kind::CallTool(tool)) => tool,
        other => panic!("{other:?}"),
    }
}

fn set_json(context: &mut v1::CallContext, text: &'static str) {
    call_tool(context).input = Some(v1::call_tool::Input::ArgumentsJson(text.as_bytes().into()));
}

fn set_number(context: &mut v1::CallContext, number: f64) {
    let value = prost_types::Value {
        kind: Some(prost_types::value::Kind::NumberValue(number)),
    };
    let arguments = prost_types::Struct {
        fields: [("n".to_owned(), value)].into(),
    };
    call_tool(context).input = Some(v1::call_tool::Input::Arguments(arguments));
}

fn set_kind(context: &mut v1::CallContext, kind: Kind) {
    context.operation.get_or_insert_default().kind = Some(kind);
}

const SPOILS: &[Spoil] = &[
    (|it| it.subject = None, "`call_context.subject` is required"),
    (
        |it| it.subject.as_mut().unwrap().entity = None,
        "`call_context.subject.entity` is required",
    ),
    (
        |it| it.subject.as_mut().unwrap().entity = entity("", "x"),
        "`call_context.subject.entity.type` is required",
    ),
    (
        |it| it.subject.as_mut().unwrap().entity = entity("Agent", ""),
        "`call_context.subject.entity.id` is required",
    ),
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
        |it| {
            it.subject
                .as_mut()
                .unwrap()
                .identity
                .as_mut()
                .unwrap()
                .method = "a\nb".into()
        },
        "`call_context.subject.identity.method` holds a control character",
    ),
    (
        |it| {
            let nothing = prost_types::Value { kind: None };
            it.subject.as_mut().unwrap().claims = Some(prost_types::Struct {
                fields: [("groups".to_owned(), nothing)].into(),
            });
        },
        "`call_context.subject.claims` holds a value without a kind",
    ),
    (
        |it| it.delegation = Some(v1::Delegation::default()),
        "`call_context.delegation.root` is required",
    ),
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
                expires_at: Some(prost_types::Timestamp {
                    seconds: i64::MAX,
                    nanos: 0,
                }),
                ..v1::Delegation::default()
            });
        },
        "`call_context.delegation.expires_at` is not a time",
    ),
    (
        |it| it.operation = None,
        "`call_context.operation` is required",
    ),
    (
        |it| it.operation.as_mut().unwrap().kind = None,
        "`call_context.operation.kind` is required",
    ),
    (
        |it| it.operation.as_mut().unwrap().server.clear(),
        "`call_context.operation.server` is required",
    ),
    (
        |it| it.operation.as_mut().unwrap().initiator = 77,
        "`call_context.operation.initiator` 77 is not a value that is known here",
    ),
    (
        |it| call_tool(it).tool.clear(),
        "`call_context.operation.call_tool.tool` is required",
    ),
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
    (
        |it| set_json(it, "[1]"),
        "`call_context.operation.call_tool.arguments_json` is not JSON that can be used: it must be an object",
    ),
    (
        |it| set_json(it, "{"),
        "`call_context.operation.call_tool.arguments_json` is not JSON that can be used: EOF",
    ),
    (
        |it| set_number(it, f64::NAN),
        "`call_context.operation.call_tool.arguments` holds a number that is not finite",
    ),
    (
        |it| set_number(it, 1e300),
        "`call_context.operation.call_tool.arguments` holds a whole number beyond 2^53",
    ),
    (
        |it| set_kind(it, Kind::ReadResource(v1::ReadResource::default())),
        "`call_context.operation.read_resource.uri` is required",
    ),
    (
        |it| set_kind(it, Kind::GetPrompt(v1::GetPrompt::default())),
        "`call_context.operation.get_prompt.name` is required",
    ),
    (
        |it| set_kind(it, Kind::Complete(v1::Complete::default())),
        "`call_context.operation.complete.reference` is required",
    ),
    (
        |it| set_kind(it, Kind::Subscribe(v1::Subscribe::default())),
        "`call_context.operation.subscribe.uri` is required",
    ),
    (
        |it| {
            set_kind(
                it,
                Kind::Sample(v1::Sample {
                    max_tokens: -1,
                    ..v1::Sample::default()
                }),
            )
        },
        "`call_context.operation.sample.max_tokens` is -1, but must not be negative",
    ),
    (
        |it| {
            set_kind(
                it,
                Kind::Sample(v1::Sample {
                    include_context: "some".into(),
                    ..v1::Sample::default()
                }),
            )
        },
        "`call_context.operation.sample.include_context` `some` is not `none`",
    ),
    (
        |it| set_kind(it, Kind::ElicitForm(v1::ElicitForm::default())),
        "`call_context.operation.elicit_form.requested_schema_json` is required",
    ),
    (
        |it| set_kind(it, Kind::ElicitUrl(v1::ElicitUrl::default())),
        "`call_context.operation.elicit_url.url` is required",
    ),
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
        |it| {
            it.workflow = Some(v1::Workflow {
                session_id: "\u{7f}".into(),
                ..v1::Workflow::default()
            })
        },
        "`call_context.workflow.session_id` holds a control character",
    ),
    (
        |it| {
            it.workflow = Some(v1::Workflow {
                purpose: "x".repeat(16_385),
                ..v1::Workflow::default()
            })
        },
        "`call_context.workflow.purpose` has 16385 bytes",
    ),
    (
        |it| it.approval_ids = vec!["x".into(); 257],
        "`call_context.approval_ids` has 257 items",
    ),
    (
        |it| {
            it.environment = Some(v1::Environment {
                source_address: "nowhere".into(),
            })
        },
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
        assert!(
            status.message().starts_with(wanted),
            "{}\n  wanted {wanted}",
            status.message()
        );

        let batch = v1::AuthorizeBatchRequest {
            requests: vec![call("log"), request],
        };
        let status = client.authorize_batch(batch).await.expect_err(wanted);
        let in_batch = wanted.replacen('`', "`requests[1].", 1);
        assert!(
            status.message().starts_with(&in_batch),
            "{}\n  wanted {in_batch}",
            status.message()
        );
    }
    let answer = client
        .authorize(call("log"))
        .await
        .expect("an answer")
        .into_inner();
    assert_eq!(answer.decision(), Decision::Allow);
}

#[tokio::test]
async fn the_other_rpcs_name_their_fields_too() {
    let server = start("[limits]\nbatch = 2\ntools = 3\njson_depth = 4\n").await;
    let mut client = server.client().await;

    let batch = v1::AuthorizeBatchRequest {
        requests: vec![call("log"); 3],
    };
    let status = client.authorize_batch(batch).await.expect_err("too many");
    assert_eq!(
        status.message(),
        "`requests` has 3 items, but at most 2 are allowed"
    );

    let nameless = v1::FilterToolsRequest {
        server: String::new(),
        ..filter(&[])
    };
    let status = client.filter_tools(nameless).await.expect_err("no server");
    assert_eq!(status.message(), "`server` is required");
    let status = client
        .filter_tools(filter(&["a", ""]))
        .await
        .expect_err("no name");
    assert_eq!(status.message(), "`tools[1]` is required");
    let status = client
        .filter_tools(filter(&["a"; 4]))
        .await
        .expect_err("too many");
    assert_eq!(
        status.message(),
        "`tools` has 4 items, but at most 3 are allowed"
    );
    let nobody = v1::FilterToolsRequest {
        call_context: None,
        ..filter(&[])
    };
    let status = client.filter_tools(nobody).await.expect_err("nobody");
    assert_eq!(status.message(), "`call_context` is required");

    type SpoilQuestion = fn(&mut v1::IsAuthorizedRequest);
    let spoils: [(SpoilQuestion, &str); 15] = [
        (
            |it| it.principal = entity("Mcp::Agent", ""),
            "`principal.id` is required",
        ),
        (
            |it| it.principal = entity("", "support"),
            "`principal.type` is required",
        ),
        (
            |it| it.action = entity("Mcp::Action", ""),
            "`action.id` is required",
        ),
        (
            |it| it.action = entity("Mcp::Action", "  "),
            "`action.id` holds nothing but blanks",
        ),
        (
            |it| it.resource = entity("Mcp::Server", ""),
            "`resource.id` is required",
        ),
        (
            |it| it.resource = entity("Mcp::Server", "a\nb"),
            "`resource.id` holds a control character",
        ),
        (
            |it| it.resource = entity("Mcp::Server", "github\u{200b}"),
            "`resource.id` holds a character that nobody sees",
        ),
        (
            |it| it.resource = entity("\u{202e}", "github"),
            "`resource.type` `\\u{202e}` is not an entity type",
        ),
        (|it| it.principal = None, "`principal` is required"),
        (|it| it.action = None, "`action` is required"),
        (|it| it.resource = None, "`resource` is required"),
        (
            |it| it.resource = entity("::", "x"),
            "`resource.type` `::` is not an entity type",
        ),
        (
            |it| {
                it.context_form = Some(ContextForm::ContextJson(
                    b"{\"a\":[[[[[]]]]]}".as_slice().into(),
                ))
            },
            "`context_json` is not JSON that can be used: nested deeper than 4 levels",
        ),
        (
            |it| {
                it.context_form = Some(ContextForm::ContextJson(
                    b"{\"a\":[null]}".as_slice().into(),
                ))
            },
            "`context_json` is not a Cedar context: ",
        ),
        (
            |it| {
                let value = prost_types::Value {
                    kind: Some(prost_types::value::Kind::NumberValue(f64::INFINITY)),
                };
                let context = prost_types::Struct {
                    fields: [("n".to_owned(), value)].into(),
                };
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
        assert!(
            status.message().starts_with(wanted),
            "{}\n  wanted {wanted}",
            status.message()
        );
    }
}

#[tokio::test]
async fn a_number_that_cedar_does_not_have_is_denied_and_named() {
    let server = start("").await;
    let mut client = server.client().await;
    let value = prost_types::Value {
        kind: Some(prost_types::value::Kind::NumberValue(6.5)),
    };
    let fields = [("n".to_owned(), value)].into();
    for form in [
        ContextForm::ContextJson(b"{\"n\":6.5}".as_slice().into()),
        ContextForm::Context(prost_types::Struct { fields }),
    ] {
        let mut request = question("list_tools");
        request.context_form = Some(form);
        let answer = client.is_authorized(request).await.expect("an answer");
        let answer = answer.into_inner();
        assert_eq!(answer.decision(), Decision::Deny);
        let reason = &answer.reasons[0];
        assert_eq!(reason.code(), v1::ReasonCode::ContextInvalid);
        assert!(
            reason
                .message
                .starts_with("`context.n` is not a whole number")
        );
    }
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused() {
    let server = start("[limits]\nmessage_bytes = 4096\n").await;
    let mut request = call("log");
    context(&mut request).approval_ids = vec!["x".repeat(1_000); 5];
    let mut client = server.client().await;
    let status = client.authorize(request).await.expect_err("too large");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(
        status.message(),
        "the message has more than 4096 bytes, as many as `limits.message_bytes` allows"
    );
    assert!(client.authorize(call("log")).await.is_ok());
}

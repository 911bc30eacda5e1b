use callgate_engine::Snapshot;

use super::*;
use crate::audit::decision_record::RecordedRequest;
use crate::config::telemetry::TelemetryConfig;
use crate::domain::fixtures as domain_fixtures;
use crate::domain::request::call_context::CallContext;
use crate::domain::request::operation::{
    ClientOperation, Listing, PromptOperation, ResourceOperation,
};
use crate::domain::request::trace_context::TraceContext;
use crate::telemetry::export::otlp_encoder::SpanHead;
use crate::telemetry::export::span_tracer::SpanSampler;
use crate::telemetry::fixtures::{self, RecordFixture, allow, call, deny, redaction, tool_call};
use crate::telemetry::span_fixtures::KeptSpans;

fn name_of(call: &CallContext, asked: &RecordFixture) -> String {
    span_name(&asked.record(RecordedRequest::Call(call))).concat()
}

fn set_tool(call: &mut CallContext, name: &str) {
    if let OperationKind::CallTool(tool_call) = &mut call.operation.kind {
        tool_call.tool = name.into();
    }
}

#[test]
fn a_span_is_named_after_the_operation_and_the_tool() {
    assert_eq!(
        name_of(&tool_call(), &RecordFixture::with(allow())),
        "authorize tools/call create_issue"
    );
    assert_eq!(
        name_of(
            &call(OperationKind::List(Listing::Tools)),
            &RecordFixture::with(allow())
        ),
        "authorize tools/list"
    );
}

#[test]
fn no_uri_and_no_made_up_name_gets_into_a_span_name() {
    let uri = "file:///home/alice/secret";
    for kind in [
        OperationKind::OnResource {
            operation: ResourceOperation::Read,
            uri: uri.into(),
        },
        OperationKind::OnResource {
            operation: ResourceOperation::Subscribe,
            uri: uri.into(),
        },
        OperationKind::OnResource {
            operation: ResourceOperation::Complete,
            uri: uri.into(),
        },
        OperationKind::ElicitUrl {
            url: uri.to_owned(),
        },
    ] {
        let name = name_of(&call(kind), &RecordFixture::with(allow()));
        assert!(!name.contains("secret"), "{name}");
    }
    let mut call = tool_call();
    set_tool(&mut call, uri);
    assert_eq!(
        name_of(&call, &RecordFixture::with(allow())),
        "authorize tools/call"
    );
    set_tool(&mut call, "made_up");
    let unknown = RecordFixture::with(deny(ReasonCode::ToolUnknown));
    assert_eq!(name_of(&call, &unknown), "authorize tools/call");
    // Whatever it is denied for: evidence is looked at before the tool.
    let snapshot = domain_fixtures::world("");
    for code in [
        ReasonCode::Stale,
        ReasonCode::DelegationExpired,
        ReasonCode::AuditUnavailable,
    ] {
        let denied = RecordFixture::with(deny(code));
        let of = |call: &CallContext| {
            let record = DecisionRecord {
                snapshot: Some(&snapshot),
                ..denied.record(RecordedRequest::Call(call))
            };
            span_name(&record).concat()
        };
        assert_eq!(of(&call), "authorize tools/call", "{code:?}");
        let known = domain_fixtures::get_issue();
        assert_eq!(of(&known), "authorize tools/call get_issue", "{code:?}");
    }
    set_tool(&mut call, &"x".repeat(65));
    assert_eq!(
        name_of(&call, &RecordFixture::with(allow())),
        "authorize tools/call"
    );
}

#[test]
fn every_operation_names_its_span_after_its_method() {
    let kinds = [
        OperationKind::List(Listing::Tools),
        OperationKind::List(Listing::Prompts),
        OperationKind::List(Listing::Resources),
        OperationKind::OnResource {
            operation: ResourceOperation::Read,
            uri: "a:b".into(),
        },
        OperationKind::GetPrompt {
            name: "p".into(),
            arguments: Vec::new(),
        },
        OperationKind::OnPrompt {
            operation: PromptOperation::Complete,
            name: "p".into(),
        },
        OperationKind::OnResource {
            operation: ResourceOperation::Complete,
            uri: "a:b".into(),
        },
        OperationKind::OnResource {
            operation: ResourceOperation::Subscribe,
            uri: "a:b".into(),
        },
        OperationKind::Sample(Default::default()),
        OperationKind::ElicitForm {
            message: String::new(),
            requested_schema: serde_json::json!({}),
        },
        OperationKind::ElicitUrl { url: "a:b".into() },
        OperationKind::OnClient(ClientOperation::ListRoots),
    ];
    for kind in kinds {
        let expected = format!("authorize {}", kind.method());
        assert_eq!(
            name_of(&call(kind), &RecordFixture::with(allow())),
            expected
        );
    }
}

#[test]
fn upkeep_has_one_span_name_and_tells_its_method() {
    let ping = call(OperationKind::Connect { method: "ping" });
    assert_eq!(
        name_of(&ping, &RecordFixture::with(allow())),
        "authorize connect"
    );
    assert_eq!(ping.operation.kind.method(), "ping");
}

#[test]
fn labels_do_not_change_with_what_a_caller_says() {
    let asked = RecordFixture::with(allow());
    let mut other = tool_call();
    set_tool(&mut other, "another");
    other.operation.server = "elsewhere".into();
    other.workflow.session_id = Some("session-2".into());
    let usual = tool_call();
    assert_eq!(
        labels(&asked.record(RecordedRequest::Call(&usual))),
        labels(&asked.record(RecordedRequest::Call(&other)))
    );
}

/// The attributes of a span of Cedar's own request for this action.
fn of_action(action: &EntityUID, snapshot: &Snapshot) -> Vec<(String, String)> {
    let asked = RecordFixture::with(allow());
    let [principal, _, resource] = fixtures::cedar_names();
    let trace = TraceContext::default();
    let record = DecisionRecord {
        snapshot: Some(snapshot),
        ..asked.record(RecordedRequest::Cedar {
            principal: &principal,
            action,
            resource: &resource,
            trace: &trace,
        })
    };
    assert_eq!(span_name(&record).concat(), "authorize cedar");
    let kept = KeptSpans::default();
    let tracer = kept.tracer(SpanSampler::ALWAYS_ON);
    let head = SpanHead {
        ids: &tracer.begin(&trace).unwrap(),
        name: span_name(&record),
        times: [record.started_at; 2],
        error: None,
    };
    let redaction = redaction(&TelemetryConfig::default());
    let attributes = |out: &mut AttributeWriter<'_>| attributes(&record, &redaction, out);
    tracer.end(&head, attributes, &[], false);
    let found = kept.all().remove(0).attributes;
    let found = found
        .iter()
        .map(|it| (it.key.to_string(), it.value.to_string()));
    found.filter(|(key, _)| key.contains("action")).collect()
}

#[test]
fn an_action_that_the_schema_does_not_have_is_told_by_its_digest() {
    let snapshot = domain_fixtures::world("");
    let known = fixtures::uid(r#"Mcp::Action::"call_read""#);
    let told = of_action(&known, &snapshot);
    let name = "callgate.cedar.action".to_owned();
    assert_eq!(told, [(name, known.to_string())]);
    let made_up = fixtures::uid(r#"Mcp::Action::"send file:///home/alice/secret""#);
    let told = of_action(&made_up, &snapshot);
    let [(key, value)] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(key, "callgate.cedar.action.hmac");
    assert!(value.len() == 64 && !value.contains("secret"), "{value}");
}

#[test]
fn what_the_configuration_opens_is_exported_as_it_is() {
    let config: TelemetryConfig = toml::from_str(
        r#"
        clear = { users = true, uris = true, purposes = true, addresses = true }
        [arguments]
        allow = ["repo", "missing", "gitlab/create_issue:title"]
        "#,
    )
    .unwrap();
    let (asked, call) = (RecordFixture::with(allow()), tool_call());
    let kept = KeptSpans::default();
    let tracer = kept.tracer(SpanSampler::ALWAYS_ON);
    let record = asked.record(RecordedRequest::Call(&call));
    let head = SpanHead {
        ids: &tracer.begin(&TraceContext::default()).unwrap(),
        name: span_name(&record),
        times: [record.started_at; 2],
        error: None,
    };
    let redaction = redaction(&config);
    tracer.end(
        &head,
        |out| attributes(&record, &redaction, out),
        &[],
        false,
    );
    let found = kept.all().remove(0).attributes;
    let value = |key: &str| {
        found
            .iter()
            .find(|one| one.key.as_str() == key)
            .map(|one| one.value.as_str().into_owned())
    };
    assert_eq!(value("client.address").as_deref(), Some("192.0.2.7"));
    assert_eq!(
        value("callgate.purpose").as_deref(),
        Some("close the quarter")
    );
    assert_eq!(
        value("mcp.resource.uri").as_deref(),
        Some("https://github.com/callgate/callgate")
    );
    let root = value("callgate.delegation.root");
    assert_eq!(root.as_deref(), Some(r#"Mcp::User::"alice@example.com""#));
    assert_eq!(value("callgate.argument.repo").as_deref(), Some("callgate"));
    assert_eq!(
        value("callgate.argument.title"),
        None,
        "opened for another server only"
    );
    assert!(value("callgate.arguments.hmac").is_some());
}

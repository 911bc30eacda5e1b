use bytes::Bytes;
use callgate_engine::cedar::EntityUID;

use super::*;
use crate::proto::v1::operation::Kind;
use crate::proto::{codec, v1};

fn parse(context: v1::CallContext) -> Result<CallContext, String> {
    parse_with(context, &TraceContext::default())
}

fn parse_with(
    context: v1::CallContext,
    transport_trace: &TraceContext,
) -> Result<CallContext, String> {
    let received = codec::recoded(&context).expect("the same message");
    with_parser(transport_trace, |parser| {
        parser.call_context(Some(Box::new(received)))
    })
    .map_err(|invalid| invalid.to_string())
}

/// Parses with the usual limits, for a caller whose sessions are not vouched for.
fn with_parser<T>(transport_trace: &TraceContext, parse: impl FnOnce(MessageParser<'_>) -> T) -> T {
    parse(MessageParser {
        limits: &Limits::default(),
        types: &EntityTypeCache::default(),
        transport_trace,
        vouches_sessions: false,
    })
}

fn entity(of_type: &str, id: &str) -> Option<v1::EntityRef> {
    Some(v1::EntityRef {
        r#type: of_type.into(),
        id: id.into(),
    })
}

fn context(of_type: &str, operation: v1::Operation) -> v1::CallContext {
    v1::CallContext {
        subject: Some(v1::Subject {
            entity: entity(of_type, "a"),
            ..v1::Subject::default()
        }),
        operation: Some(operation),
        ..v1::CallContext::default()
    }
}

fn list_tools() -> v1::Operation {
    v1::Operation {
        server: "git".into(),
        kind: Some(Kind::ListTools(v1::ListTools {})),
        initiator: 0,
        ..v1::Operation::default()
    }
}

#[test]
fn a_type_without_a_namespace_is_one_of_mcp() {
    let wanted: EntityUID = "Mcp::Agent::\"a\"".parse().expect("a uid");
    for name in ["Agent", "Mcp::Agent"] {
        assert_eq!(
            parse(context(name, list_tools()))
                .expect("a call")
                .subject
                .entity,
            wanted
        );
    }
    let other: EntityUID = "Acme::Robot::\"a\"".parse().expect("a uid");
    assert_eq!(
        parse(context("Acme::Robot", list_tools()))
            .expect("a call")
            .subject
            .entity,
        other
    );
    let unheard: EntityUID = "Mcp::Robot::\"a\"".parse().expect("a uid");
    assert_eq!(
        parse(context("Robot", list_tools()))
            .expect("a call")
            .subject
            .entity,
        unheard
    );
}

#[test]
fn cedars_own_question_has_types_without_a_namespace() {
    let wire = v1::IsAuthorizedRequest {
        principal: entity("Agent", "a \"b\""),
        action: entity("Action", "view"),
        resource: entity("Acme::Photo", "Zoë/1"),
        ..v1::IsAuthorizedRequest::default()
    };
    let received = codec::recoded(&wire).expect("the same message");
    let question = with_parser(&TraceContext::default(), |parser| {
        parser.cedar_question(received, None)
    })
    .expect("a question");
    assert_eq!(question.principal.to_string(), "Agent::\"a \\\"b\\\"\"");
    assert_eq!(question.action.to_string(), "Action::\"view\"");
    assert_eq!(question.resource.to_string(), "Acme::Photo::\"Zoë/1\"");
}

#[test]
fn types_are_remembered_up_to_a_limit() {
    let types = EntityTypeCache::default();
    for index in 0..3_000 {
        assert!(types.exact(&format!("Acme::T{index}")).is_ok());
    }
    assert!(types.remembered() <= 1_024);
    assert_eq!(
        types.exact("Acme::T2999").expect("a type").to_string(),
        "Acme::T2999"
    );
}

#[test]
fn whoever_sets_a_call_off_is_implied_by_its_kind() {
    let sample = || Kind::Sample(v1::Sample::default());
    let tool = || {
        Kind::CallTool(v1::CallTool {
            tool: "t".into(),
            ..v1::CallTool::default()
        })
    };
    for (kind, initiator, server, wanted) in [
        (
            sample(),
            v1::Initiator::Unspecified,
            "",
            Ok((Initiator::Server, "a")),
        ),
        (
            sample(),
            v1::Initiator::Server,
            "a",
            Ok((Initiator::Server, "a")),
        ),
        (
            sample(),
            v1::Initiator::Ui,
            "a",
            Err("`call_context.operation.initiator` says"),
        ),
        (
            sample(),
            v1::Initiator::Server,
            "b",
            Err("`call_context.operation.server` names"),
        ),
        (
            tool(),
            v1::Initiator::Unspecified,
            "git",
            Ok((Initiator::Client, "git")),
        ),
        (
            tool(),
            v1::Initiator::Unspecified,
            "",
            Err("`call_context.operation.server` is required"),
        ),
        (
            tool(),
            v1::Initiator::Server,
            "",
            Ok((Initiator::Server, "a")),
        ),
        (
            tool(),
            v1::Initiator::Server,
            "git",
            Ok((Initiator::Server, "git")),
        ),
        (tool(), v1::Initiator::Ui, "git", Ok((Initiator::Ui, "git"))),
    ] {
        let operation = v1::Operation {
            initiator: initiator.into(),
            server: server.into(),
            kind: Some(kind),
            ..v1::Operation::default()
        };
        let parsed = parse(context("Server", operation.clone()));
        match (parsed, wanted) {
            (Ok(call), Ok((initiator, server))) => {
                assert_eq!(
                    (call.operation.initiator, call.operation.server.as_str()),
                    (initiator, server)
                );
            }
            (Err(said), Err(wanted)) => assert!(said.starts_with(wanted), "{said}"),
            (parsed, wanted) => panic!("{operation:?}: {parsed:?}, wanted {wanted:?}"),
        }
    }
}

#[test]
fn the_calls_own_trace_wins_over_the_transports() {
    let traceparent = |span: u64| format!("00-{:032x}-{span:016x}-01", 7);
    let transport = TraceContext::read(Some(&traceparent(1)), ["of=transport"]);
    let mut wire = context("Agent", list_tools());
    let trace = |wire: v1::CallContext| parse_with(wire, &transport).expect("a call").trace;
    assert_eq!(trace(wire.clone()), transport);
    wire.trace = Some(v1::TraceContext {
        traceparent: traceparent(2),
        tracestate: "of=call".into(),
    });
    let own = TraceContext::read(Some(&traceparent(2)), ["of=call"]);
    assert_eq!(trace(wire.clone()), own);
    for unusable in [
        String::new(),
        traceparent(0),
        traceparent(10).to_uppercase(),
        "x".repeat(1 << 20),
    ] {
        wire.trace = Some(v1::TraceContext {
            traceparent: unusable,
            tracestate: "of=call".into(),
        });
        assert_eq!(trace(wire.clone()), transport, "an unusable one is none");
    }
}

#[test]
fn times_are_exact_from_1970_on_and_what_lies_before_is_its_beginning() {
    let parse = |seconds, nanos| system_time(Timestamp { seconds, nanos }, "t");
    let epoch = SystemTime::UNIX_EPOCH;
    assert_eq!(parse(1, 5), Ok(epoch + Duration::new(1, 5)));
    for (seconds, nanos) in [(0, 0), (-1, 250_000_000), (-62_135_596_800, 999_999_999)] {
        assert_eq!(parse(seconds, nanos), Ok(epoch), "{seconds} {nanos}");
    }
    for (seconds, nanos) in [
        (0, -1),
        (0, 1_000_000_000),
        (253_402_300_800, 0),
        (-62_135_596_801, 0),
        (i64::MIN, 0),
    ] {
        assert!(parse(seconds, nanos).is_err(), "{seconds} {nanos}");
    }
}

#[test]
fn what_is_empty_counts_as_absent() {
    let mut wire = context("Agent", list_tools());
    wire.workflow = Some(v1::Workflow::default());
    wire.environment = Some(v1::Environment::default());
    let call = parse(wire).expect("a call");
    assert!(call.workflow.session_id.is_none() && call.workflow.purpose.is_none());
    assert!(call.environment.source_address.is_none() && call.subject.identity.method.is_none());
}

#[test]
fn shown_text_is_short_and_harmless() {
    let said = parse(context(&"x ".repeat(400), list_tools())).expect_err("no type");
    assert!(said.len() < 250 && said.contains('…'), "{said}");
    let said = parse(context("a\u{1b}[31m", list_tools())).expect_err("no type");
    assert!(
        said.contains("\\u{1b}") && !said.contains('\u{1b}'),
        "{said}"
    );
}

fn claims(json: serde_json::Value) -> Option<Struct> {
    Some(json::to_struct(json.as_object().expect("an object")))
}

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

fn since_1970(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Who acts for `ana`, with these claims about each.
fn acting(of_actor: Option<Struct>, of_root: Option<Struct>) -> v1::CallContext {
    let mut context = context("Agent", list_tools());
    context.subject.as_mut().expect("a subject").claims = of_actor;
    context.delegation = Some(v1::Delegation {
        root: entity("User", "ana"),
        root_claims: of_root,
        ..v1::Delegation::default()
    });
    context
}

#[test]
fn a_tokens_times_bound_the_call_that_passes_its_claims_on() {
    let skew = Limits::default().clock_skew();
    let times = serde_json::json!({"nbf": 1_000, "exp": 2_000.9});
    // Whoever acts alone.
    let mut alone = context("User", list_tools());
    alone.subject.as_mut().expect("a subject").claims = claims(times.clone());
    let identity = parse(alone).expect("a call").subject.identity;
    assert_eq!(identity.not_before, Some(since_1970(1_000) - skew));
    assert_eq!(identity.expires_at, Some(since_1970(2_000) + skew));
    // Behind an actor the token is the root's; the earlier end counts.
    for (stated, end) in [(None, 2_000), (at(1_500), 1_500), (at(2_500), 2_000)] {
        let mut context = acting(None, claims(times.clone()));
        context
            .delegation
            .as_mut()
            .expect("a delegation")
            .expires_at = stated;
        let call = parse(context).expect("a call");
        let chain = call.actor_chain.expect("somebody stands behind it");
        assert_eq!(chain.not_before, Some(since_1970(1_000) - skew));
        assert_eq!(chain.expires_at, Some(since_1970(end) + skew), "{stated:?}");
    }
    // With stored delegations there is no token of the root's: it is the actor's own.
    let stored = |of_actor: serde_json::Value| {
        let mut context = context("Agent", list_tools());
        context.subject.as_mut().expect("a subject").claims = claims(of_actor);
        context.delegation = Some(v1::Delegation {
            delegation_ids: vec!["d".into()],
            ..v1::Delegation::default()
        });
        context
    };
    let identity = parse(stored(times.clone()))
        .expect("a call")
        .subject
        .identity;
    assert_eq!(identity.not_before, Some(since_1970(1_000) - skew));
    assert_eq!(identity.expires_at, Some(since_1970(2_000) + skew));
    let said = parse(stored(serde_json::json!({"exp": "soon"}))).expect_err("no time");
    assert!(
        said.starts_with("`call_context.subject.claims.exp` must be a time"),
        "{said}"
    );
    // Within an `act` they have no meaning.
    let call = parse(acting(claims(times), None)).expect("a call");
    let chain = call.actor_chain.expect("somebody stands behind it");
    assert_eq!((chain.not_before, chain.expires_at), (None, None));
    let identity = call.subject.identity;
    assert!(identity.not_before.is_none() && identity.expires_at.is_none());

    for name in ["exp", "nbf"] {
        for odd in [
            serde_json::json!("soon"),
            serde_json::json!(null),
            serde_json::json!(-1),
            serde_json::json!([1]),
        ] {
            let odd = serde_json::json!({name: odd});
            let said = parse(acting(None, claims(odd.clone()))).expect_err("no time");
            let field = format!("`call_context.delegation.root_claims.{name}` must be a time");
            assert!(said.starts_with(&field), "{odd}: {said}");
            let mut alone = context("User", list_tools());
            alone.subject.as_mut().expect("a subject").claims = claims(odd.clone());
            let said = parse(alone).expect_err("no time");
            let field = format!("`call_context.subject.claims.{name}` must be a time");
            assert!(said.starts_with(&field), "{odd}: {said}");
        }
    }
}

#[test]
fn the_claims_of_a_whole_token_are_not_the_actors() {
    let token = serde_json::json!({"sub": "ana", "groups": ["admins"], "act": {"sub": "a"}});
    let said = parse(acting(claims(token.clone()), None)).expect_err("the root's claims");
    assert!(
        said.starts_with("`call_context.subject.claims` is of the token"),
        "{said}"
    );
    // Where they belong they may be whole, and an actor's may say who acted before it.
    assert!(parse(acting(None, claims(token.clone()))).is_ok());
    let of_actor = serde_json::json!({"sub": "a", "act": {"sub": "b"}});
    assert!(parse(acting(claims(of_actor), claims(token.clone()))).is_ok());
    // Whoever has an actor does not act alone.
    for act in [
        serde_json::json!({"sub": "a"}),
        serde_json::json!("a"),
        serde_json::json!(null),
    ] {
        for party in ["User", "Agent"] {
            let mut alone = context(party, list_tools());
            let subject = alone.subject.as_mut().expect("a subject");
            subject.claims = claims(serde_json::json!({"sub": "ana", "act": act}));
            let said = parse(alone).expect_err("nobody is named");
            assert!(
                said.starts_with("`call_context.subject.claims.act` is there"),
                "{said}"
            );
        }
    }
}

/// A call with a text in every field that only has to be a text, and the field of each.
fn call_of_texts() -> (v1::CallContext, Vec<(&'static str, String)>) {
    let mut texts = Vec::new();
    let mut text = |field| {
        let text = format!("text-{}", texts.len());
        texts.push((field, text.clone()));
        text
    };
    let of_type = |id| v1::EntityRef {
        r#type: "User".into(),
        id,
    };
    let context = v1::CallContext {
        subject: Some(v1::Subject {
            entity: Some(of_type(text("subject.entity.id"))),
            identity: Some(v1::Identity {
                method: text("subject.identity.method"),
                verified: true,
            }),
            claims: None,
        }),
        delegation: Some(v1::Delegation {
            root: Some(of_type(text("delegation.root.id"))),
            actors: vec![of_type(text("delegation.actors[0].id"))],
            scopes: vec![text("delegation.scopes[0]")],
            delegation_ids: vec![text("delegation.delegation_ids[0]")],
            ..v1::Delegation::default()
        }),
        operation: Some(v1::Operation {
            server: text("operation.server"),
            request_state: text("operation.request_state"),
            kind: Some(Kind::CallTool(v1::CallTool {
                tool: text("operation.call_tool.tool"),
                target: text("operation.call_tool.target"),
                ..v1::CallTool::default()
            })),
            ..v1::Operation::default()
        }),
        workflow: Some(v1::Workflow {
            session_id: text("workflow.session_id"),
            task_id: text("workflow.task_id"),
            step: text("workflow.step"),
            purpose: text("workflow.purpose"),
            request_id: text("workflow.request_id"),
            parent_decision_id: String::new(),
        }),
        approval_ids: vec![text("approval_ids[0]")],
        ..v1::CallContext::default()
    };
    (context, texts)
}

#[test]
fn a_text_that_is_not_utf_8_is_refused_by_its_field() {
    let (context, texts) = call_of_texts();
    assert!(parse(context.clone()).is_ok());
    let sent = prost::Message::encode_to_vec(&context);
    for (field, text) in texts {
        let mut sent = sent.clone();
        let windows = sent.windows(text.len());
        // A tag or a length follows the text, so that `text-1` is not within `text-10`.
        let at = windows
            .enumerate()
            .position(|(at, it)| {
                it == text.as_bytes() && !sent.get(at + text.len()).is_some_and(u8::is_ascii_digit)
            })
            .expect("the text");
        sent[at] = 0xff;
        let received = codec::decode(Bytes::from(sent)).expect("a message");
        let said = with_parser(&TraceContext::default(), |parser| {
            parser.call_context(Some(Box::new(received)))
        })
        .expect_err("no text");
        assert_eq!(
            said.to_string(),
            format!("`call_context.{field}` is not UTF-8")
        );
    }
}

use serde_json::{Value as Json, json};

use super::*;
use crate::authn::caller::Caller;
use crate::config::claims::ClaimMapping;
use crate::domain::authority::stop::Stop;
use crate::domain::fixtures::{agent, get_issue, person, tool_call, world};
use crate::domain::request::call_context::Initiator;
use crate::domain::request::operation::OperationKind;
use std::sync::Arc;

const PERMITS: &str = r#"
    permit (principal in Mcp::Group::"staff", action == Mcp::Action::"call_read", resource);
    forbid (principal, action == Mcp::Action::"call_write", resource);
"#;

/// The verdict on a call, and what observe mode makes of it.
fn ask(
    policies: &str,
    call: &CallContext,
    authority: &Authority,
) -> (Verdict, Result<SideEffects, Hold>) {
    let snapshot = world(policies);
    let inputs = DecisionInputs {
        authority,
        ..DecisionInputs::from(&snapshot)
    };
    let (caller, claims) = (Caller::local(), ClaimMapping::default());
    let requester = Requester {
        caller: &caller,
        claims: &claims,
    };
    let now = SystemTime::now();
    let verdict = call::decide(inputs, call, requester, now);
    let waived = waive(&inputs, call, requester, &verdict, now);
    (verdict, waived)
}

fn code(verdict: &Verdict) -> ReasonCode {
    verdict.reasons[0].code
}

fn unknown_tool() -> CallContext {
    tool_call("github", "new_one", json!({ "a": 1 }))
}

#[test]
fn default_denies_forbids_unknown_tools_and_failed_evidence_are_waived() {
    let authority = Authority::default();
    let forbidden = tool_call("github", "create_issue", json!({ "title": "x" }));
    let unpermitted = tool_call("github", "merge", json!({}));
    let mut expired = get_issue();
    let chain = expired.actor_chain.as_mut().expect("delegated");
    chain.expires_at = Some(SystemTime::UNIX_EPOCH);
    let mut no_task = get_issue();
    no_task.workflow.task_id = Some("gone".into());
    let mut ghost = get_issue();
    ghost.subject.entity = agent("ghost");
    for (call, wanted) in [
        (&unpermitted, ReasonCode::NoPermit),
        (&unknown_tool(), ReasonCode::ToolUnknown),
        (
            &tool_call("nowhere", "x", json!({})),
            ReasonCode::ServerUnknown,
        ),
        (&expired, ReasonCode::DelegationExpired),
        (&no_task, ReasonCode::TaskClosed),
        (&ghost, ReasonCode::SubjectUnknown),
        (
            &tool_call("files", "read", json!({})),
            ReasonCode::ContextMissing,
        ),
    ] {
        let (verdict, waived) = ask(PERMITS, call, &authority);
        assert_eq!(code(&verdict), wanted);
        let effects = waived.expect("it is waived");
        assert!(effects.approval.is_none() && effects.budget.is_none());
    }
    let (verdict, waived) = ask(PERMITS, &forbidden, &authority);
    assert!(!verdict.is_allow() && waived.is_ok());
}

/// Which forbids apply to it is not known, so any that is always enforced may.
#[test]
fn a_call_that_is_denied_whatever_it_asks_is_waived_only_where_nothing_is_always_enforced() {
    let mut call = get_issue();
    call.denied = Some(Box::new(Reason::new(
        ReasonCode::ContextInvalid,
        "of two servers",
    )));
    let (verdict, waived) = ask(PERMITS, &call, &Authority::default());
    assert_eq!(code(&verdict), ReasonCode::ContextInvalid);
    assert!(waived.is_ok());
    let marked = format!(
        "{PERMITS}\n@mode(\"enforce\") forbid (principal, action, resource == Mcp::Server::\"files\");"
    );
    let (_, waived) = ask(&marked, &call, &Authority::default());
    assert_eq!(waived.err(), Some(Hold::AlwaysEnforced(None)));
}

#[test]
fn an_unregistered_tool_leaves_untrusted_data_behind() {
    let (_, waived) = ask(PERMITS, &unknown_tool(), &Authority::default());
    let effects = waived.expect("it is waived");
    assert_eq!(*effects.yields, ["untrusted"]);
    assert_eq!(effects.tool, Some(schema::tool_uid("github", "new_one")));
}

#[test]
fn a_stop_holds_whatever_denies_first() {
    for stopped in [
        agent("helper"),
        person("alice"),
        schema::server_uid(&"github".into()),
        schema::tool_uid("github", "new_one"),
    ] {
        let mut authority = Authority::default();
        let stop = Stop {
            uid: stopped.clone(),
            reason: "odd".into(),
            at: SystemTime::now(),
            by: person("alice"),
        };
        authority.stops.insert_mut(stopped.clone(), Arc::new(stop));
        // Denied for its token, long before anybody looks at stops.
        let mut call = unknown_tool();
        call.subject.identity.expires_at = Some(SystemTime::UNIX_EPOCH);
        let (verdict, waived) = ask(PERMITS, &call, &authority);
        assert_eq!(code(&verdict), ReasonCode::DelegationExpired);
        assert!(matches!(waived, Err(Hold::Stopped(_))), "{stopped}");
    }
}

#[test]
fn a_forbid_marked_enforce_holds_also_where_evidence_fails_first() {
    let authority = Authority::default();
    let enforced = |policy: &str| format!("{PERMITS} @id(\"held\") @mode(\"enforce\") {policy}");
    let applies = enforced(r#"forbid (principal == Mcp::Agent::"helper", action, resource);"#);
    let held = |policies: &str, call: &CallContext| ask(policies, call, &authority).1.err();
    // Without a bundle, policies are named by their place: this is the third.
    let by_policy = Some(Hold::AlwaysEnforced(Some("policy2".into())));
    assert_eq!(held(&applies, &get_issue()), by_policy);
    assert_eq!(held(&applies, &unknown_tool()), by_policy);
    let mut expired = get_issue();
    expired.subject.identity.expires_at = Some(SystemTime::UNIX_EPOCH);
    assert_eq!(held(&applies, &expired), by_policy);
    // About what an unregistered tool counts as.
    let of_admin =
        enforced(r#"forbid (principal, action == Mcp::Action::"call_admin", resource);"#);
    assert_eq!(held(&of_admin, &unknown_tool()), by_policy);
    let of_server = enforced(r#"forbid (principal, action, resource in Mcp::Server::"github");"#);
    assert_eq!(held(&of_server, &unknown_tool()), by_policy);
    // One that does not apply holds nothing.
    let other = enforced(r#"forbid (principal == Mcp::Agent::"planner", action, resource);"#);
    assert_eq!(held(&other, &unknown_tool()), None);
    assert_eq!(held(&other, &expired), None);
}

#[test]
fn a_forbid_marked_enforce_that_cannot_be_evaluated_holds() {
    let policies = format!(
        "{PERMITS} @id(\"held\") @mode(\"enforce\")
         forbid (principal, action == Mcp::Action::\"call_admin\", resource) when {{ resource.owner.active }};"
    );
    let (verdict, waived) = ask(&policies, &unknown_tool(), &Authority::default());
    assert_eq!(code(&verdict), ReasonCode::ToolUnknown);
    assert_eq!(
        waived.err(),
        Some(Hold::AlwaysEnforced(Some("policy2".into())))
    );
}

#[test]
fn what_was_not_evaluated_holds() {
    for code in [
        ReasonCode::Stale,
        ReasonCode::Overloaded,
        ReasonCode::StoreUnavailable,
        ReasonCode::Internal,
        ReasonCode::Stopped,
    ] {
        assert!(!is_waivable(code));
        let verdict = Verdict::deny(Reason::new(code, "no"));
        assert!(check_codes(&verdict).is_err());
    }
}

/// What holds a call under one forbid marked `@mode("enforce")`, beside [`PERMITS`].
fn held_by(forbid: &str, call: &CallContext) -> Option<Hold> {
    let policies = format!("{PERMITS} @id(\"held\") @mode(\"enforce\") {forbid}");
    let (verdict, waived) = ask(&policies, call, &Authority::default());
    assert!(!verdict.is_allow(), "{call:?}");
    waived.err()
}

/// Without a bundle, policies are named by their place: this is the third.
fn by_policy() -> Option<Hold> {
    Some(Hold::AlwaysEnforced(Some("policy2".into())))
}

#[test]
fn a_forbid_marked_enforce_holds_where_what_it_reads_cannot_be_read() {
    const ON_TARGET: &str = r#"forbid (principal, action, resource)
        when { context has target && context.target in Mcp::Resource::"file:///srv/hr" };"#;
    const ON_INPUT: &str = r#"forbid (principal, action == Mcp::Action::"github/create_issue", resource)
        when { context.input has number && context.input.number > 5 };"#;
    const ON_LINKS: &str = r#"forbid (principal, action, resource)
        when { context has arguments && context.arguments has unknown_links && !context.arguments.unknown_links.isEmpty() };"#;
    const ON_ROLE: &str = r#"forbid (principal, action, resource)
        when { context has target_role && context.target_role == "recipient" };"#;
    let read = |arguments: Json| tool_call("files", "read", arguments);
    let create = |arguments: Json| tool_call("github", "create_issue", arguments);
    for arguments in [
        json!({ "path": "/srv/x/../hr/a" }),
        json!({ "path": "/srv/hr\\a" }),
        json!({ "path": "/srv/hr/%61" }),
        json!({ "path": "/srv/x", "Path": "/srv/hr/a" }),
        json!({ "path": ["/srv/hr/a", ".."] }),
        json!({ "path": null }),
        json!({}),
    ] {
        for forbid in [ON_TARGET, ON_LINKS, ON_ROLE] {
            assert_eq!(
                held_by(forbid, &read(arguments.clone())),
                by_policy(),
                "{arguments} {forbid}"
            );
        }
    }
    for arguments in [
        json!({ "title": "x", "number": "6" }),
        json!({ "title": "x", "number": 6.5 }),
        json!({ "title": "x", "number": [6] }),
        json!({ "title": "x", "number": 1e30 }),
        json!({ "title": 1, "number": 6 }),
        json!({ "title": "x", "number": 6, "on": "yes" }),
        json!({ "title": "x", "number": 6, "Number": 1 }),
    ] {
        let call = create(arguments.clone());
        assert_eq!(held_by(ON_INPUT, &call), by_policy(), "{arguments}");
        // A forbid that reads no argument is evaluated, for the action that the tool has.
        for forbid in [
            r#"forbid (principal, action == Mcp::Action::"github/create_issue", resource);"#,
            r#"forbid (principal, action in Mcp::Action::"call_write", resource);"#,
            r#"forbid (principal, action, resource == Mcp::Tool::"github/create_issue");"#,
        ] {
            assert_eq!(held_by(forbid, &call), by_policy(), "{arguments} {forbid}");
        }
        // One that is about another tool or principal holds nothing.
        for forbid in [
            r#"forbid (principal, action, resource == Mcp::Tool::"github/merge") when { context has target };"#,
            r#"forbid (principal == Mcp::Agent::"stray", action, resource) when { context has target };"#,
        ] {
            assert_eq!(held_by(forbid, &call), None, "{arguments} {forbid}");
        }
    }
    // What does not fit the action at all is not evaluated.
    let titleless = create(json!({ "number": 6 }));
    let not_evaluated = Some(Hold::AlwaysEnforced(None));
    assert_eq!(held_by(ON_INPUT, &titleless), not_evaluated);
    // What is read is not what was meant where the definition has changed, or not all arguments are told.
    let mut changed = tool_call("github", "get_issue", json!({}));
    if let OperationKind::CallTool(call) = &mut changed.operation.kind {
        call.definition_digest = Some(format!("sha256:{}", "0".repeat(64)).into());
    }
    assert_eq!(held_by(ON_TARGET, &changed), by_policy());
    let mut untold = read(json!({}));
    untold.operation.told = Told::Part;
    assert_eq!(held_by(ON_TARGET, &untold), by_policy());
    // The same for what a server asks of the client's side.
    let mut reverse = read(json!({ "path": "/srv/x/../hr/a" }));
    reverse.operation.initiator = Initiator::Server;
    reverse.subject.entity = schema::server_uid(&"files".into());
    assert_eq!(held_by(ON_TARGET, &reverse), by_policy());
    // What the gateway states may be what cannot be read.
    let mut stated = create(json!({ "title": "x" }));
    if let OperationKind::CallTool(call) = &mut stated.operation.kind {
        call.target = Some("file:///srv/x/../hr".into());
    }
    assert_eq!(held_by(ON_TARGET, &stated), by_policy());
}

#[test]
fn an_unregistered_tool_is_judged_by_what_is_said_of_it() {
    const ON_TARGET: &str = r#"forbid (principal, action, resource)
        when { context has target && context.target in Mcp::Resource::"file:///srv/hr" };"#;
    let stated = |target: &str| {
        let mut call = unknown_tool();
        if let OperationKind::CallTool(call) = &mut call.operation.kind {
            call.target = Some(target.into());
        }
        call
    };
    assert_eq!(held_by(ON_TARGET, &unknown_tool()), None);
    assert_eq!(held_by(ON_TARGET, &stated("file:///srv/x")), None);
    assert_eq!(held_by(ON_TARGET, &stated("file:///srv/hr/a")), by_policy());
    let unreadable = stated("file:///srv/x/../hr/a");
    assert_eq!(
        held_by(ON_TARGET, &unreadable),
        Some(Hold::AlwaysEnforced(None))
    );
    let mut untold = unknown_tool();
    untold.operation.told = Told::Part;
    assert_eq!(held_by(ON_TARGET, &untold), by_policy());
}

use std::sync::LazyLock;
use std::time::Duration;

use callgate_engine::ContextSource;
use callgate_engine::cedar::{EntityUID, Extensions, ValidatorSchema};
use serde_json::{Value as Json, json};
use smol_str::SmolStr;

use super::*;
use crate::authn::caller::Caller;
use crate::authn::caller::Rights;
use crate::config::claims::ClaimMapping;
use crate::config::claims::{ClaimKind, GroupClaim};
use crate::domain::authority::chain::{DelegationChain, MAX_LINKS};
use crate::domain::authority::delegation::Delegation;
use crate::domain::authority::scope::Scope;
use crate::domain::authority::session::Session;
use crate::domain::authority::state::Authority;
use crate::domain::authority::task::{Task, TaskStep};
use crate::domain::authority::usage::Usage;
use crate::domain::decide::cedar_request::MAX_TARGETS;
use crate::domain::decide::facts::Facts;
use crate::domain::decide::facts::inputs::ContextInputs;
use crate::domain::decide::inputs::History;
use crate::domain::decide::verify::VerifiedEvidence;
use crate::domain::fixtures::{GET_ISSUE, agent, get_issue, person, tool_call, trusted, world};
use crate::domain::registration::RegisteredTools;
use crate::domain::request::call_context::{ActorChain, Initiator, Operation, Subject, Told};
use crate::domain::request::operation::{
    ClientOperation, Listing, OperationKind, PromptOperation, ResourceOperation, Sampling,
};
use crate::domain::schema::SCHEMA;

const READ_FOR_STAFF: &str =
    r#"permit (principal in Mcp::Group::"staff", action == Mcp::Action::"call_read", resource);"#;

fn decide_with(
    policies: &str,
    call: &CallContext,
    rights: Rights,
    claims: &ClaimMapping,
) -> Verdict {
    let caller = Caller {
        id: "edge".into(),
        rights,
        toolhive_agent: None,
        held: crate::authn::capacity::CallerUsage::default(),
    };
    decide(
        &world(policies),
        call,
        Requester {
            caller: &caller,
            claims,
        },
        SystemTime::now(),
    )
}

fn ask(policies: &str, call: &CallContext) -> Verdict {
    decide_with(policies, call, trusted(), &ClaimMapping::default())
}

fn code(policies: &str, call: &CallContext) -> ReasonCode {
    let decision = ask(policies, call);
    assert!(!decision.is_allow(), "{decision:?}");
    decision.reasons[0].code
}

#[test]
fn agent_and_person_must_both_be_allowed() {
    assert!(ask(READ_FOR_STAFF, &get_issue()).is_allow());

    let mut for_mallory = get_issue();
    for_mallory.actor_chain.as_mut().expect("delegated").root = Some(person("mallory"));
    let decision = ask(READ_FOR_STAFF, &for_mallory);
    assert_eq!(decision.reasons.len(), 1);
    assert_eq!(decision.reasons[0].code, ReasonCode::DelegatorDenied);
    assert_eq!(decision.reasons[0].principal, Some(person("mallory")));

    let mut by_stray = get_issue();
    by_stray.subject.entity = agent("stray");
    assert_eq!(code(READ_FOR_STAFF, &by_stray), ReasonCode::NoPermit);
}

#[test]
fn every_link_of_the_chain_is_asked_nearest_first() {
    let mut call = get_issue();
    call.actor_chain.as_mut().expect("delegated").actors = vec![agent("stray"), agent("planner")];
    let decision = ask(READ_FOR_STAFF, &call);
    let asked: Vec<&EntityUID> = decision.principals.iter().map(|p| &p.principal).collect();
    assert_eq!(
        asked,
        [
            &agent("helper"),
            &agent("planner"),
            &agent("stray"),
            &person("alice")
        ]
    );
    assert_eq!(decision.reasons[0].code, ReasonCode::DelegatorDenied);
    assert_eq!(decision.reasons[0].principal, Some(agent("stray")));
}

#[test]
fn a_forbid_speaks_with_its_own_reason() {
    let policies = format!(
        "{READ_FOR_STAFF}
         @id(\"quiet\") @reason(\"not on Sundays\") forbid (principal is Mcp::Agent, action, resource);"
    );
    let decision = ask(&policies, &get_issue());
    assert_eq!(decision.reasons[0].code, ReasonCode::Forbidden);
    assert_eq!(decision.reasons[0].message, "not on Sundays");
    assert_eq!(decision.determining_policies.len(), 1);
}

#[test]
fn an_error_denies_and_names_the_policy() {
    let policies = format!(
        "{READ_FOR_STAFF}
         forbid (principal, action, resource) when {{ principal.owner.active }};"
    );
    let mut call = get_issue();
    call.actor_chain = None;
    let mut world_without_owner = world(&policies);
    world_without_owner = world_without_owner.remove([&person("alice")]);
    let caller = Caller {
        id: "edge".into(),
        rights: trusted(),
        toolhive_agent: None,
        held: crate::authn::capacity::CallerUsage::default(),
    };
    let asker = Requester {
        caller: &caller,
        claims: &ClaimMapping::default(),
    };
    let decision = decide(&world_without_owner, &call, asker, SystemTime::now());
    assert_eq!(decision.reasons[0].code, ReasonCode::EvaluationError);
    assert_eq!(decision.reasons[0].policies.len(), 1);
    assert!(
        decision.reasons[0]
            .detail
            .as_deref()
            .is_some_and(|detail| detail.contains("alice"))
    );
}

#[test]
fn what_a_tool_can_do_comes_from_its_registration() {
    let only = |action: &str| {
        format!("permit (principal, action == Mcp::Action::\"{action}\", resource);")
    };
    assert!(ask(&only("call_read"), &get_issue()).is_allow());
    for (tool, why) in [
        ("merge", "nobody confirmed it"),
        ("odd", "nobody knows that effect"),
    ] {
        let call = tool_call("github", tool, json!({}));
        assert!(!ask(&only("call_read"), &call).is_allow(), "{why}");
        assert!(ask(&only("call_admin"), &call).is_allow(), "{why}");
    }
}

#[test]
fn what_is_not_registered_or_has_changed_is_denied() {
    let allow_all = "permit (principal, action, resource);";
    assert_eq!(
        code(allow_all, &tool_call("github", "nope", json!({}))),
        ReasonCode::ToolUnknown
    );
    assert_eq!(
        code(allow_all, &tool_call("nope", "x", json!({}))),
        ReasonCode::ServerUnknown
    );
    assert_eq!(
        code(allow_all, &tool_call("retired", "read", json!({}))),
        ReasonCode::ServerUnknown
    );
    let with_digest = |digest: &str| {
        let mut call = get_issue();
        if let OperationKind::CallTool(tool) = &mut call.operation.kind {
            tool.definition_digest = Some(digest.into());
        }
        call
    };
    assert_eq!(
        code(allow_all, &with_digest("sha256:bb")),
        ReasonCode::ToolChanged
    );
    assert!(ask(allow_all, &with_digest(GET_ISSUE.1)).is_allow());
}

#[test]
fn a_gateway_is_believed_only_as_far_as_it_is_trusted() {
    let allow_all = "permit (principal, action, resource);";
    let code_with = |rights: Rights, call: &CallContext| {
        let decision = decide_with(allow_all, call, rights, &ClaimMapping::default());
        decision.reasons.first().map(|reason| reason.code)
    };
    let untrusted = Some(ReasonCode::CallerNotTrusted);
    assert_eq!(code_with(trusted(), &get_issue()), None);
    assert_eq!(
        code_with(
            Rights {
                assert_identity: false,
                ..trusted()
            },
            &get_issue()
        ),
        untrusted
    );
    assert_eq!(
        code_with(
            Rights {
                assert_delegation: false,
                ..trusted()
            },
            &get_issue()
        ),
        untrusted
    );
    let mut with_claims = get_issue();
    with_claims
        .subject
        .claims
        .insert("groups".to_owned(), json!(["x"]));
    assert_eq!(
        code_with(
            Rights {
                assert_claims: false,
                ..trusted()
            },
            &with_claims
        ),
        untrusted
    );
    assert_eq!(
        code_with(
            Rights {
                assert_claims: false,
                ..trusted()
            },
            &get_issue()
        ),
        None
    );
}

#[test]
fn broken_evidence_denies_whatever_the_policies_say() {
    let allow_all = "permit (principal, action, resource);";
    let changed = |change: &dyn Fn(&mut CallContext)| {
        let mut call = get_issue();
        change(&mut call);
        code(allow_all, &call)
    };
    let with_chain = |change: &dyn Fn(&mut ActorChain)| {
        changed(&|call| change(call.actor_chain.as_mut().expect("delegated")))
    };
    use ReasonCode as Code;
    let hour = Duration::from_secs(3600);
    assert_eq!(
        with_chain(&|d| d.expires_at = Some(SystemTime::now() - hour)),
        Code::DelegationExpired
    );
    assert_eq!(
        with_chain(&|d| d.delegation_ids = vec!["g".into()]),
        Code::DelegationChainBroken
    );
    assert_eq!(
        with_chain(&|d| d.root = Some(agent("helper"))),
        Code::DelegationChainBroken
    );
    assert_eq!(
        with_chain(&|d| d.root = Some(schema::server_uid(&"github".into()))),
        Code::DelegationChainBroken
    );
    assert_eq!(
        with_chain(&|d| d.actors = vec![agent("helper")]),
        Code::DelegationChainBroken
    );
    assert_eq!(
        with_chain(&|d| d.actors = vec![person("alice")]),
        Code::DelegationChainBroken
    );
    assert_eq!(
        with_chain(&|d| d.actors = vec![agent("ghost")]),
        Code::SubjectUnknown
    );
    assert_eq!(
        with_chain(&|d| d.actors = vec![agent("planner"); MAX_LINKS]),
        Code::DelegationChainBroken
    );
    assert_eq!(
        changed(&|call| call.subject.entity = agent("ghost")),
        Code::SubjectUnknown
    );
    assert_eq!(
        changed(&|call| call.workflow.task_id = Some("t".into())),
        Code::TaskClosed
    );
    assert_eq!(
        changed(&|call| call.approval_ids = vec!["a".into()]),
        Code::ApprovalInvalid
    );
}

#[test]
fn typed_arguments_are_checked_and_all_that_is_missing_is_listed() {
    let policies = r#"permit (principal, action == Mcp::Action::"github/create_issue", resource)
        when { context.input.title like "bug:*" && context.arguments.untyped.isEmpty() };"#;
    let create = |arguments: Json| tool_call("github", "create_issue", arguments);
    assert!(
        ask(
            policies,
            &create(json!({ "title": "bug: x", "labels": ["a"], "number": null }))
        )
        .is_allow()
    );
    // The name of such an action does not say what it does.
    let decision = ask(policies, &create(json!({ "title": "bug: x" })));
    assert_eq!(decision.access, Some(schema::AccessLevel::Write));
    assert_eq!(
        code(policies, &create(json!({ "title": "x" }))),
        ReasonCode::NoPermit
    );
    assert_eq!(
        code(policies, &create(json!({ "title": "bug:", "more": 1 }))),
        ReasonCode::NoPermit
    );

    let decision = ask(policies, &create(json!({ "milestone": {} })));
    assert_eq!(decision.reasons[0].code, ReasonCode::ContextMissing);
    assert_eq!(
        decision.reasons[0].missing,
        ["input.milestone.name", "input.title"]
    );

    for (arguments, path) in [
        (json!({ "title": 7 }), "input.title"),
        (
            json!({ "title": "", "labels": ["a", 1] }),
            "input.labels[1]",
        ),
        (json!({ "title": "", "number": 1.5 }), "input.number"),
        (
            json!({ "title": "", "number": 9_223_372_036_854_775_808_u64 }),
            "input.number",
        ),
        (json!({ "title": "", "on": "yes" }), "input.on"),
    ] {
        let decision = ask(policies, &create(arguments));
        assert_eq!(decision.reasons[0].code, ReasonCode::ContextInvalid);
        assert!(
            decision.reasons[0].message.contains(path),
            "{:?}",
            decision.reasons
        );
    }
}

#[test]
fn arguments_that_are_not_told_are_not_absent() {
    const READ: &str = r#"permit (principal, action in Mcp::Action::"call_tool", resource);
        permit (principal, action == Mcp::Action::"get_prompt", resource);"#;
    let mut call = tool_call("github", "get_issue", json!({}));
    assert!(ask(READ, &call).is_allow());
    call.operation.told = Told::Part;
    let denied = ask(READ, &call);
    assert_eq!(denied.reasons[0].code, ReasonCode::ContextMissing);
    assert_eq!(
        denied.reasons[0].missing,
        ["arguments"],
        "no schema is pinned"
    );
    call.operation.kind = OperationKind::GetPrompt {
        name: "review".into(),
        arguments: Vec::new(),
    };
    assert_eq!(code(READ, &call), ReasonCode::ContextMissing);
    call.operation.told = Told::All;
    assert!(ask(READ, &call).is_allow());
    const CONNECT: &str = r#"permit (principal, action == Mcp::Action::"connect", resource);"#;
    call.operation.kind = OperationKind::Connect {
        method: "subscriptions/listen",
    };
    assert!(ask(CONNECT, &call).is_allow());
    call.operation.told = Told::Part;
    assert_eq!(code(CONNECT, &call), ReasonCode::ContextMissing);
    const COMPLETE: &str = r#"permit (principal, action == Mcp::Action::"complete", resource);"#;
    let completion_of = |uri: &str| OperationKind::OnResource {
        operation: ResourceOperation::Complete,
        uri: uri.into(),
    };
    call.operation.kind = completion_of("file:///srv/a/{p}");
    let denied = ask(COMPLETE, &call);
    assert_eq!(denied.reasons[0].code, ReasonCode::ContextMissing);
    assert_eq!(denied.reasons[0].missing, ["params.argument"]);
    call.operation.told = Told::All;
    assert!(ask(COMPLETE, &call).is_allow());
    call.operation.told = Told::Part;
    call.operation.kind = completion_of("file:///srv/a/x");
    assert!(ask(COMPLETE, &call).is_allow(), "it has no variable");
}

#[test]
fn targets_of_one_name_are_judged_each_by_itself() {
    let policies = r#"permit (principal, action == Mcp::Action::"call_read", resource)
            when { context has target && context.target has public && context.target.public };
        forbid (principal, action, resource)
            when { context has target && context.target has query && context.target.query like "*secret*" };"#;
    let read = |urls: Json| tool_call("files", "read", json!({ "path": urls }));
    let fine = read(json!([
        "https://example.com/a?x=1",
        "https://example.com/a"
    ]));
    let decision = ask(policies, &fine);
    assert!(decision.is_allow(), "{decision:?}");
    let queries = decision.targets.iter().map(|it| it.query.as_deref());
    assert_eq!(queries.collect::<Vec<_>>(), [Some("x=1"), None]);
    for urls in [
        json!([
            "https://example.com/a?x=1",
            "https://example.com/a?x=secret"
        ]),
        json!([
            "https://example.com/a?x=secret",
            "https://example.com/a?x=1"
        ]),
        json!(["https://example.com/a", "https://example.com/a?x=secret#y"]),
    ] {
        assert_eq!(
            code(policies, &read(urls.clone())),
            ReasonCode::Forbidden,
            "{urls}"
        );
    }
}

#[test]
fn the_name_of_a_thing_of_a_server_is_not_given_to_another_text() {
    let policies = r#"permit (principal, action == Mcp::Action::"call_read", resource);"#;
    let read = |path: &str| tool_call("files", "read", json!({ "path": path }));
    assert!(ask(policies, &read("urn:isbn:12")).is_allow());
    for text in ["github:7", "files:7", "GitHub:7"] {
        assert_eq!(
            code(policies, &read(text)),
            ReasonCode::ContextInvalid,
            "{text}"
        );
    }
}

#[test]
fn the_hosts_of_pages_to_visit_are_known_as_those_of_targets() {
    let mut call = get_issue();
    call.subject = Subject::verified(schema::server_uid(&"github".into()), "mtls");
    call.actor_chain = None;
    call.operation.initiator = Initiator::Server;
    let policies = r#"permit (principal, action == Mcp::Action::"elicit_url", resource)
        when { context.elicitation.public };"#;
    let mut visit = |url: &str| {
        call.operation.kind = OperationKind::ElicitUrl { url: url.into() };
        let decision = ask(policies, &call);
        decision.reasons.first().map(|reason| reason.code)
    };
    for url in [
        "https://example.com/a",
        "https://8.8.8.8/",
        "https://[2606:4700::1]:8443/?x#y",
    ] {
        assert_eq!(visit(url), None, "{url}");
    }
    for url in [
        "https://10.0.0.1/",
        "https://172.16.0.1/",
        "https://100.64.0.1/",
        "https://[::ffff:192.168.0.1]/",
        "https://intranet/",
        "https://a.local/",
        "https://a.example/",
    ] {
        assert_eq!(visit(url), Some(ReasonCode::NoPermit), "{url}");
    }
    for url in [
        "https://user@example.com/",
        "https://2130706433/",
        "https://example.com./",
        "https://example.com.:8443/",
        "https://ex%61mple.com/",
        "https://example.com\\@a.com/",
        "https://example\u{ff0e}com/",
        "https:example.com",
        "https:///example.com",
        "ftp://example.com/",
    ] {
        assert_eq!(visit(url), Some(ReasonCode::ContextInvalid), "{url}");
    }
}

#[test]
fn a_boundary_around_a_place_holds_for_every_target() {
    let policies = r#"permit (principal, action == Mcp::Action::"call_read", resource)
        when { context has target && context.target in Mcp::Resource::"file:///srv/app" };"#;
    let read = |path: Json| tool_call("files", "read", json!({ "path": path }));
    assert!(ask(policies, &read(json!("/srv/app/a.txt"))).is_allow());
    assert!(
        ask(
            policies,
            &read(json!(["/srv/app/a.txt", "/srv/app/b/c.txt"]))
        )
        .is_allow()
    );
    assert_eq!(
        code(policies, &read(json!(["/srv/app/a.txt", "/etc/passwd"]))),
        ReasonCode::NoPermit
    );
    assert_eq!(
        code(policies, &read(json!("/srv/application/a.txt"))),
        ReasonCode::NoPermit
    );
    assert_eq!(
        code(policies, &read(json!("/srv/app/../../etc/passwd"))),
        ReasonCode::ContextInvalid
    );
    assert_eq!(code(policies, &read(json!([]))), ReasonCode::ContextMissing);
    // A number is an id of the server, and lies nowhere.
    assert_eq!(code(policies, &read(json!(7))), ReasonCode::NoPermit);
    assert_eq!(
        code(policies, &read(json!(7.5))),
        ReasonCode::ContextInvalid
    );
    assert_eq!(
        ask(policies, &read(json!(null))).reasons[0].missing,
        ["arguments.path"]
    );
    let many =
        |count: usize| -> Vec<String> { (0..count).map(|n| format!("/srv/app/{n}")).collect() };
    assert!(ask(policies, &read(json!(many(MAX_TARGETS)))).is_allow());
    let refused = ask(policies, &read(json!(many(MAX_TARGETS + 1))));
    assert_eq!(refused.reasons[0].code, ReasonCode::ContextInvalid);
    let message = refused.reasons[0].message.as_str();
    assert!(
        message.ends_with("resources: make several calls of it"),
        "{message}"
    );
}

#[test]
fn claims_add_to_the_subject_of_one_call_and_policies_can_tell() {
    let mapping = ClaimMapping {
        groups: vec![GroupClaim {
            claim: "groups".to_owned(),
            prefix: String::new(),
            kind: ClaimKind::Any,
        }],
        attributes: vec![],
    };
    let mut call = get_issue();
    call.subject.entity = person("guest");
    call.actor_chain = None;
    call.subject
        .claims
        .insert("groups".to_owned(), json!(["staff"]));
    assert!(decide_with(READ_FOR_STAFF, &call, trusted(), &mapping).is_allow());
    assert!(
        !ask(READ_FOR_STAFF, &call).is_allow(),
        "an unmapped claim does not count"
    );
    let stored_only = format!(
        "{READ_FOR_STAFF} forbid (principal, action, resource)
         when {{ context.identity.asserted_groups.contains(Mcp::Group::\"staff\") }};"
    );
    let decision = decide_with(&stored_only, &call, trusted(), &mapping);
    assert_eq!(decision.reasons[0].code, ReasonCode::Forbidden);
}

#[test]
fn a_caller_that_has_to_name_a_person_does() {
    let allow_all = "permit (principal, action, resource);";
    let demanding = || Rights {
        require_delegation: true,
        ..trusted()
    };
    let decided = |call: &CallContext| {
        let decision = decide_with(allow_all, call, demanding(), &ClaimMapping::default());
        let reason = decision.reasons.into_iter().next();
        reason.map(|reason| (reason.code, reason.missing))
    };
    let missing = |what: &str| Some((ReasonCode::ContextMissing, vec![what.to_owned()]));
    assert_eq!(decided(&get_issue()), None);
    let mut alone = get_issue();
    alone.actor_chain = None;
    assert_eq!(decided(&alone), missing("delegation"));
    assert!(ask(allow_all, &alone).is_allow());
    alone.subject.entity = schema::server_uid(&"github".into());
    assert_eq!(decided(&alone), missing("delegation"));
    alone.subject.entity = person("alice");
    assert_eq!(decided(&alone), None);
    let mut for_agent = get_issue();
    for_agent.actor_chain = Some(ActorChain::verified_from(agent("planner")));
    assert_eq!(decided(&for_agent), missing("delegation.root"));
}

#[test]
fn claims_add_to_nobody_but_whom_they_are_about() {
    let mapping = ClaimMapping {
        groups: vec![GroupClaim {
            claim: "groups".to_owned(),
            prefix: String::new(),
            kind: ClaimKind::Any,
        }],
        attributes: vec![],
    };
    let staff = || {
        let claims = json!({"groups": ["staff"]});
        claims.as_object().expect("an object").clone()
    };
    let reasons = |call: &CallContext| {
        let decision = decide_with(READ_FOR_STAFF, call, trusted(), &mapping);
        let each = decision.reasons.into_iter();
        each.map(|it| (it.code, it.principal)).collect::<Vec<_>>()
    };
    let about = |uids: &[EntityUID]| {
        let mut call = get_issue();
        call.subject.entity = agent("stray");
        call.actor_chain = Some(ActorChain {
            claims: uids.iter().map(|uid| (uid.clone(), staff())).collect(),
            ..ActorChain::verified_from(person("mallory"))
        });
        call
    };
    let of_root = about(&[person("mallory")]);
    assert_eq!(reasons(&of_root)[0].0, ReasonCode::NoPermit);
    let mut new = of_root.clone();
    new.subject.claims = staff();
    assert_eq!(reasons(&new), []);
    let mut of_agent = about(&[]);
    of_agent.subject.claims = staff();
    let denied = (ReasonCode::DelegatorDenied, Some(person("mallory")));
    assert_eq!(reasons(&of_agent)[0], denied);
    for strangers in [
        vec![person("alice")],
        vec![agent("stray")],
        vec![person("mallory"), person("mallory")],
    ] {
        let code = reasons(&about(&strangers))[0].0;
        assert_eq!(code, ReasonCode::DelegationChainBroken, "{strangers:?}");
    }
    let unbelieved = Rights {
        assert_claims: false,
        ..trusted()
    };
    let decision = decide_with(READ_FOR_STAFF, &of_root, unbelieved, &mapping);
    assert_eq!(decision.reasons[0].code, ReasonCode::CallerNotTrusted);
}

#[test]
fn what_a_server_asks_for_is_decided_in_its_own_name() {
    let server_call = |kind: OperationKind| {
        let mut call = get_issue();
        call.subject.entity = schema::server_uid(&"github".into());
        call.operation = Operation::new(Initiator::Server, "github", kind);
        call
    };
    let form = |name: &str| {
        server_call(OperationKind::ElicitForm {
            message: String::new(),
            requested_schema: json!({ "properties": { name: { "type": "string" } } }),
        })
    };
    let policies = r#"
        permit (principal == Mcp::Server::"github", action in Mcp::Action::"server_initiated", resource);
        forbid (principal, action == Mcp::Action::"elicit_form", resource)
            unless { context.elicitation.secret_fields.isEmpty() };
        forbid (principal, action == Mcp::Action::"elicit_url", resource)
            unless { context.elicitation.host == "github.com" && context.elicitation.scheme == "https" };
        forbid (principal, action == Mcp::Action::"sample", resource)
            unless { context.sampling.include_context == "none" && context.sampling.max_tokens <= 1000 };
    "#;
    assert!(ask(policies, &form("branch")).is_allow());
    assert_eq!(code(policies, &form("api_key")), ReasonCode::Forbidden);
    let url = |url: &str| {
        server_call(OperationKind::ElicitUrl {
            url: url.to_owned(),
        })
    };
    assert!(ask(policies, &url("https://github.com/login")).is_allow());
    assert_eq!(
        code(policies, &url("https://github.com.evil.example/login")),
        ReasonCode::Forbidden
    );
    assert!(ask(policies, &url("HTTPS://GitHub.com:443/login?a=@b#c")).is_allow());
    for invalid in [
        "javascript:alert(1)",
        "javascript://github.com/%0aalert(1)",
        "data:text/html,hello",
        "ftp://github.com/",
        "https:github.com",
        "https:///github.com",
        "https:\\\\github.com",
        "https://github.com\\@evil.example/",
        "https://github.com:\\@evil.example/",
        "https://evil.example@github.com/",
        "https://github.com:443@github.com/",
        "https://:@github.com/",
        " https://github.com/",
        "https://git\thub.com/",
        "https://github.com/\u{2028}x",
        "https://%67ithub.com/",
        "https://github\u{3002}com/",
        "https://ｇithub.com/",
        "https://github.com./",
        "https://gi\u{ad}thub.com/",
        "https://0x7f.1/",
    ] {
        let answered = code(policies, &url(invalid));
        assert_eq!(answered, ReasonCode::ContextInvalid, "{invalid:?}");
    }
    for other in [
        "https://xn--thub-43da.com/",
        "https://[::1]/",
        "http://github.com/",
    ] {
        assert_eq!(
            code(policies, &url(other)),
            ReasonCode::Forbidden,
            "{other}"
        );
    }
    let sample = |max_tokens: i64| {
        server_call(OperationKind::Sample(Sampling {
            max_tokens,
            ..Sampling::default()
        }))
    };
    assert!(ask(policies, &sample(1_000)).is_allow());
    assert_eq!(code(policies, &sample(1_001)), ReasonCode::Forbidden);
    assert!(
        ask(
            policies,
            &server_call(OperationKind::OnClient(ClientOperation::ListRoots))
        )
        .is_allow()
    );
    let mut by_agent = server_call(OperationKind::OnClient(ClientOperation::ListRoots));
    by_agent.subject.entity = agent("helper");
    by_agent.actor_chain = None;
    assert_eq!(code(policies, &by_agent), ReasonCode::ContextInvalid);
}

#[test]
fn a_reverse_call_asks_the_server_and_everyone_it_acts_for() {
    let mut call = get_issue();
    call.subject.entity = schema::server_uid(&"files".into());
    call.operation.initiator = Initiator::Server;
    let calls_only = "permit (principal, action in Mcp::Action::\"call_tool\", resource);";
    assert_eq!(code(calls_only, &call), ReasonCode::NoPermit);
    let for_server = r#"permit (principal is Mcp::Server, action == Mcp::Action::"reverse_call_read", resource);"#;
    assert_eq!(code(for_server, &call), ReasonCode::DelegatorDenied);
    let for_all = r#"permit (principal, action == Mcp::Action::"reverse_call_read", resource);"#;
    assert!(ask(for_all, &call).is_allow());
}

#[test]
fn every_client_operation_has_its_action_and_resource() {
    let call = |kind: OperationKind| {
        let mut call = get_issue();
        call.operation.kind = kind;
        call
    };
    for (kind, action, resource) in [
        (
            OperationKind::Connect { method: "ping" },
            "connect",
            "Mcp::Server::\"github\"",
        ),
        (
            OperationKind::List(Listing::Tools),
            "list_tools",
            "Mcp::Server::\"github\"",
        ),
        (
            OperationKind::List(Listing::Prompts),
            "list_prompts",
            "Mcp::Server::\"github\"",
        ),
        (
            OperationKind::List(Listing::Resources),
            "list_resources",
            "Mcp::Server::\"github\"",
        ),
        (
            OperationKind::OnResource {
                operation: ResourceOperation::Read,
                uri: "https://h/a".into(),
            },
            "read_resource",
            "Mcp::Resource::\"https://h/a\"",
        ),
        (
            OperationKind::OnResource {
                operation: ResourceOperation::Subscribe,
                uri: "file:///a".into(),
            },
            "subscribe",
            "Mcp::Resource::\"file:///a\"",
        ),
        (
            OperationKind::GetPrompt {
                name: "p".into(),
                arguments: vec![],
            },
            "get_prompt",
            "Mcp::Prompt::\"github/p\"",
        ),
        (
            OperationKind::OnPrompt {
                operation: PromptOperation::Complete,
                name: "p".into(),
            },
            "complete",
            "Mcp::Prompt::\"github/p\"",
        ),
        (
            OperationKind::OnResource {
                operation: ResourceOperation::Complete,
                uri: "x://y/z".into(),
            },
            "complete",
            "Mcp::Resource::\"x://y/z\"",
        ),
    ] {
        let policy = format!(
            "permit (principal, action == Mcp::Action::\"{action}\", resource == {resource});"
        );
        assert!(ask(&policy, &call(kind.clone())).is_allow(), "{kind:?}");
    }
    let of_server = r#"permit (principal, action in Mcp::Action::"use_context", resource in Mcp::Server::"github");"#;
    assert!(
        ask(
            of_server,
            &call(OperationKind::GetPrompt {
                name: "p".into(),
                arguments: vec![]
            })
        )
        .is_allow()
    );
}

#[test]
fn all_actions_share_the_facts_of_every_action() {
    let (schema, _) = ValidatorSchema::from_cedarschema_str(SCHEMA, Extensions::all_available())
        .expect("the embedded schema parses");
    let names = |action: &str| -> Vec<String> {
        match schema.context_type(&schema::action_uid(action)) {
            Some(callgate_engine::cedar::Type::Record { attrs, .. }) => {
                attrs.keys().map(ToString::to_string).collect()
            }
            other => panic!("{action} has no context: {other:?}"),
        }
    };
    let facts = names("list_tools");
    for action in [
        "call_read",
        "reverse_call_admin",
        "sample",
        "elicit_form",
        "elicit_url",
        "get_prompt",
    ] {
        let own = names(action);
        assert!(
            facts.iter().all(|fact| own.contains(fact)),
            "{action}: {own:?}"
        );
        assert_eq!(
            own.len(),
            facts.len() + 1,
            "{action} adds one fact of its own"
        );
    }
}

/// Facts of the built-in actions are not checked at each call, so that they fit is shown here.
#[test]
fn facts_of_built_in_actions_fit_the_schema_by_construction() {
    let snapshot = world(READ_FOR_STAFF);
    let caller = Caller {
        id: "edge".into(),
        rights: trusted(),
        toolhive_agent: None,
        held: crate::authn::capacity::CallerUsage::default(),
    };
    let claims = ClaimMapping {
        groups: vec![GroupClaim {
            claim: "groups".to_owned(),
            prefix: "idp:".to_owned(),
            kind: ClaimKind::Any,
        }],
        attributes: vec![],
    };
    let asker = Requester {
        caller: &caller,
        claims: &claims,
    };
    let mut calls = vec![
        get_issue(),
        tool_call("files", "read", json!({ "path": ["/a", "/b"] })),
    ];
    for kind in [
        OperationKind::Connect {
            method: "initialize",
        },
        OperationKind::List(Listing::Tools),
        OperationKind::List(Listing::Prompts),
        OperationKind::List(Listing::Resources),
        OperationKind::OnResource {
            operation: ResourceOperation::Read,
            uri: "https://h/a".into(),
        },
        OperationKind::OnResource {
            operation: ResourceOperation::Subscribe,
            uri: "file:///a".into(),
        },
        OperationKind::GetPrompt {
            name: "p".into(),
            arguments: vec!["x".into()],
        },
        OperationKind::OnPrompt {
            operation: PromptOperation::Complete,
            name: "p".into(),
        },
        OperationKind::OnResource {
            operation: ResourceOperation::Complete,
            uri: "x://y/z".into(),
        },
        OperationKind::Sample(Sampling::default()),
        OperationKind::ElicitForm {
            message: String::new(),
            requested_schema: json!({ "properties": { "pin": {} } }),
        },
        OperationKind::ElicitUrl {
            url: "https://h/a".to_owned(),
        },
        OperationKind::OnClient(ClientOperation::ListRoots),
    ] {
        let mut call = get_issue();
        call.operation.kind = kind;
        calls.push(call);
    }
    let mut reverse = get_issue();
    reverse.operation.initiator = Initiator::Server;
    calls.push(reverse);
    for call in &mut calls {
        for delegation in [None, Some(person("alice")), Some(agent("planner"))] {
            call.actor_chain = delegation.map(ActorChain::verified_from);
            call.subject
                .claims
                .insert("groups".to_owned(), json!(["x"]));
            call.workflow.purpose = Some("because".into());
            call.environment.source_address = "2001:db8::1".parse().ok();
            let plan = cedar_request::from_operation(
                &DecisionInputs::from(&snapshot),
                &call.operation,
                None,
                &caller,
            )
            .expect("it can be asked");
            assert!(!plan.is_declared);
            let task = task();
            for has_lived in [false, true] {
                let chain =
                    DelegationChain::from_call(&NOTHING, call, SystemTime::now()).expect("a chain");
                let evidence = VerifiedEvidence {
                    chain,
                    task: has_lived.then_some(&task),
                };
                let mut world = DecisionInputs::from(&snapshot);
                let session =
                    Session::new().after(Some(&schema::tool_uid("github", "merge")), &["a".into()]);
                if has_lived {
                    world.history = History {
                        spent_tools: &[],
                        tool_calls_left: Some(2),
                        carried: None,
                        session: Some(&session),
                        usage: Some(Usage::default()),
                        calls_left: Some(3),
                        definition: None,
                        approval_uses: &[],
                    };
                }
                let behind = ClaimedParties::from_call(call, &evidence);
                let scene =
                    RequestEntities::new(&snapshot, &call.subject, behind, evidence.task, asker)
                        .expect("the claims are text");
                let asking = RequestEvaluator {
                    inputs: &world,
                    call,
                    evidence: &evidence,
                    request: &plan,
                    entities: &scene,
                    approver: None,
                    now: SystemTime::now(),
                };
                let approver = person("alice");
                let approval = has_lived.then_some(ApprovalFacts {
                    approver: &approver,
                    age_seconds: 3,
                });
                for target in plan.targets.iter().map(Some).chain([None]) {
                    let ground = ContextInputs {
                        approval,
                        ..asking.context_inputs()
                    };
                    let facts = Facts::new(ground, &plan.operation, target).to_context();
                    let checked = snapshot.check_context(&plan.action, &facts);
                    assert_eq!(checked, Ok(()), "{call:?}");
                }
            }
        }
    }
}

fn task() -> Task {
    let now = SystemTime::now();
    let scope = Scope {
        tools: vec![schema::tool_uid("github", "get_issue")],
        servers: Vec::new(),
        groups: Vec::new(),
        access: schema::AccessLevel::Read,
        targets: Vec::new(),
    };
    Task {
        id: "t".into(),
        agent: agent("helper"),
        agent_owner: None,
        person: person("alice"),
        purpose: "to see".into(),
        scope: None,
        terms: Default::default(),
        call_budget: Some(5),
        steps: vec![TaskStep {
            name: "one".into(),
            scope,
        }],
        at_step: 0,
        opened_at: now,
        deadline: now + Duration::from_secs(60),
        closed_at: None,
    }
}

static NOTHING: LazyLock<Authority> = LazyLock::new(Authority::default);

#[test]
fn material_of_a_server_yields_what_its_tools_do_unless_it_is_said_otherwise() {
    let look = r#"permit (principal, action in Mcp::Action::"use_context", resource);"#;
    let mut call = get_issue();
    call.operation.kind = OperationKind::OnResource {
        operation: ResourceOperation::Read,
        uri: "https://h/a".into(),
    };
    let decision = ask(look, &call);
    assert!(decision.is_allow(), "{decision:?}");
    // No list of tools is at hand here.
    assert_eq!(*decision.effects.yields, ["untrusted", "private"]);
    let snapshot = world(look);
    let tools = RegisteredTools::from_snapshot(&snapshot);
    let inputs = DecisionInputs {
        tools: Some(&tools),
        ..DecisionInputs::from(&snapshot)
    };
    let labels_on = |server: &str| super::verify::server_labels(&inputs, &server.into());
    assert_eq!(*labels_on("github"), ["untrusted", "secret"]);
    assert_eq!(*labels_on("retired"), ["untrusted"]);
    assert_eq!(*labels_on("files"), ["private"]);
    call.operation.server = "files".into();
    assert_eq!(*ask(look, &call).effects.yields, ["private"]);
    call.operation.kind = OperationKind::List(Listing::Resources);
    let list = r#"permit (principal, action in Mcp::Action::"discover", resource);"#;
    assert!(ask(list, &call).effects.yields.is_empty());
}

#[test]
fn policies_know_the_server_whatever_is_asked_of_it() {
    let of_files = r#"permit (principal, action, resource) when { context has server && context.server == Mcp::Server::"files" };"#;
    let uri: smol_str::SmolStr = "file:///srv/docs/a".into();
    let mut call = get_issue();
    for kind in [
        OperationKind::OnResource {
            operation: ResourceOperation::Read,
            uri: uri.clone(),
        },
        OperationKind::OnResource {
            operation: ResourceOperation::Subscribe,
            uri: uri.clone(),
        },
        OperationKind::OnResource {
            operation: ResourceOperation::Complete,
            uri,
        },
        OperationKind::OnPrompt {
            operation: PromptOperation::Complete,
            name: "p".into(),
        },
        OperationKind::List(Listing::Resources),
        OperationKind::Connect { method: "ping" },
    ] {
        call.operation.kind = kind;
        call.operation.server = "files".into();
        assert!(ask(of_files, &call).is_allow(), "{call:?}");
        call.operation.server = "github".into();
        assert!(!ask(of_files, &call).is_allow(), "{call:?}");
    }
    let groups = r#"permit (principal, action, resource) when { context has server && context.server.active };"#;
    assert!(
        ask(groups, &get_issue()).is_allow(),
        "and what is stored of it"
    );
}

#[test]
fn what_a_result_may_hold_is_known_before_it_is_there() {
    let policies = r#"permit (principal, action, resource);"#;
    let effects = |server: &str, kind: OperationKind| {
        let mut call = get_issue();
        call.operation.server = server.into();
        call.operation.kind = kind;
        let verdict = ask(policies, &call);
        assert!(verdict.is_allow(), "{call:?}");
        let labels: Vec<String> = verdict
            .effects
            .yields
            .iter()
            .map(SmolStr::to_string)
            .collect();
        (labels, verdict.effects)
    };
    let connect = |method: &'static str| OperationKind::Connect { method };
    for method in ["initialize", "ping", "subscriptions/listen", "reply", "GET"] {
        let (labels, effects) = effects("files", connect(method));
        assert!(labels.is_empty() && !effects.is_unnamed, "{method}");
    }
    for method in [
        "tasks/get",
        "tasks/result",
        "tasks/list",
        "tasks/cancel",
        "tasks/update",
    ] {
        // No list of tools is at hand here, so any of them may have read anything.
        let (labels, on_files) = effects("files", connect(method));
        assert_eq!(labels, ["private", "untrusted"], "{method}");
        assert!(on_files.is_unnamed && on_files.reads);
        assert_eq!(on_files.on_server, Some(schema::everything_on("files")));
        let (labels, _) = effects("github", connect(method));
        assert_eq!(labels, ["untrusted", "private"], "{method}");
    }
    let complete = |uri: &str| OperationKind::OnResource {
        operation: ResourceOperation::Complete,
        uri: uri.into(),
    };
    assert_eq!(effects("files", complete("file:///{a}")).0, ["private"]);
    let prompt = OperationKind::OnPrompt {
        operation: PromptOperation::Complete,
        name: "p".into(),
    };
    // Nor does this server say what its prompts yield.
    assert_eq!(effects("github", prompt).0, ["untrusted", "private"]);
}

#[test]
fn a_policy_tells_what_fetches_an_earlier_result_from_what_keeps_a_connection() {
    let policies = r#"permit (principal, action, resource);
        forbid (principal, action == Mcp::Action::"connect", resource) when { context has earlier_result && context.earlier_result };
        forbid (principal, action == Mcp::Action::"list_tools", resource) when { context has earlier_result };"#;
    let decided = |kind: OperationKind| {
        let mut call = tool_call("files", "find", json!({ "path": "/srv/a" }));
        call.operation.kind = kind;
        ask(policies, &call).is_allow()
    };
    let connect = |method: &'static str| decided(OperationKind::Connect { method });
    for method in ["initialize", "ping", "reply", "GET", "DELETE"] {
        assert!(connect(method), "{method}");
    }
    for method in [
        "tasks/get",
        "tasks/result",
        "tasks/cancel",
        "resume",
        "unawaited",
    ] {
        assert!(!connect(method), "{method}");
    }
    assert!(decided(OperationKind::List(Listing::Tools)));
}

#[test]
fn a_call_that_names_none_of_its_targets_may_act_upon_any() {
    let policies = r#"permit (principal, action, resource);"#;
    let effects = |arguments: Json| ask(policies, &tool_call("files", "find", arguments)).effects;
    let named = effects(json!({ "path": "/srv/a" }));
    assert!(!named.is_unnamed && named.on_server.is_none());
    for arguments in [json!({}), json!({ "path": null }), json!({ "path": [] })] {
        let unnamed = effects(arguments);
        assert_eq!(unnamed.on_server, Some(schema::everything_on("files")));
        assert!(unnamed.is_unnamed && unnamed.reads);
    }
    // A tool that acts upon nothing in particular finds nothing.
    assert!(!ask(policies, &get_issue()).effects.is_unnamed);
}

#[test]
fn what_a_server_sends_late_comes_after_the_last_call_of_its_task() {
    let (snapshot, now) = (
        world("permit (principal, action, resource);"),
        SystemTime::now(),
    );
    let (caller, claims) = (Caller::local(), ClaimMapping::default());
    let mut authority = Authority::default();
    authority.tasks.insert_mut(Arc::new(Task {
        steps: Vec::new(),
        ..task()
    }));
    for (method, comes) in [
        ("unawaited", true),
        ("notifications/tasks", true),
        ("resume", false),
        ("tasks/result", false),
        ("initialize", false),
    ] {
        let inputs = DecisionInputs {
            authority: &authority,
            history: History {
                calls_left: Some(0),
                ..History::default()
            },
            ..DecisionInputs::from(&snapshot)
        };
        let mut call = get_issue();
        call.workflow.task_id = Some("t".into());
        call.operation.kind = OperationKind::Connect { method };
        let requester = Requester {
            caller: &caller,
            claims: &claims,
        };
        let verdict = decide(inputs, &call, requester, now);
        assert_eq!(verdict.is_allow(), comes, "{method}: {verdict:?}");
        assert_eq!(verdict.effects.budget, None, "{method}");
    }
}

#[test]
fn authority_for_one_tool_covers_lists_and_neither_prompts_nor_results() {
    let policies = "permit (principal, action, resource);";
    let (snapshot, now) = (world(policies), SystemTime::now());
    let (caller, claims) = (Caller::local(), ClaimMapping::default());
    let decided = |scope: Scope, kind: OperationKind| {
        let mut authority = Authority::default();
        authority.tasks.insert_mut(Arc::new(Task {
            scope: Some(scope),
            steps: Vec::new(),
            ..task()
        }));
        let inputs = DecisionInputs {
            authority: &authority,
            ..DecisionInputs::from(&snapshot)
        };
        let mut call = get_issue();
        call.workflow.task_id = Some("t".into());
        call.operation.kind = kind;
        let requester = Requester {
            caller: &caller,
            claims: &claims,
        };
        decide(inputs, &call, requester, now)
    };
    let one_tool = || task().steps.remove(0).scope;
    let whole = || Scope {
        tools: Vec::new(),
        servers: vec![schema::server_uid(&"github".into())],
        access: AccessLevel::Write,
        ..one_tool()
    };
    let bounded = || Scope {
        targets: vec![schema::entity_uid(&schema::TYPES.resource, "https://h/a")],
        ..whole()
    };
    let connect = |method| OperationKind::Connect { method };
    let looking = [
        OperationKind::List(Listing::Prompts),
        connect("ping"),
        connect("reply"),
    ];
    for kind in looking {
        for scope in [one_tool(), whole(), bounded()] {
            let verdict = decided(scope, kind.clone());
            assert!(verdict.is_allow(), "{kind:?}: {verdict:?}");
            assert_eq!(verdict.effects.budget, None, "{kind:?}");
        }
    }
    let bringing = [
        connect("tasks/result"),
        connect("tasks/get"),
        connect("tasks/cancel"),
        connect("tasks/update"),
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
            uri: "https://h/b".into(),
        },
    ];
    for kind in bringing {
        for scope in [one_tool(), bounded()] {
            let denied = decided(scope, kind.clone());
            assert_eq!(denied.reasons.len(), 1, "{kind:?}");
            assert_eq!(
                denied.reasons[0].code,
                ReasonCode::TaskOutOfScope,
                "{kind:?}"
            );
        }
        let verdict = decided(whole(), kind.clone());
        assert!(verdict.is_allow(), "{kind:?}: {verdict:?}");
        let budget = verdict.effects.budget.map(|(_, size)| size);
        assert_eq!(budget, Some(5), "{kind:?}");
        assert!(verdict.effects.reads, "{kind:?}");
    }
    // What changes a task of MCP is no reading.
    let reading = || Scope {
        access: AccessLevel::Read,
        ..whole()
    };
    assert!(decided(reading(), connect("tasks/result")).is_allow());
    for method in ["tasks/cancel", "tasks/update"] {
        let denied = decided(reading(), connect(method));
        assert_eq!(
            denied.reasons[0].code,
            ReasonCode::TaskOutOfScope,
            "{method}"
        );
    }
}

#[test]
fn scopes_beside_stored_delegations_need_who_may_state_and_has_verified_them() {
    let policies = r#"permit (principal, action, resource)
        when { context has delegation && context.delegation.scopes.contains("slack:write") };"#;
    let (snapshot, now) = (world(policies), SystemTime::now());
    let mut authority = Authority::default();
    authority.delegations.insert_mut(Arc::new(Delegation {
        id: "d".into(),
        from: person("alice"),
        to: agent("helper"),
        scope: Scope {
            servers: vec![schema::server_uid(&"github".into())],
            ..task().steps.remove(0).scope
        },
        task: None,
        parent: None,
        max_redelegations: 0,
        not_before: now,
        expires_at: now + Duration::from_secs(60),
        revoked_at: None,
        created_at: now,
        owners: Default::default(),
    }));
    let inputs = DecisionInputs {
        authority: &authority,
        ..DecisionInputs::from(&snapshot)
    };
    let decided = |scopes: &[&str], verified: bool, assert_delegation: bool| {
        let mut call = get_issue();
        call.actor_chain = Some(ActorChain {
            scopes: scopes.iter().map(SmolStr::new).collect(),
            verified,
            ..ActorChain::from_delegation_ids(vec!["d".into()])
        });
        let mut caller = Caller::local();
        caller.rights.assert_delegation = assert_delegation;
        let requester = Requester {
            caller: &caller,
            claims: &ClaimMapping::default(),
        };
        let verdict = decide(inputs, &call, requester, now);
        verdict.reasons.first().map(|reason| reason.code)
    };
    let written = &["slack:write"];
    assert_eq!(decided(written, true, true), None);
    for (verified, may) in [(true, false), (false, true), (false, false)] {
        let code = decided(written, verified, may);
        assert_eq!(code, Some(ReasonCode::CallerNotTrusted), "{verified} {may}");
        // Without any the stored delegation says all there is to say.
        let code = decided(&[], verified, may);
        assert_eq!(code, Some(ReasonCode::NoPermit), "{verified} {may}");
    }
}

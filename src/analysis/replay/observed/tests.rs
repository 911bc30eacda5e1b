use serde_json::json;

use super::world_tests::{
    Asked, Decider, adopted, by_helper, files, for_whom, observed, of_client, proposal, reverse,
    source, tool, tool_on, with_proposal,
};
use super::*;
use crate::analysis::replay::replay;
use crate::domain::fixtures::{agent, person};
use crate::domain::reason::ReasonCode;
use crate::domain::request::call_context::{CallContext, Initiator, Operation};
use crate::domain::request::operation::{
    ClientOperation, OperationKind, ResourceOperation, Sampling,
};

const POLICIES: &str = r#"
    @id("reads") permit (principal, action in Mcp::Action::"call_read", resource == Mcp::Tool::"notes/read");
    @id("no_wipe") forbid (principal, action in Mcp::Action::"call_tool", resource == Mcp::Tool::"notes/wipe");
"#;

fn calls(of_helper: &[(&str, &str)]) -> Vec<Asked> {
    let each = of_helper.iter();
    each.map(|(server, name)| by_helper(tool(server, name)).into())
        .collect()
}

fn read(server: &str, uri: &str) -> CallContext {
    let kind = OperationKind::OnResource {
        operation: ResourceOperation::Read,
        uri: uri.into(),
    };
    by_helper(Operation::new(Initiator::Client, server, kind))
}

#[test]
fn what_is_proposed_allows_what_was_observed_and_leaves_the_rest_to_a_person() {
    let files = files(POLICIES);
    let mut asked = calls(&[
        ("notes", "read"),
        ("notes", "list"),
        ("notes", "wipe"),
        ("notes", "append_line"),
        ("notes", "append_line"),
        ("blog", "getPage"),
        ("no server", "x"),
    ]);
    let mut ghost = by_helper(tool("notes", "read"));
    ghost.subject.entity = agent("ghost");
    asked.push(ghost.into());
    let records = observed(&files, &asked);
    let proposal = propose(&files, || Ok(records.clone().into_iter()), 1).expect("a proposal");
    assert_eq!((proposal.would_be_denied, proposal.allowed_already), (7, 0));
    assert_eq!((proposal.allowed, proposal.tools), (4, 2), "{proposal:#?}");
    let left: Vec<_> = proposal
        .left
        .iter()
        .map(|(code, it)| (code.as_str(), it.count))
        .collect();
    assert_eq!(
        left,
        [
            ("FORBIDDEN", 1),
            ("SERVER_UNKNOWN", 1),
            ("SUBJECT_UNKNOWN", 1)
        ]
    );
    assert!(proposal.left.values().all(|it| !it.why.is_empty()));
    assert_eq!(proposal.by_hand[0].what, "server `no server`");

    // Applied as a person would apply it, no call that was proposed for is denied any more.
    let applied = adopted(&files, &proposal);
    let candidate = Candidate::from_bundle(&bundle::compile(&applied).expect("it compiles"));
    let report = replay(&candidate, records.into_iter(), 1, |_| {});
    assert_eq!(report.flipped, 4, "{report:#?}");
    assert!(
        report
            .flips
            .iter()
            .all(|group| group.becomes.decision == "allow")
    );
    insta::assert_snapshot!(proposal.policies);
}

#[test]
fn nothing_is_proposed_for_what_was_enforced() {
    let files = files(POLICIES);
    let mut records = observed(&files, &calls(&[("notes", "list")]));
    records[0].is_enforced = true;
    let proposal = propose(&files, || Ok(records.clone().into_iter()), 1).expect("a proposal");
    assert_eq!((proposal.records, proposal.would_be_denied), (1, 0));
    assert!(proposal.policies.is_empty() && proposal.registrations.is_empty());
}

/// Nothing is proposed of a list, but whoever waits until nothing is waived hears that some would be shorter.
#[test]
fn lists_that_would_have_been_shorter_are_told() {
    let files = files(POLICIES);
    let mut records = observed(
        &files,
        &calls(&[("notes", "list"), ("notes", "append_line")]),
    );
    (records[0].is_allow, records[0].shown) = (true, 3);
    let proposal = propose(&files, || Ok(records.clone().into_iter()), 1).expect("a proposal");
    assert_eq!((proposal.lists, proposal.shown_entries), (1, 3));
    assert_eq!(proposal.would_be_denied, 1);
}

#[test]
fn a_proposal_goes_on_where_the_last_one_ended_and_takes_nothing_away() {
    let mut files = files(POLICIES);
    let all = calls(&[
        ("notes", "list"),
        ("notes", "append_line"),
        ("blog", "getPage"),
    ]);
    let records = observed(&files, &all);
    let mut names = Vec::new();
    for round in 1..=all.len() {
        let seen = records[..round].to_vec();
        let proposal = propose(&files, || Ok(seen.clone().into_iter()), 1).expect("a proposal");
        assert_eq!(proposal.allowed, round as u64, "{proposal:#?}");
        names.push(proposal.policy_file.clone());
        files = adopted(&files, &proposal);
        let candidate = Candidate::from_bundle(&bundle::compile(&files).expect("it compiles"));
        let report = replay(&candidate, seen.into_iter(), 1, |_| {});
        assert_eq!(report.flipped, round as u64, "{report:#?}");
    }
    assert_eq!(
        names,
        ["observed.cedar", "observed-2.cedar", "observed-3.cedar"]
    );
}

#[test]
fn new_targets_and_parties_are_proposed_beside_permits_of_before() {
    let save = |path: &str| by_helper(tool_on("notes", "save", json!({ "path": path })));
    let first = files("");
    let files = adopted(&first, &proposal(&first, &[save("/a").into()]));
    let for_bob = for_whom(save("/a"), Some(person("bob")));
    let (proposal, decider) = with_proposal(&files, &[save("/b").into(), for_bob.clone().into()]);
    assert_eq!(proposal.allowed, 2, "{proposal:#?}");
    assert!(decider.allows(save("/a")) && decider.allows(save("/b")) && decider.allows(for_bob));
    assert!(!decider.allows(for_whom(save("/b"), Some(person("bob")))));
}

#[test]
fn what_a_server_calls_no_client_may_call() {
    let files = files("");
    let (proposal, decider) = with_proposal(&files, &[reverse("notes", "list").into()]);
    assert_eq!(
        (proposal.allowed, proposal.permits),
        (1, 3),
        "{proposal:#?}"
    );
    assert!(
        !proposal.policies.contains("call_tool"),
        "{}",
        proposal.policies
    );
    assert!(decider.allows(reverse("notes", "list")));
    // The other way round, by those who took part.
    assert!(!decider.allows(by_helper(tool("notes", "list"))));
    let own = CallContext {
        actor_chain: None,
        ..by_helper(tool("notes", "list"))
    };
    assert!(!decider.allows(own));
    // Of another tool, and by another server.
    assert!(!decider.allows(reverse("notes", "read")));
    assert!(!decider.allows(reverse("wiki", "list")));
}

#[test]
fn what_a_server_asks_of_the_client_is_permitted_as_far_as_it_was_asked() {
    let files = files("");
    let sample = |server: &str, max_tokens, include: &str, system| {
        let sampling = Sampling {
            max_tokens,
            include_context: include.into(),
            tools: vec!["search".into()],
            messages: 2,
            has_system_prompt: system,
        };
        of_client(server, OperationKind::Sample(sampling))
    };
    let form = |server: &str, field: &str| {
        let requested_schema =
            json!({ "type": "object", "properties": { field: { "type": "string" } } });
        let message = "please".to_owned();
        let kind = OperationKind::ElicitForm {
            message,
            requested_schema,
        };
        of_client(server, kind)
    };
    let page = |url: &str| of_client("notes", OperationKind::ElicitUrl { url: url.into() });
    let roots =
        |server: &str| of_client(server, OperationKind::OnClient(ClientOperation::ListRoots));
    let asked = [
        sample("notes", 100, "none", false),
        sample("notes", 200, "thisServer", false),
        form("notes", "city"),
        page("https://example.com/a"),
        roots("notes"),
    ];
    let (proposal, decider) = with_proposal(&files, &asked.clone().map(Into::into));
    assert_eq!(
        (proposal.allowed, proposal.permits),
        (5, 4),
        "{proposal:#?}"
    );
    for it in asked {
        assert!(decider.allows(it));
    }
    for other in [
        sample("notes", 201, "none", false),
        sample("notes", 100, "allServers", false),
        sample("notes", 100, "none", true),
        sample("wiki", 100, "none", false),
        form("notes", "password"),
        form("wiki", "city"),
        page("https://example.org/a"),
        page("http://example.com/a"),
        roots("wiki"),
    ] {
        assert!(
            !decider.allows(other.clone()),
            "{other:?}\n{}",
            proposal.policies
        );
    }
    insta::assert_snapshot!(proposal.policies);
}

#[test]
fn a_call_that_needs_an_approval_is_asked_for_one() {
    let policies = r#"
        @id("pays") permit (principal == Mcp::User::"alice", action == Mcp::Action::"call_write", resource == Mcp::Tool::"notes/pay")
        when { context has approval };
        @id("approves") permit (principal == Mcp::User::"alice", action == Mcp::Action::"approve_call", resource);
    "#;
    let files = files(policies);
    let pay = || by_helper(tool("notes", "pay"));
    let (proposal, decider) = with_proposal(&files, &[pay().into()]);
    assert_eq!((proposal.allowed, proposal.asks_for_approval), (0, 1));
    // The agent has its permit; Alice's asks for the approval.
    assert_eq!(proposal.permits, 1, "{proposal:#?}");
    assert!(
        !proposal
            .policies
            .contains("principal == Mcp::User::\"alice\"")
    );
    let verdict = decider.verdict(pay());
    assert_eq!(verdict.reasons[0].code, ReasonCode::ApprovalRequired);
    assert!(verdict.challenge.is_some());
    // Nothing is missing any more.
    let again = super::world_tests::proposal(&adopted(&files, &proposal), &[pay().into()]);
    assert_eq!((again.permits, again.asks_for_approval), (0, 1));
}

#[test]
fn an_approval_that_others_need_or_that_lifts_a_forbid_is_asked_for() {
    let approves = r#"@id("approves") permit (principal == Mcp::User::"alice", action == Mcp::Action::"approve_call", resource);"#;
    let of_others = r#"
        @id("pays") permit (principal in Mcp::Group::"finance", action == Mcp::Action::"call_write", resource == Mcp::Tool::"notes/pay")
        when { context has approval && context.approval.age_seconds < 60 };
    "#;
    let forbidden = r#"
        @id("no_pay") forbid (principal, action == Mcp::Action::"call_write", resource == Mcp::Tool::"notes/pay")
        unless { context has approval };
    "#;
    for policies in [of_others, forbidden] {
        let files = files(&format!("{policies}{approves}"));
        let pay = || by_helper(tool("notes", "pay"));
        let save = || by_helper(tool("notes", "list"));
        let (proposal, decider) = with_proposal(&files, &[pay().into(), save().into()]);
        assert_eq!(
            (proposal.allowed, proposal.asks_for_approval),
            (1, 1),
            "{proposal:#?}"
        );
        assert_eq!(
            proposal
                .policies
                .matches("when { context has approval }")
                .count(),
            2
        );
        let verdict = decider.verdict(pay());
        assert_eq!(verdict.reasons[0].code, ReasonCode::ApprovalRequired);
        assert!(decider.allows(save()));
    }
}

#[test]
fn conditions_of_a_permit_that_is_there_stay_in_force() {
    for condition in [
        "context.identity.verified",
        "context has session",
        "context has task",
        "!context.labels.contains(\"private\")",
        "context has purpose && context.purpose == \"audit\"",
        "context.arguments.undeclared.isEmpty()",
    ] {
        let policies = format!(
            "@id(\"lists\") permit (principal, action == Mcp::Action::\"call_read\", resource == Mcp::Tool::\"notes/list\") when {{ {condition} }};"
        );
        let files = files(&policies);
        let mut call = by_helper(tool("notes", "list"));
        call.subject.identity.verified = false;
        let (proposal, decider) = with_proposal(&files, &[call.clone().into()]);
        assert_eq!(proposal.permits, 0, "{condition}\n{}", proposal.policies);
        assert!(!decider.allows(call));
        let by_hand = &proposal.by_hand[0];
        assert_eq!(by_hand.what, "policy `lists` (a.cedar:1)");
        assert_eq!(by_hand.count, 1);
    }
}

#[test]
fn a_permit_whose_conditions_are_about_others_hinders_nothing() {
    let policies = r#"
        permit (principal, action in Mcp::Action::"call_tool", resource)
        when { principal in Mcp::Group::"finance" && context has session };
        permit (principal, action in Mcp::Action::"call_tool", resource)
        when { resource.sensitivity == "public" && context.identity.verified };
        permit (principal, action in Mcp::Action::"use_context", resource)
        when { context has server && context.server == Mcp::Server::"wiki" };
        permit (principal, action in [Mcp::Action::"call_tool", Mcp::Action::"use_context"], resource)
        when { context has delegation.root && context.delegation.root == Mcp::User::"bob" };
    "#;
    let files = files(policies);
    let asked = [by_helper(tool("notes", "list")), read("notes", "file:///a")];
    let (proposal, decider) = with_proposal(&files, &asked.clone().map(Into::into));
    assert_eq!(proposal.allowed, 2, "{proposal:#?}");
    for it in asked {
        assert!(decider.allows(it));
    }
}

#[test]
fn a_proposed_permit_states_what_all_calls_had() {
    let files = files("");
    let with_session = |path: &str| Asked {
        is_in_session: true,
        ..by_helper(tool_on("notes", "save", json!({ "path": path }))).into()
    };
    let (proposal, decider) = with_proposal(&files, &[with_session("/a/b"), with_session("/a/c")]);
    assert_eq!(proposal.allowed, 2, "{proposal:#?}");
    assert!(decider.allows(with_session("/a/b")));
    let without_session = Asked {
        is_in_session: false,
        ..with_session("/a/b")
    };
    assert!(!decider.allows(without_session));
    let mut unverified = with_session("/a/b");
    unverified.call.subject.identity.verified = false;
    assert!(!decider.allows(unverified));
    let mut other_chain = with_session("/a/b");
    other_chain.call.actor_chain.as_mut().expect("one").verified = false;
    assert!(!decider.allows(other_chain));
    for other in ["/a/d", "/a", "/b"] {
        assert!(!decider.allows(with_session(other)), "{other}");
    }
    let mut without_target = with_session("/a/b");
    without_target.call.operation = tool_on("notes", "save", json!({}));
    assert!(!decider.allows(without_target));
    insta::assert_snapshot!(proposal.policies);
}

#[test]
fn what_only_some_calls_had_is_not_demanded() {
    let files = files("");
    let call = || Asked::from(by_helper(tool("notes", "list")));
    let in_session = Asked {
        is_in_session: true,
        ..call()
    };
    let (proposal, decider) = with_proposal(&files, &[call(), in_session.clone()]);
    assert_eq!(proposal.allowed, 2);
    assert!(decider.allows(call()) && decider.allows(in_session));
}

#[test]
fn a_resource_is_permitted_through_the_server_that_was_asked_alone() {
    let files = files("");
    let uri = "https://example.com/page";
    let (proposal, decider) = with_proposal(&files, &[read("notes", uri).into()]);
    assert_eq!(proposal.allowed, 1, "{proposal:#?}");
    assert!(decider.allows(read("notes", uri)));
    assert!(!decider.allows(read("wiki", uri)));
    assert!(!decider.allows(read("notes", "https://example.com/other")));
    // What a query carries was not read.
    assert!(!decider.allows(read("notes", "https://example.com/page?q=secret")));
    let subscribe = OperationKind::OnResource {
        operation: ResourceOperation::Subscribe,
        uri: uri.into(),
    };
    let subscribe = Operation::new(Initiator::Client, "notes", subscribe);
    assert!(!decider.allows(by_helper(subscribe)));
}

#[test]
fn what_a_user_interface_calls_the_agent_may_not_call_by_itself() {
    let files = files("");
    let by_ui = || {
        let mut call = by_helper(tool("notes", "list"));
        call.operation.initiator = Initiator::Ui;
        call
    };
    let (proposal, decider) = with_proposal(&files, &[by_ui().into()]);
    assert_eq!(proposal.allowed, 1, "{proposal:#?}");
    assert!(decider.allows(by_ui()) && !decider.allows(by_helper(tool("notes", "list"))));
}

#[test]
fn under_strict_validation_it_is_proposed_and_told_what_would_be_a_fault() {
    let mut files = files(POLICIES);
    let strict = "[bundle]\nstrict = true\n";
    files
        .sources
        .push(source(FileKind::Config, "callgate.toml", strict));
    // Nothing defines Zoe: she is known to the identity provider alone.
    let call = || for_whom(by_helper(tool("notes", "list")), Some(person("zoe")));
    let proposal = proposal(&files, &[call().into()]);
    assert!(proposal.is_strict);
    assert_eq!(
        (proposal.permits, proposal.allowed),
        (2, 1),
        "{proposal:#?}"
    );
    assert!(!proposal.warnings.is_empty());
    let said = proposal.warnings.iter().map(|it| &it.message);
    assert!(said.clone().any(|it| it.contains("zoe")), "{said:?}");
    files.sources.pop();
    assert!(Decider::new(&adopted(&files, &proposal)).allows(call()));
}

#[test]
fn what_is_there_and_hinders_is_named() {
    let mut files = files("");
    let notes = files
        .sources
        .iter_mut()
        .find(|it| *it.file == *"tools/notes.json");
    let notes = notes.expect("a registration");
    let required = r#""kind": "path", "optional": false"#;
    let text: serde_json::Value = serde_json::from_str(&notes.text).expect("JSON");
    let mut text = text;
    text["tools"]["save"]["target_arguments"] =
        serde_json::from_str(&format!(r#"[{{ "argument": "path", {required} }}]"#)).expect("JSON");
    notes.text = text.to_string().into();
    let call = by_helper(tool_on("notes", "save", json!({})));
    let proposal = proposal(&files, &[call.into()]);
    assert_eq!((proposal.permits, proposal.tools), (0, 0));
    let by_hand = &proposal.by_hand[0];
    assert_eq!(
        by_hand.what,
        "calls of tool `save` of server `notes`, or its registration (tools/notes.json)"
    );
    assert_eq!(by_hand.count, 1);
    // What every call has to say is no matter of the registration.
    let config = "require_delegation = true\n";
    files
        .sources
        .push(source(FileKind::Config, "callgate.toml", config));
    let mut call = by_helper(tool_on("notes", "list", json!({})));
    call.actor_chain = None;
    let by_hand = &self::proposal(&files, &[call.into()]).by_hand[0];
    assert_eq!(by_hand.what, "calls of tool `list` of server `notes`");
}

#[test]
fn actions_that_declare_less_hinder_no_permit() {
    let mut files = files(POLICIES);
    let schema = r#"namespace Mcp {
        action "notes/list" in [call_read] appliesTo {
            principal: [User, Agent], resource: [Tool], context: {
                arguments: Arguments, initiator: String, identity?: Identity, environment: Environment,
                delegation?: Delegation,
            },
        };
    }"#;
    files
        .sources
        .push(source(FileKind::Schema, "own.cedarschema", schema));
    let asked = calls(&[("notes", "append_line"), ("notes", "list")]);
    let (proposal, decider) = with_proposal(&files, &asked);
    assert_eq!(
        (proposal.permits, proposal.allowed),
        (4, 2),
        "{proposal:#?}"
    );
    for it in asked {
        assert!(decider.allows(it));
    }
}

#[test]
fn a_permit_that_does_not_fit_the_directory_is_told_of_and_the_others_stay() {
    // That an action is in a group is looked up already.
    let mut files = files(
        r#"permit (principal, action == Mcp::Action::"call_read", resource == Mcp::Tool::"notes/read");"#,
    );
    // Whether a URL has a query is said by its entity.
    let config = "[schema]\nmax_dereference_level = 0\n";
    files
        .sources
        .push(source(FileKind::Config, "callgate.toml", config));
    let page = || read("notes", "https://example.com/page");
    let list = || by_helper(tool("notes", "list"));
    let (proposal, decider) = with_proposal(&files, &[page().into(), list().into()]);
    assert!(
        decider.allows(list()) && !decider.allows(page()),
        "{proposal:#?}"
    );
    assert_eq!(
        (proposal.permits, proposal.allowed),
        (2, 1),
        "{proposal:#?}"
    );
    assert_eq!(proposal.by_hand.len(), 2, "{proposal:#?}");
    for it in &proposal.by_hand {
        assert!(it.what.contains("https://example.com/page"), "{it:?}");
        assert!(it.what.contains("does not fit the directory"), "{it:?}");
    }
}

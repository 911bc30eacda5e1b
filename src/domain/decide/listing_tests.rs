use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::authn::caller::Caller;
use crate::config::claims::ClaimMapping;
use crate::domain::authority::state::Authority;
use crate::domain::authority::task::Task;
use crate::domain::decide::call;
use crate::domain::fixtures::{agent, get_issue, person, trusted, world};

/// A gateway that is trusted in what it asserts.
fn edge() -> Caller {
    Caller {
        id: "edge".into(),
        rights: trusted(),
        toolhive_agent: None,
        held: crate::authn::capacity::CallerUsage::default(),
    }
}

fn tools<const N: usize>(names: [&str; N]) -> [ListedItem; N] {
    names.map(|name| ListedItem::Tool {
        name: name.into(),
        definition: None,
    })
}

#[test]
fn a_list_shows_the_tools_that_some_call_could_reach() {
    let policies = r#"
        permit (principal in Mcp::Group::"staff", action == Mcp::Action::"call_read", resource);
        permit (principal, action == Mcp::Action::"github/create_issue", resource) when { context.input.title == "x" };
        forbid (principal, action, resource) unless { context has target || context.arguments.names.isEmpty() };
    "#;
    let caller = edge();
    let claims = ClaimMapping::default();
    let mut call = get_issue();
    call.operation.kind = OperationKind::List(Listing::Tools);
    let tools = tools(["get_issue", "create_issue", "merge", "nope"]);
    let list = |call: &CallContext| {
        let asker = Requester {
            caller: &caller,
            claims: &claims,
        };
        let verdicts = filter(
            &world(policies),
            call,
            &tools,
            asker,
            SystemTime::now(),
            false,
        );
        verdicts.map(|verdicts| verdicts.into_iter().map(|it| it.hidden).collect::<Vec<_>>())
    };
    let hidden = list(&call).expect("evidence holds");
    assert_eq!(
        hidden,
        [
            None,
            None,
            Some(ReasonCode::NoPermit),
            Some(ReasonCode::ToolUnknown)
        ]
    );
    call.subject.entity = agent("ghost");
    assert_eq!(
        list(&call).expect_err("nobody knows it").code,
        ReasonCode::SubjectUnknown
    );
}

#[test]
fn a_list_shows_the_prompts_and_resources_that_may_be_used() {
    let policies = r#"
        permit (principal, action == Mcp::Action::"get_prompt", resource == Mcp::Prompt::"github/review");
        permit (principal, action == Mcp::Action::"get_prompt", resource == Mcp::Prompt::"github/plan")
          when { context.arguments.names.contains("goal") };
        permit (principal, action == Mcp::Action::"read_resource", resource in Mcp::Resource::"file:///srv/docs");
        permit (principal, action == Mcp::Action::"read_resource", resource in Mcp::Resource::"file:///srv/plans")
          when { context has approval };
        forbid (principal, action == Mcp::Action::"read_resource", resource in Mcp::Resource::"file:///srv/docs/drafts");
    "#;
    let caller = edge();
    let claims = ClaimMapping::default();
    let asker = Requester {
        caller: &caller,
        claims: &claims,
    };
    let mut call = get_issue();
    let mut shown = |kind, offered: ListedItem| {
        call.operation.kind = kind;
        let hidden = filter(
            &world(policies),
            &call,
            &[offered],
            asker,
            SystemTime::now(),
            false,
        );
        hidden.expect("evidence holds")[0].hidden.is_none()
    };
    for (prompt, is_shown) in [("review", true), ("plan", true), ("deploy", false)] {
        let offered = ListedItem::Prompt(prompt.into());
        assert_eq!(
            shown(OperationKind::List(Listing::Prompts), offered),
            is_shown,
            "{prompt}"
        );
    }
    for (uri, is_shown) in [
        ("file:///srv/docs/a.md", true),
        ("file:///srv/docs/drafts/a.md", false),
        ("file:///srv/plans/a.md", true),
        ("file:///srv/secrets", false),
        ("file:///srv/docs/../secrets", false),
    ] {
        let offered = ListedItem::Resource(uri.into());
        assert_eq!(
            shown(OperationKind::List(Listing::Resources), offered),
            is_shown,
            "{uri}"
        );
    }
    for (template, is_shown) in [
        ("file:///srv/docs/{name}.md", true),
        ("file:///srv/docs/a{name}", true),
        ("file:///srv/docs/drafts/{name}", false),
        ("file:///srv/{+path}", false),
        ("{+uri}", false),
        ("", false),
    ] {
        let offered = ListedItem::Template(template.into());
        assert_eq!(
            shown(OperationKind::List(Listing::Resources), offered),
            is_shown,
            "{template}"
        );
    }
}

#[test]
fn what_a_task_says_of_one_tool_or_target_hides_no_tool_and_the_rest_does() {
    let caller = edge();
    let claims = ClaimMapping::default();
    let now = SystemTime::now();
    let mut authority = Authority::default();
    authority.tasks.insert_mut(Arc::new(Task {
        id: "t".into(),
        agent: agent("helper"),
        agent_owner: None,
        person: person("alice"),
        purpose: "to see".into(),
        scope: None,
        terms: Default::default(),
        call_budget: None,
        steps: Vec::new(),
        at_step: 0,
        opened_at: now,
        deadline: now + Duration::from_secs(60),
        closed_at: None,
    }));
    for (fact, is_shown) in [
        ("any_target", true),
        ("bounds_arguments", true),
        ("bounds_calls", true),
        ("bounds_targets", true),
        ("known_to_read", true),
        ("known_to_send", true),
        ("tool_calls_left > 1", true),
        ("lists_tools", false),
        ("has_any_target", false),
    ] {
        let name = fact.split(' ').next().unwrap_or_default();
        let policies = format!(
            "permit (principal, action, resource);
             forbid (principal, action, resource)
             unless {{ context has task && context.task has {name} && context.task.{fact} }};"
        );
        let snapshot = world(&policies);
        let inputs = DecisionInputs {
            authority: &authority,
            ..DecisionInputs::from(&snapshot)
        };
        let mut call = get_issue();
        call.operation.kind = OperationKind::List(Listing::Tools);
        call.workflow.task_id = Some("t".into());
        let asker = Requester {
            caller: &caller,
            claims: &claims,
        };
        let verdicts = filter(inputs, &call, &tools(["get_issue"]), asker, now, false);
        let hidden = verdicts.expect("evidence holds")[0].hidden;
        assert_eq!(hidden.is_none(), is_shown, "{fact}: {hidden:?}");
    }
}

#[test]
fn a_completion_is_asked_about_what_its_template_stands_for() {
    let policies = r#"permit (principal, action == Mcp::Action::"complete",
        resource in Mcp::Resource::"file:///srv/docs");"#;
    let caller = edge();
    let claims = ClaimMapping::default();
    let snapshot = world(policies);
    for (uri, is_allowed) in [
        ("file:///srv/docs/{name}", true),
        ("file:///srv/docs/a{name}.md", true),
        ("file:///srv/docs/b/c", true),
        ("file:///srv/{name}", false),
        ("file:///srv/docs{name}", false),
        ("file:///srv/docs/../b/", false),
        ("file:///srv/docs/..", false),
    ] {
        let mut call = get_issue();
        call.operation.kind = OperationKind::OnResource {
            operation: ResourceOperation::Complete,
            uri: uri.into(),
        };
        let asker = Requester {
            caller: &caller,
            claims: &claims,
        };
        let inputs = DecisionInputs::from(&snapshot);
        let verdict = call::decide(inputs, &call, asker, SystemTime::now());
        assert_eq!(
            verdict.is_allow(),
            is_allowed,
            "{uri}: {:?}",
            verdict.reasons
        );
    }
}

#[test]
fn a_forbid_that_is_always_enforced_holds_an_item_of_an_observed_list_whoever_it_is_about() {
    // The agent, which is asked about first, has no permit; the forbid is about its user.
    let policies = r#"
        permit (principal is Mcp::User, action, resource);
        @mode("enforce") forbid (principal is Mcp::User, action, resource == Mcp::Tool::"github/get_issue");
        // Which call it is about is not known: it holds none that the list could show.
        @mode("enforce") forbid (principal, action, resource)
          when { context has target && context.target in Mcp::Resource::"file:///srv/hr" };
    "#;
    let caller = edge();
    let claims = ClaimMapping::default();
    let mut call = get_issue();
    call.operation.kind = OperationKind::List(Listing::Tools);
    let tools = tools(["get_issue", "create_issue"]);
    let world = world(policies);
    let list = |is_observed| {
        let asker = Requester {
            caller: &caller,
            claims: &claims,
        };
        let verdicts = filter(&world, &call, &tools, asker, SystemTime::now(), is_observed);
        let verdicts = verdicts.expect("evidence holds");
        assert!(
            verdicts
                .iter()
                .all(|it| it.hidden == Some(ReasonCode::NoPermit)),
            "{verdicts:?}"
        );
        verdicts.iter().map(|it| it.is_held).collect::<Vec<_>>()
    };
    assert_eq!(list(true), [true, false]);
    assert_eq!(list(false), [false, false], "nobody asks");
}

use std::cell::RefCell;
use std::time::SystemTime;

use serde_json::json;

use super::*;
use crate::authn::caller::Caller;
use crate::config::claims::ClaimMapping;
use crate::domain::decide::call;
use crate::domain::decide::inputs::{DecisionInputs, Requester};
use crate::domain::decide::observer::EvaluationObserver;
use crate::domain::fixtures::{agent, world};
use crate::domain::request::call_context::{CallContext, Operation, Subject};

#[derive(Debug)]
struct First<'l, 's>(&'l Lacks<'s>, RefCell<Option<Option<Lack>>>);

impl EvaluationObserver for First<'_, '_> {
    fn evaluated(&self, evaluation: ObservedEvaluation<'_>) {
        let lack = self.0.of(&evaluation);
        self.1.borrow_mut().get_or_insert(lack);
    }
}

/// What `stray`, who is in no group, lacks to read a file that is not in `/docs`, outside of any session.
fn lack(policies: &str) -> Option<Lack> {
    let snapshot = world(policies);
    let arguments = json!({ "path": "/tmp/x" });
    let arguments = arguments.as_object().cloned().expect("an object");
    let operation = Operation::call_tool("files", "read", arguments);
    let call = CallContext::new(Subject::verified(agent("stray"), "jwt"), operation);
    let lacks = Lacks::new(&snapshot);
    let first = First(&lacks, RefCell::default());
    let inputs = DecisionInputs {
        observer: Some(&first),
        ..DecisionInputs::from(&snapshot)
    };
    let (caller, claims) = (Caller::local(), ClaimMapping::default());
    let requester = Requester {
        caller: &caller,
        claims: &claims,
    };
    let _ = call::decide(inputs, &call, requester, SystemTime::now());
    first.1.into_inner().expect("it was evaluated")
}

#[test]
fn what_keeps_a_permit_from_applying_decides_what_is_lacking() {
    let permit = |when: &str| {
        lack(&format!(
            "permit (principal, action in Mcp::Action::\"call_tool\", resource) when {{ {when} }};"
        ))
    };
    let bare = || Some(Lack::Permit { is_asked: false });
    let asked = || Some(Lack::Permit { is_asked: true });
    let circumstances = || Some(Lack::Circumstances(vec!["policy0".into()]));
    for (when, lacking) in [
        ("true", None),
        // About somebody else, another tool, or another party.
        (
            r#"principal in Mcp::Group::"staff" && context has session"#,
            bare(),
        ),
        (
            r#"context has session && principal in Mcp::Group::"staff""#,
            bare(),
        ),
        (
            r#"!(principal == Mcp::Agent::"stray") || resource.access == "write""#,
            bare(),
        ),
        (
            r#"context has delegation && context.delegation has root && context.delegation.root.active"#,
            bare(),
        ),
        (r#"context.initiator == "ui""#, bare()),
        // Its target alone: a proposed permit names that.
        (
            r#"context has target && context.target in Mcp::Resource::"file:///docs""#,
            bare(),
        ),
        // An approval.
        ("context has approval", Some(Lack::Approval)),
        (
            r#"context has approval && context.approval.age_seconds < 60 && principal == Mcp::Agent::"stray""#,
            Some(Lack::Approval),
        ),
        (
            r#"context has approval && context has target && context.target in Mcp::Resource::"file:///docs""#,
            asked(),
        ),
        (
            r#"context has approval && principal in Mcp::Group::"staff""#,
            asked(),
        ),
        (
            r#"context has approval && resource.access == "write""#,
            bare(),
        ),
        // Anything else.
        ("context has session", circumstances()),
        (
            "context has session && context has approval",
            circumstances(),
        ),
        ("!context.identity.verified", circumstances()),
        (r#"context.labels.isEmpty()"#, circumstances()),
        (
            r#"if context has task then context.task.lists_tools else resource.access == "write""#,
            circumstances(),
        ),
        (
            r#"context has target && context.target in Mcp::Resource::"file:///docs" && context has session"#,
            circumstances(),
        ),
        (
            r#"context has delegation && context.delegation.verified"#,
            bare(),
        ),
    ] {
        assert_eq!(permit(when), lacking, "{when}");
    }
}

#[test]
fn a_forbid_is_lacking_nothing_unless_an_approval_lifts_it() {
    let forbid = |clause: &str| {
        format!("forbid (principal, action, resource == Mcp::Tool::\"files/read\") {clause};")
    };
    let permit = "permit (principal, action in Mcp::Action::\"call_tool\", resource);";
    let lifted = forbid("unless { context has approval }");
    assert_eq!(lack(&forbid("")), Some(Lack::Other));
    assert_eq!(lack(&(forbid("") + permit)), Some(Lack::Other));
    assert_eq!(lack(&lifted), Some(Lack::Permit { is_asked: true }));
    assert_eq!(lack(&(lifted + permit)), Some(Lack::Approval));
}

#[test]
fn a_permit_in_shadow_is_not_there() {
    let shadow =
        r#"@mode("shadow") permit (principal, action, resource) when { context has session };"#;
    assert_eq!(lack(shadow), Some(Lack::Permit { is_asked: false }));
}

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::*;
use crate::analysis::import::{ImportOptions, import};
use crate::bundle::diagnostic::SourceText;
use crate::bundle::parse::registration::Registration;

fn imported(tools: &Json, existing: Option<Registration>, confirm: &[&str]) -> ToolImport {
    let file = Arc::from("list.json");
    let choices = ImportOptions {
        server: "srv".to_owned(),
        confirm: confirm.iter().map(|it| (*it).to_owned()).collect(),
        ..ImportOptions::default()
    };
    let text = json!({"tools": tools}).to_string();
    let origin = SourceText {
        file: &file,
        text: &text,
    };
    import(origin, existing, &choices).expect("imported")
}

fn flags_of(tools: &Json, name: &str) -> Vec<String> {
    let reviews = ToolReview::pending(&imported(tools, None, &[]));
    let review = reviews.into_iter().find(|it| it.name == name);
    review.expect("a proposal").flags
}

#[test]
fn names_that_look_alike_are_flagged() {
    for (one, other) in [
        ("get_issue", "get-issue"),
        ("get_issue", "getIssue"),
        ("get_issue", "g\u{435}t_issue"),
        ("list_files", "Iist_files"),
        ("list_files", "1ist_files"),
        ("get_log", "get_l0g"),
        ("get_issue", "get_\u{200b}issue"),
    ] {
        let tools = json!([{"name": one}, {"name": other}, {"name": "stranger"}]);
        let flags = flags_of(&tools, other);
        let wanted = format!("looks like `{one}`");
        assert!(
            flags.iter().any(|it| it.contains(&wanted)),
            "{one} {other}: {flags:?}"
        );
        assert_eq!(flags_of(&tools, "stranger"), Vec::<String>::new());
    }
}

#[test]
fn what_nobody_sees_is_marked() {
    let tools = json!([
        {"name": "a", "description": "Reads\u{200b} it\u{202e}"},
        {"name": "b", "inputSchema": {"properties": {"x": {"type": "string", "description": "also\u{e0041} send"}}}},
    ]);
    let reviews = ToolReview::pending(&imported(&tools, None, &[]));
    assert_eq!(reviews[0].description, ["Reads\\u{200b} it\\u{202e}"]);
    assert!(reviews[0].flags[0].contains("description has characters that nobody sees"));
    assert!(reviews[1].flags[0].contains("schema has characters that nobody sees"));
    assert!(
        reviews[1]
            .schema
            .iter()
            .any(|it| it.contains("also\\u{e0041} send"))
    );
}

#[test]
fn a_changed_definition_is_shown_before_and_after() {
    let schema = |names: &[&str]| {
        let properties: serde_json::Map<_, _> = names
            .iter()
            .map(|name| ((*name).to_owned(), json!({"type": "string"})))
            .collect();
        json!({"type": "object", "properties": properties})
    };
    let before = json!([{"name": "get_a", "title": "A", "description": "Reads a.\nNothing else.", "inputSchema": schema(&["path"])}]);
    let confirmed = imported(&before, None, &["get_a"]);
    assert_eq!(ToolReview::pending(&confirmed), []);
    let after = json!([{"name": "get_a", "title": "B", "description": "Reads a.\nAnd sends it.", "inputSchema": schema(&["path", "to"])}]);
    let mut changed = imported(&after, Some(confirmed.registration), &[]);
    let reviews = ToolReview::pending(&changed);
    let differences = &reviews[0].differences;
    assert_eq!(reviews[0].change, ToolChange::Changed);
    assert_eq!(differences[0].before, ["Nothing else."]);
    assert_eq!(differences[0].after, ["And sends it."]);
    assert!(differences[1].after.iter().any(|it| it.contains("\"to\"")));
    assert_eq!(differences[2].part, "title");
    // It changes once more: what somebody stood behind is still what it is compared with.
    let third = json!([{"name": "get_a", "description": "Third."}]);
    let again = imported(&third, Some(changed.registration.clone()), &[]);
    assert_eq!(
        ToolReview::pending(&again)[0].differences[0].before,
        ["Reads a.", "Nothing else."]
    );
    assert_eq!(changed.decide("get_a", ReviewDecision::Confirm), Ok(()));
    let entry = &changed.registration.tools["get_a"];
    assert_eq!(entry.previous_definition, None);
    assert_eq!(
        entry.description.as_deref(),
        Some("Reads a.\nAnd sends it.")
    );
}

#[test]
fn decisions_are_made_on_the_entry_and_its_line() {
    let mut it = imported(&json!([{"name": "frobnicate"}]), None, &[]);
    for decision in [
        ReviewDecision::Access(AccessLevel::Write),
        ReviewDecision::Yields(vec!["secret".to_owned()]),
        ReviewDecision::Egress(false),
        ReviewDecision::Confirm,
    ] {
        assert_eq!(it.decide("frobnicate", decision), Ok(()));
    }
    let entry = &it.registration.tools["frobnicate"];
    assert_eq!(
        (entry.access, entry.status),
        (AccessLevel::Write, ConfirmationStatus::Confirmed)
    );
    assert_eq!(
        (entry.yields.as_slice(), entry.egress),
        (&["secret".to_owned()][..], false)
    );
    assert_eq!((it.tools[0].access, it.awaiting()), (AccessLevel::Write, 0));
    assert!(it.decide("stranger", ReviewDecision::Confirm).is_err());
}

#[test]
fn targets_and_sensitivity_are_decided() {
    let text = json!({"type": "string"});
    let schema = json!({"properties": {"source": text, "note": text}, "required": ["source"]});
    let mut it = imported(
        &json!([{"name": "move_file", "inputSchema": schema}]),
        None,
        &[],
    );
    let target = |argument: &str, kind: Option<&str>| {
        ReviewDecision::Target(TargetArgumentForm {
            kind: kind.map(str::to_owned),
            ..TargetArgumentForm::named(argument)
        })
    };
    let of = |it: &ToolImport| {
        let targets = &it.registration.tools["move_file"].target_arguments;
        let targets = targets.iter();
        let named = targets.map(|it| (it.argument.clone(), it.kind.clone()));
        named.collect::<Vec<_>>()
    };
    assert_eq!(
        it.decide("move_file", target("source", Some("path"))),
        Ok(())
    );
    assert_eq!(of(&it), [("source".to_owned(), Some("path".to_owned()))]);
    let before = of(&it);
    for (decision, said) in [
        (target("other", None), "`other` is not among the arguments"),
        (target("note", None), "`note` may be left out"),
        (target("source", Some("pth")), "`pth`"),
        (
            ReviewDecision::NoTarget("note".to_owned()),
            "`note` is no target",
        ),
    ] {
        let error = it.decide("move_file", decision).expect_err(said);
        assert!(error.contains(said), "{error}");
        assert_eq!(of(&it), before);
    }
    let none = ReviewDecision::NoTarget("source".to_owned());
    assert_eq!(it.decide("move_file", none), Ok(()));
    assert_eq!(of(&it), []);
    let restricted = ReviewDecision::Sensitivity(Sensitivity::Restricted);
    assert_eq!(it.decide("move_file", restricted), Ok(()));
    let entry = &it.registration.tools["move_file"];
    assert_eq!(entry.sensitivity, Sensitivity::Restricted);
}

#[test]
fn a_label_that_is_nearly_one_of_callgate_is_told() {
    assert_eq!(meant_label("untrustd"), Some("untrusted"));
    assert_eq!(meant_label("untrusted"), None);
    assert_eq!(meant_label("payroll"), None);
}

use super::*;
use crate::audit::fixtures::{asked_and_used, records};
use crate::audit::record::schema::PrincipalVerdict;

fn events(version: Version) -> Vec<Value> {
    let mut events: Vec<_> = records()
        .iter()
        .filter_map(|it| event(it, "", version))
        .collect();
    for event in &mut events {
        event["metadata"]["product"]["version"] = "…".into();
    }
    events
}

#[test]
fn decisions_are_api_activities_and_writes_entity_management() {
    insta::assert_json_snapshot!(events(Version::V1_8));
}

#[test]
fn the_agent_is_a_member_of_its_own_from_1_9_on() {
    for event in events(Version::V1_9) {
        let profiles = event["metadata"]["profiles"].as_array();
        let has_profile = profiles.is_some_and(|it| it.contains(&"ai_operation".into()));
        assert_eq!(event.get("ai_agent").is_some(), has_profile);
        assert_eq!(event["class_uid"] == 6003, has_profile);
        assert_eq!(event["unmapped"].get("ai_agent"), None);
    }
}

#[test]
fn what_was_not_enforced_and_what_was_not_called_are_told_apart() {
    let told = |verdict: Verdict, is_dry_run: bool, is_observed: bool| {
        let kind = record::Kind::Decision(Decision {
            verdict: verdict.into(),
            is_dry_run,
            is_observed,
            ..Decision::default()
        });
        let record = Record {
            kind: Some(kind),
            ..Record::default()
        };
        let event = event(&record, "callgate/eu-1", Version::V1_8).expect("an event");
        assert_eq!(event["metadata"]["log_provider"], "callgate/eu-1");
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let flag = |name: &str| event["unmapped"][name] == true;
        (
            [text("action"), text("status"), text("status_detail")],
            [flag("is_dry_run"), flag("is_observed")],
        )
    };
    let texts = |texts: [&str; 3]| texts.map(str::to_owned);
    let passed = "observed: not enforced, the call went through";
    let asked = "dry run: no call was made";
    for (verdict, is_dry_run, is_observed, expected) in [
        (Verdict::Deny, false, false, ["Denied", "Failure", ""]),
        (Verdict::Allow, false, false, ["Allowed", "Success", ""]),
        (Verdict::Deny, false, true, ["Observed", "Success", passed]),
        (Verdict::Deny, true, false, ["Observed", "Failure", asked]),
        (Verdict::Allow, true, false, ["Observed", "Success", asked]),
        (Verdict::Deny, true, true, ["Observed", "Failure", asked]),
    ] {
        assert_eq!(
            told(verdict, is_dry_run, is_observed),
            (texts(expected), [is_dry_run, is_observed])
        );
    }
}

#[test]
fn a_call_by_an_action_of_the_tools_own_has_the_activity_of_its_level() {
    let activity = |access: AccessLevel, action: &str| {
        let principal = PrincipalVerdict {
            action: format!("Mcp::Action::\"{action}\""),
            access: access.into(),
            ..PrincipalVerdict::default()
        };
        let kind = record::Kind::Decision(Decision {
            operation: "tools/call".to_owned(),
            principals: vec![principal],
            ..Decision::default()
        });
        let record = Record {
            kind: Some(kind),
            ..Record::default()
        };
        let event = event(&record, "callgate/eu-1", Version::V1_8).expect("an event");
        event["activity_name"].as_str().map(str::to_owned)
    };
    for (access, action, wanted) in [
        (AccessLevel::Read, "slack/search", "Read"),
        (AccessLevel::Write, "slack/slack_post_message", "Update"),
        (AccessLevel::Admin, "slack/remove_channel", "Other"),
        // As records of before are.
        (
            AccessLevel::Unspecified,
            "slack/slack_post_message",
            "Other",
        ),
        (AccessLevel::Unspecified, "call_read", "Read"),
        (AccessLevel::Unspecified, "call_write", "Update"),
        (AccessLevel::Unspecified, "call_admin", "Other"),
    ] {
        let found = activity(access, action);
        assert_eq!(found.as_deref(), Some(wanted), "{action}");
    }
}

#[test]
fn an_event_says_what_was_asked_of_cedar_and_what_a_call_used_up() {
    let events = asked_and_used().map(|it| event(&it, "", Version::V1_8).expect("an event"));
    let [asked, searched, listed, called, written] = &events;
    assert_eq!(
        asked["message"],
        r#"deny cedar Mcp::Action::"call_read" on Mcp::Tool::"github/get_issue" by Mcp::User::"sam""#
    );
    assert_eq!(asked["activity_name"], "Read");
    let tool = r#"Mcp::Tool::"github/get_issue""#;
    let resource = json!({"uid": tool, "name": "github/get_issue", "type": "Mcp::Tool"});
    assert_eq!(asked["resources"], json!([resource]));
    let unmapped = &asked["unmapped"];
    assert_eq!(unmapped["cedar_action"], r#"Mcp::Action::"call_read""#);
    assert_eq!(unmapped["cedar_resource"], tool);
    assert_eq!(unmapped["reasons"][0]["policies"], json!(["no-issues"]));
    assert_eq!(
        searched["message"],
        r#"allow cedar/search for subject Mcp::Action::"call_read" on Mcp::Tool::"github/get_issue" (0 found)"#
    );
    let counts = |event: &Value| {
        ["sought", "kept", "hidden", "shown"].map(|name| event["unmapped"][name].clone())
    };
    assert_eq!(
        counts(searched),
        [json!("subject"), json!(0), json!(7), json!(null)]
    );
    assert_eq!(
        listed["message"],
        r#"allow tools/filter slack by Mcp::Agent::"research" (would have kept 1, hidden 3) (observed: not enforced, the call went through)"#
    );
    assert_eq!(counts(listed), [json!(null), json!(1), json!(3), json!(2)]);
    let unmapped = &called["unmapped"];
    assert_eq!(unmapped["approval_ids"], json!(["appr-1", "appr-2"]));
    assert_eq!(unmapped["side_effects"]["approval_id"], "appr-2");
    assert_eq!(unmapped["side_effects"]["target_labels"], json!(["secret"]));
    assert_eq!(unmapped["would_use"]["approval_id"], "appr-3");
    assert_eq!(
        unmapped["chain"]["actors"],
        json!([r#"Mcp::Agent::"planner""#])
    );
    assert_eq!(unmapped["chain"]["is_verified"], true);
    assert_eq!(unmapped["jsonrpc_id"], "17");
    let policy = json!({"id": "admins-may-grant", "owner": "security", "controls": ["AC-1"]});
    assert_eq!(written["unmapped"]["policies"], json!([policy]));
}

#[test]
fn a_search_for_subjects_has_no_user_without_a_name() {
    let kind = record::Kind::Decision(Decision {
        verdict: Verdict::Allow.into(),
        operation: "cedar/search".to_owned(),
        sought: "subject".to_owned(),
        caller: "pep".to_owned(),
        adapter: "authzen".to_owned(),
        ..Decision::default()
    });
    let record = Record {
        kind: Some(kind),
        ..Record::default()
    };
    for version in [Version::V1_8, Version::V1_9] {
        let event = event(&record, "", version).expect("an event");
        assert_eq!(event["actor"], json!({"invoked_by": "pep"}));
        assert_eq!(event["message"], "allow cedar/search for subject (0 found)");
    }
}

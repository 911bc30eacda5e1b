use super::*;
use crate::audit::fixtures::records;

fn events(version: Version) -> Vec<Value> {
    let mut events: Vec<_> = records()
        .iter()
        .filter_map(|it| event(it, version))
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
        let event = event(&record, Version::V1_8).expect("an event");
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

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

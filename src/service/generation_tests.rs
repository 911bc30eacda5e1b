use std::fs;

use callgate_engine::Reach;
use callgate_engine::cedar::PolicySet;

use super::*;
use crate::bundle;
use crate::domain::schema::TYPES;

const GROUPS: &str = r#"[
  {"uid": {"type": "Mcp::Group", "id": "staff"}, "attrs": {}, "parents": []}
]"#;

fn uid(id: &str) -> EntityUID {
    schema::entity_uid(&TYPES.user, id)
}

/// A person of the staff, active or not, in Cedar's JSON form.
fn person(id: &str, is_active: bool) -> Arc<str> {
    let json = format!(
        r#"{{"uid": {{"type": "Mcp::User", "id": "{id}"}}, "attrs": {{"active": {is_active}}},
            "parents": [{{"type": "Mcp::Group", "id": "staff"}}]}}"#
    );
    Arc::from(json)
}

/// A directory with the staff and these people.
fn directory(people: &[Arc<str>]) -> LoadedBundle {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |path: &str, text: &str| fs::write(dir.path().join(path), text).expect("a file");
    fs::create_dir(dir.path().join("entities")).expect("a directory");
    write("all.cedar", "permit (principal, action, resource);");
    write("entities/groups.json", GROUPS);
    write("entities/people.json", &format!("[{}]", people.join(",")));
    let bundle = bundle::load(dir.path()).unwrap_or_else(|faults| panic!("{faults}"));
    LoadedBundle {
        snapshot: bundle.snapshot,
        claims: bundle.config.claims,
        policy_set_digest: bundle.digest,
    }
}

fn put(
    generation: &Generation,
    id: &str,
    json: &Arc<str>,
) -> Result<Generation, StoredEntityError> {
    let change = Change::Entity {
        uid: uid(id),
        json: Arc::clone(json),
    };
    generation.with_change(&change, generation.revision() + 1)
}

fn is_active(generation: &Generation, id: &str) -> Option<bool> {
    use callgate_engine::cedar::{Literal, ValueKind};
    let active = generation.snapshot.entity(&uid(id))?.attribute("active")?;
    match active.value {
        ValueKind::Lit(Literal::Bool(value)) => Some(value),
        _ => None,
    }
}

#[test]
fn a_stored_entity_is_in_force_until_it_is_deleted() {
    let load = directory(&[]);
    let empty = Generation::new(load, Authority::default(), Default::default(), 1).expect("fits");
    let with = put(&empty, "ana", &person("ana", true)).expect("fits");
    assert_eq!(with.revision(), 2);
    assert_eq!(is_active(&with, "ana"), Some(true));
    let staff = schema::entity_uid(&TYPES.group, "staff");
    assert!(with.snapshot.is_in(&uid("ana"), &staff));
    let changed = put(&with, "ana", &person("ana", false)).expect("fits");
    assert_eq!(is_active(&changed, "ana"), Some(false));
    let gone = Change::EntityGone { uid: uid("ana") };
    let without = changed.with_change(&gone, 4).expect("fits");
    assert_eq!(is_active(&without, "ana"), None);
    assert!(without.stored.is_empty());
    // What was before has not changed.
    assert_eq!(is_active(&with, "ana"), Some(true));
}

#[test]
fn the_directory_wins_and_what_it_sets_aside_comes_back() {
    let load = directory(&[]);
    let empty = Generation::new(load, Authority::default(), Default::default(), 1).expect("fits");
    let stored = put(&empty, "ana", &person("ana", true)).expect("fits");
    let both = stored
        .with_bundle(directory(&[person("ana", false)]), 3)
        .expect("fits");
    assert_eq!(is_active(&both, "ana"), Some(false));
    assert_eq!(both.stored.shadowed().collect::<Vec<_>>(), [&uid("ana")]);
    assert_eq!(both.stored.len(), 1);
    let again = both.with_bundle(directory(&[]), 4).expect("fits");
    assert_eq!(is_active(&again, "ana"), Some(true));
    assert_eq!(again.stored.shadowed().count(), 0);
    // Deleting what is set aside leaves the directory's.
    let gone = Change::EntityGone { uid: uid("ana") };
    let deleted = both.with_change(&gone, 4).expect("fits");
    assert_eq!(is_active(&deleted, "ana"), Some(false));
}

#[test]
fn what_does_not_fit_the_schema_is_refused_by_name() {
    let load = directory(&[]);
    let empty = Generation::new(load, Authority::default(), Default::default(), 1).expect("fits");
    let odd: Arc<str> = Arc::from(
        r#"{"uid": {"type": "Mcp::User", "id": "ana"}, "attrs": {"active": "yes"}, "parents": []}"#,
    );
    let misfit = put(&empty, "ana", &odd).expect_err("no text");
    assert_eq!(misfit.uid, uid("ana"));
    assert!(misfit.to_string().contains("active"), "{misfit}");
    let other = put(&empty, "bob", &person("ana", true)).expect_err("another name");
    assert!(other.to_string().contains("named"), "{other}");
    // Stored under a schema that is gone: the directory does not go into service with it.
    let entities = [(uid("ana"), odd)].into_iter().collect();
    let load = directory(&[]);
    let misfit = Generation::new(load, Authority::default(), entities, 1).expect_err("no text");
    assert_eq!(misfit.uid, uid("ana"));
}

#[test]
fn a_bundle_with_the_same_entities_keeps_the_registered_tools_and_another_does_not() {
    const TOOL: &str = r#"{"uid": {"type": "Mcp::Tool", "id": "git/log"}, "attrs": {"access": "read", "confirmed": true,
        "yields": [], "egress": false, "sensitivity": "public", "owner": {"type": "Mcp::User", "id": "ana"}}, "parents": []}"#;
    let load = directory(&[Arc::from(TOOL)]);
    let tool = |generation: &Generation| {
        let uid = schema::entity_uid(&TYPES.tool, "git/log");
        generation.tools.get(&uid).cloned()
    };
    let first = Generation::new(load.clone(), Authority::default(), Default::default(), 1);
    let first = first.expect("it fits");
    let policies = PolicySet::new();
    let same = LoadedBundle {
        snapshot: load.snapshot.with_policies(&policies, Reach::Level(0)),
        ..load
    };
    let second = first.with_bundle(same, 2).expect("it fits");
    let kept = tool(&first).zip(tool(&second));
    assert!(kept.is_some_and(|(first, second)| Arc::ptr_eq(&first, &second)));
    let third = second.with_bundle(directory(&[Arc::from(TOOL)]), 3);
    let third = third.expect("it fits");
    let other = tool(&second).zip(tool(&third));
    assert!(other.is_some_and(|(second, third)| !Arc::ptr_eq(&second, &third)));
    let gone = third.with_bundle(directory(&[]), 4).expect("it fits");
    assert!(tool(&gone).is_none());
}

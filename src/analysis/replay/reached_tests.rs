//! Candidates that differ in their entities, and in who has to name a user.

use super::*;
use crate::bundle::files::{BundleFiles, FileKind, SourceFile};
use crate::bundle::{self};

/// The directory of the tests with these policies, and with other entities.
fn directory(policies: &str, entities: &[serde_json::Value]) -> Snapshot {
    let directory = world(policies);
    let schema = directory.schema().map(Arc::as_ref);
    let parsed = entities
        .iter()
        .map(|it| parse_entity(schema, &it.to_string()));
    let parsed: Vec<_> = parsed.map(|it| it.expect("an entity")).collect();
    directory.upsert(parsed).expect("no fault")
}

#[test]
fn what_only_the_candidate_reaches_is_counted_and_not_guessed() {
    let uid = |ty: &str, id: &str| json!({ "type": format!("Mcp::{ty}"), "id": id });
    let agent = |id: &str, owner: &str, parents: &[&str]| {
        let parents: Vec<_> = parents.iter().map(|id| uid("Group", id)).collect();
        json!({ "uid": uid("Agent", id), "parents": parents,
                "attrs": { "owner": { "__entity": uid("User", owner) }, "active": true } })
    };
    let server = json!({ "uid": uid("Server", "github"), "parents": [uid("Group", "night")],
        "attrs": { "owner": { "__entity": uid("User", "alice") }, "active": true } });
    let policies = format!(
        "{} {}",
        POLICIES.join("\n"),
        r#"@id("no_night") forbid (principal in Mcp::Group::"night", action, resource);
           @id("no_night_server") forbid (principal, action, resource in Mcp::Group::"night");"#
    );
    let stored = Stored::new();
    // It sets the stored `late` aside, which is in `night` and belongs to carol.
    let late = agent("late", "alice", &[]);
    let bundle = Bundle::from_directory(directory(&policies, std::slice::from_ref(&late)), &stored);
    let made = decisions(1_000, &bundle, &stored);
    for (what, entities) in [
        (
            "a group of an agent",
            vec![late.clone(), agent("stray", "alice", &["night"])],
        ),
        (
            "the owner of an agent",
            vec![late.clone(), agent("helper", "carol", &["staff"])],
        ),
        ("a group of a server", vec![late.clone(), server]),
        ("a stored entity that is no longer set aside", vec![]),
    ] {
        let other = Bundle::from_directory(directory(&policies, &entities), &stored);
        let mut replayer = Replayer::new(&other.candidate);
        let mut incomplete = 0;
        for (case, record) in &made {
            let RecordedCapsule::Kept(bytes) = &record.capsule else {
                unreachable!("every one has a capsule");
            };
            let capsule = Capsule::decode(bytes).expect("it decodes");
            match replayer.answer(&capsule) {
                Ok(ReplayedAnswer { verdict, .. }) => {
                    let direct = case.decide(&other);
                    assert_eq!(format!("{verdict:?}"), format!("{direct:?}"), "{what}");
                }
                Err(obstacle) => {
                    assert_eq!(obstacle, Obstacle::NewlyReached, "{what}");
                    incomplete += 1;
                }
            }
        }
        assert!(incomplete > 0, "{what}");
        assert!(incomplete < made.len(), "{what}: {incomplete}");
        let report = replay(&other.candidate, records(&made), 1, |_| {});
        let counted = report.not_replayed.incomplete.values().sum::<u64>();
        assert_eq!(counted as usize, incomplete, "{what}");
    }
}

#[test]
fn what_was_reached_and_not_stored_may_be_reached_by_a_candidate() {
    let uid = |ty: &str, id: &str| json!({ "type": format!("Mcp::{ty}"), "id": id });
    // Nobody has stored `ghosts`, and no directory has it.
    let stray = |active: bool| {
        json!({ "uid": uid("Agent", "stray"), "parents": [uid("Group", "ghosts")],
                "attrs": { "owner": { "__entity": uid("User", "alice") }, "active": active } })
    };
    let policies = POLICIES.join("\n");
    let stored = Stored::new();
    let with = |stray: serde_json::Value| directory(&policies, &[stray]);
    let bundle = Bundle::from_directory(with(stray(true)), &stored);
    let other = Bundle::from_directory(with(stray(false)), &stored);
    let made = decisions(500, &bundle, &stored);
    let report = replay(&other.candidate, records(&made), 1, |_| {});
    assert_eq!(report.replayed, 500, "{:?}", report.not_replayed);
}

/// A candidate of a directory that permits everything, with this configuration.
fn candidate(config: &str) -> Candidate {
    let source = |kind, file: &str, text: &str| SourceFile {
        kind,
        file: file.into(),
        stem: file.split('.').next().unwrap_or_default().into(),
        text: text.into(),
        digest: None,
    };
    let entities = json!([{ "uid": { "type": "Mcp::Agent", "id": "helper" }, "parents": [], "attrs": {
        "owner": { "__entity": { "type": "Mcp::User", "id": "alice" } }, "active": true } }]);
    let mut sources = vec![
        source(
            FileKind::Policies,
            "a.cedar",
            "permit (principal, action, resource);",
        ),
        source(FileKind::Entities, "a.json", &entities.to_string()),
    ];
    if !config.is_empty() {
        sources.push(source(FileKind::Config, "callgate.toml", config));
    }
    let compiled = bundle::compile(&BundleFiles::from_sources(sources));
    Candidate::from_bundle(&compiled.expect("no fault"))
}

#[test]
fn who_has_to_name_a_user_is_as_the_candidate_says() {
    let token = "0".repeat(64);
    let callers = format!(
        "require_delegation = true\n[[callers]]\nid = \"edge\"\ntoken_sha256 = [\"{token}\"]\n\
         [[callers]]\nid = \"lax\"\ntoken_sha256 = [\"{}\"]\nrequire_delegation = false\n",
        "1".repeat(64)
    );
    let mut call = tool_call("nowhere", "read", json!({}));
    call.actor_chain = None;
    for (config, id, then, demanded) in [
        ("", "local", true, true),
        ("", "local", false, false),
        ("require_delegation = true", "local", false, true),
        ("without_callers = true", "local", true, false),
        (&callers, "edge", false, true),
        (&callers, "lax", true, false),
        (&callers, "elsewhere", true, true),
        (&callers, "elsewhere", false, false),
    ] {
        let mut caller = Caller::local();
        caller.id = id.into();
        caller.rights.require_delegation = then;
        let (authority, entities) = (Authority::default(), ReachableEntities::default());
        let capsule = CallCapsule {
            with: DecidedWith {
                policy_set_digest: "sha256:recorded",
                caller: &caller,
                now: start(),
                authority: &authority,
                entities: &entities,
            },
            call: &call,
            history: History::default(),
            missing: MissingFacts::default(),
        };
        let capsule = Capsule::decode(&capsule.encode().expect("it fits")).expect("it decodes");
        let candidate = candidate(config);
        let verdict = Replayer::new(&candidate)
            .answer(&capsule)
            .expect("nothing is missing")
            .verdict;
        let is_demanded = verdict.reasons[0].code == ReasonCode::ContextMissing;
        assert_eq!(is_demanded, demanded, "{config} {id} {then}: {verdict:?}");
    }
}

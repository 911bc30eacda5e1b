use std::time::SystemTime;

use serde_json::json;

use super::*;
use crate::analysis::replay::RecordedCapsule;
use crate::analysis::replay::replay;
use crate::audit::capsule_content::MissingFacts;
use crate::audit::capsule_content::encode::{CallCapsule, DecidedWith};
use crate::audit::capsule_content::entities::ReachableEntities;
use crate::authn::caller::Caller;
use crate::domain::authority::state::Authority;
use crate::domain::decide::call;
use crate::domain::decide::inputs::{DecisionInputs, Requester};
use crate::domain::fixtures::{agent, person};
use crate::domain::request::call_context::{ActorChain, CallContext, Operation, Subject};

const POLICIES: &str = r#"
    @id("reads") permit (principal, action in Mcp::Action::"call_read", resource == Mcp::Tool::"notes/read");
    @id("no_wipe") forbid (principal, action in Mcp::Action::"call_tool", resource == Mcp::Tool::"notes/wipe");
"#;

fn source(kind: FileKind, file: &str, text: String) -> SourceFile {
    let stem = file
        .rsplit('/')
        .next()
        .and_then(|name| name.split('.').next());
    SourceFile {
        kind,
        file: file.into(),
        stem: stem.unwrap_or_default().into(),
        text: text.into(),
        digest: None,
    }
}

fn files() -> BundleFiles {
    let uid = |ty: &str, id: &str| json!({ "type": format!("Mcp::{ty}"), "id": id });
    let entities = json!([
        { "uid": uid("User", "alice"), "parents": [], "attrs": { "active": true } },
        { "uid": uid("Agent", "helper"), "parents": [],
          "attrs": { "owner": { "__entity": uid("User", "alice") }, "active": true } },
    ]);
    let tool = json!({ "access": "read", "status": "confirmed", "yields": [], "egress": false, "sensitivity": "internal" });
    let registration = json!({
        "server": { "name": "notes", "owner": "alice" },
        "tools": { "read": tool, "list": tool, "wipe": tool },
    });
    BundleFiles::from_sources(vec![
        source(FileKind::Policies, "a.cedar", POLICIES.to_owned()),
        source(FileKind::Entities, "entities/a.json", entities.to_string()),
        source(
            FileKind::Registration,
            "tools/notes.json",
            registration.to_string(),
        ),
    ])
}

fn observed(files: &BundleFiles, calls: &[(&str, &str, &str)]) -> Vec<RecordedDecision> {
    let bundle = bundle::compile(files).expect("no faults");
    let (caller, authority) = (Caller::local(), Authority::default());
    let entities = ReachableEntities::default();
    let record = |(index, (who, server, tool)): (usize, &(&str, &str, &str))| {
        let arguments = json!({ "path": "/a", "deep": { "x": [1] } });
        let operation = Operation::call_tool(
            *server,
            *tool,
            arguments.as_object().cloned().expect("an object"),
        );
        let mut call = CallContext::new(Subject::verified(agent(who), "jwt"), operation);
        call.actor_chain = Some(ActorChain::verified_from(person("alice")));
        let inputs = DecisionInputs::from(&bundle.snapshot);
        let requester = Requester {
            caller: &caller,
            claims: &bundle.config.claims,
        };
        let now = SystemTime::now();
        let verdict = call::decide(inputs, &call, requester, now);
        let with = DecidedWith {
            policy_set_digest: &bundle.digest,
            caller: &caller,
            now,
            authority: &authority,
            entities: &entities,
        };
        let capsule = CallCapsule {
            with,
            call: &call,
            history: inputs.history,
            missing: MissingFacts::default(),
        };
        RecordedDecision {
            index: index as u64,
            decision_id: index.to_string(),
            at: now,
            is_allow: verdict.is_allow(),
            is_enforced: false,
            codes: verdict
                .reasons
                .iter()
                .map(|it| it.code.as_str().into())
                .collect(),
            policies: Vec::new(),
            capsule: RecordedCapsule::Kept(capsule.encode().expect("it fits")),
        }
    };
    calls.iter().enumerate().map(record).collect()
}

#[test]
fn what_is_proposed_allows_what_was_observed_and_leaves_the_rest_to_a_person() {
    let files = files();
    let records = observed(
        &files,
        &[
            ("helper", "notes", "read"),
            ("helper", "notes", "list"),
            ("helper", "notes", "wipe"),
            ("helper", "notes", "append_line"),
            ("helper", "notes", "append_line"),
            ("helper", "wiki", "getPage"),
            ("ghost", "notes", "read"),
            ("helper", "no server", "x"),
        ],
    );
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

    // Applied as a person would apply it, no call that was proposed for is denied any more.
    let mut applied = files.clone();
    applied
        .sources
        .retain(|it| it.kind != FileKind::Registration);
    for (name, text) in &proposal.registrations {
        applied
            .sources
            .push(source(FileKind::Registration, name, text.clone()));
    }
    let text = proposal.policies.clone();
    applied
        .sources
        .push(source(FileKind::Policies, POLICY_FILE, text));
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
    let files = files();
    let mut records = observed(&files, &[("helper", "notes", "list")]);
    records[0].is_enforced = true;
    let proposal = propose(&files, || Ok(records.clone().into_iter()), 1).expect("a proposal");
    assert_eq!(proposal.would_be_denied, 0);
    assert!(proposal.policies.is_empty() && proposal.registrations.is_empty());
}

use std::time::SystemTime;

use serde_json::{Map, json};

use super::*;
use crate::audit::capsule_content::encode::{CallCapsule, DecidedWith};
use crate::audit::capsule_content::entities::ReachableEntities;
use crate::domain::authority::state::Authority;
use crate::domain::fixtures::get_issue;

/// A call of the operation.
fn example(operation: OperationType) -> OperationKind {
    match operation {
        // Which method it is of those that are decided as this one is, is not kept.
        OperationType::Connect => OperationKind::Connect {
            method: "initialize",
        },
        OperationType::CallTool => OperationKind::CallTool(ToolCall {
            tool: "read".into(),
            arguments: Map::from_iter([("path".to_owned(), json!("/a"))]),
            definition_digest: Some("sha256:0".into()),
            target: Some("file:///a".into()),
        }),
        OperationType::List(listing) => OperationKind::List(listing),
        OperationType::OnResource(operation) => OperationKind::OnResource {
            operation,
            uri: "file:///{name}".into(),
        },
        OperationType::OnPrompt(operation) => OperationKind::OnPrompt {
            operation,
            name: "review".into(),
        },
        OperationType::GetPrompt => OperationKind::GetPrompt {
            name: "review".into(),
            arguments: vec!["page".into()],
        },
        OperationType::Sample => OperationKind::Sample(Sampling {
            max_tokens: 3,
            ..Sampling::default()
        }),
        OperationType::ElicitForm => OperationKind::ElicitForm {
            message: "Who?".to_owned(),
            requested_schema: json!({"type": "object"}),
        },
        OperationType::ElicitUrl => OperationKind::ElicitUrl {
            url: "https://example.com".to_owned(),
        },
        OperationType::OnClient(operation) => OperationKind::OnClient(operation),
    }
}

#[test]
fn every_kind_of_operation_comes_back_as_it_was() {
    let (caller, authority, entities) = (
        Caller::local(),
        Authority::default(),
        ReachableEntities::default(),
    );
    let fetching = ["tasks/result", "tasks/cancel", "resume", "unawaited"];
    let fetching = fetching.map(|method| OperationKind::Connect { method });
    for kind in OperationType::all().map(example).chain(fetching) {
        let mut call = get_issue();
        call.operation.kind = kind;
        call.operation.told = Told::Part;
        let capsule = CallCapsule {
            with: DecidedWith {
                policy_set_digest: "sha256:0",
                caller: &caller,
                now: SystemTime::UNIX_EPOCH,
                authority: &authority,
                entities: &entities,
            },
            call: &call,
            history: Default::default(),
            missing: MissingFacts::default(),
        };
        let bytes = capsule.encode().expect("small");
        let read = Capsule::decode(&bytes).expect("its own encoding");
        let CapsuleRequest::Call(read, _) = read.request else {
            panic!("no call");
        };
        assert_eq!(read.operation.told, Told::Part);
        let (read, written) = (&read.operation.kind, &call.operation.kind);
        assert_eq!(format!("{read:?}"), format!("{written:?}"));
    }
}

/// A capsule as version 2 wrote it, of a call in a session.
const VERSION_2: &[u8] = b"\
\x02Gsha256:dac49844521036b281aa87c8d6f0c00622b10205f9103cfe76f5a58599ba7222\x00\xca\xaf\xac\xd8\x06\
\x8c\xb9\xd7\xc2\x02\x05local\xcf\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01\x07support\x01\x03jwt\
\x01\x00\x00\x00\x00\x01\x01\x02\x03sam\x00\x01\x05tools\x01\x00\x00\x00\x00\x00\x06github\x01\x09ge\
t_issue2\x00\x00\x00{\"owner\":\"acme\",\"repo\":\"shop\",\"issue_number\":4711}\x00\x00\x00\x00\x01\
\x0c0197-session\x00\x00\x00\x01\x11customer question\x00\x01\x04\x0a\x01\x02\x03\x01\x00\xdc\x04\
\x02\x07private\x09untrusted\x01\x03\x10github/get_issue\x08\x03\x10github/get_issue\x03\x10github/g\
et_issue\x03\x10github/get_issue\x03\x10github/get_issue\x03\x10github/get_issue\x03\x10github/get_i\
ssue\x03\x10github/get_issue\x03\x10github/get_issue\x01\x00\x00\x01\x02\x07private\x09untrusted\x01\
\xdc\x04\xdc\x04\xdc\x04\xdc\x04\xdc\x04\xdc\x04\x00\x00\x01\x00\x00\x00\x00";

#[test]
fn recent_calls_are_read_by_name_and_by_place() {
    let before = Capsule::decode(VERSION_2).expect("version 2");
    let CapsuleRequest::Call(call, history) = before.request else {
        panic!("no call");
    };
    assert_eq!(call.operation.told, Told::All, "nobody knew better");
    let named = |history: &CapsuleHistory| {
        let session = history.session.as_ref().expect("a session");
        let last = session.last_tools().map(ToString::to_string);
        (session.calls, last.collect::<Vec<_>>())
    };
    let recent = vec!["Mcp::Tool::\"github/get_issue\"".to_owned(); 8];
    assert_eq!(named(&history), (604, recent));
    let capsule = CallCapsule {
        with: DecidedWith {
            policy_set_digest: &before.policy_set_digest,
            caller: &before.caller,
            now: before.now,
            authority: &before.authority,
            entities: &ReachableEntities::default(),
        },
        call: &call,
        history: history.history(),
        missing: before.missing,
    };
    let bytes = capsule.encode().expect("small");
    assert!(bytes.len() + 8 * "github/get_issue".len() < VERSION_2.len());
    let now = Capsule::decode(&bytes).expect("its own encoding");
    let CapsuleRequest::Call(_, read) = now.request else {
        panic!("no call");
    };
    assert_eq!(named(&read), named(&history));
    let mut damaged = bytes;
    let end = damaged.len() - 1;
    let place = (0..end)
        .rev()
        .find(|at| damaged[*at..].starts_with(&[8, 0, 0, 0, 0, 0, 0, 0, 0]));
    damaged[place.expect("eight places") + 1] = 1;
    let read = Capsule::decode(&damaged).expect_err("a place without a tool");
    assert_eq!(read, CapsuleContentError::Bad("recent call"));
}

#[test]
fn a_capsule_says_what_was_not_stored_and_one_of_before_says_nothing_of_it() {
    let before = Capsule::decode(VERSION_2).expect("version 2");
    assert_eq!(before.absent, AbsentEntities::unknown());
    let call = get_issue();
    let capsule = CallCapsule {
        with: DecidedWith {
            policy_set_digest: "sha256:0",
            caller: &before.caller,
            now: before.now,
            authority: &before.authority,
            entities: &ReachableEntities::default(),
        },
        call: &call,
        history: Default::default(),
        missing: MissingFacts::default(),
    };
    let bytes = capsule.encode().expect("small");
    let nothing_stored = Capsule::decode(&bytes).expect("its own encoding");
    assert_ne!(nothing_stored.absent, AbsentEntities::unknown());
}

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
        // Which method it is decides nothing, and is not kept.
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
    for kind in OperationType::all().map(example) {
        let mut call = get_issue();
        call.operation.kind = kind;
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
        let (read, written) = (&read.operation.kind, &call.operation.kind);
        assert_eq!(format!("{read:?}"), format!("{written:?}"));
    }
}

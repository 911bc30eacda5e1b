use std::time::SystemTime;

use serde_json::{Map, Value as Json, json};

use super::*;
use crate::audit::capsule_content::encode::{CallCapsule, DecidedWith};
use crate::audit::capsule_content::entities::ReachableEntities;
use crate::domain::authority::state::Authority;
use crate::domain::fixtures::get_issue;

/// One of each kind.
fn kinds() -> Vec<OperationKind> {
    use OperationKind::*;
    let arguments: Map<String, Json> = Map::from_iter([("path".to_owned(), json!("/a"))]);
    let kinds = vec![
        // Which method it is decides nothing, and is not kept.
        Connect {
            method: "initialize",
        },
        CallTool(ToolCall {
            tool: "read".into(),
            arguments,
            definition_digest: Some("sha256:0".into()),
            target: Some("file:///a".into()),
        }),
        ListTools,
        ListPrompts,
        ListResources,
        ReadResource {
            uri: "file:///a".into(),
        },
        GetPrompt {
            name: "review".into(),
            arguments: vec!["page".into()],
        },
        CompletePrompt {
            name: "review".into(),
        },
        CompleteResource {
            uri: "file:///{name}".into(),
        },
        Subscribe {
            uri: "file:///a".into(),
        },
        Sample(Sampling {
            max_tokens: 3,
            ..Sampling::default()
        }),
        ElicitForm {
            message: "Who?".to_owned(),
            requested_schema: json!({"type": "object"}),
        },
        ElicitUrl {
            url: "https://example.com".to_owned(),
        },
        ListRoots,
    ];
    // A new kind belongs into the list above.
    for kind in &kinds {
        match kind {
            Connect { .. } | CallTool(_) | ListTools | ListPrompts | ListResources => {}
            ReadResource { .. } | GetPrompt { .. } | CompletePrompt { .. } => {}
            CompleteResource { .. } | Subscribe { .. } | Sample(_) => {}
            ElicitForm { .. } | ElicitUrl { .. } | ListRoots => {}
        }
    }
    kinds
}

#[test]
fn every_kind_of_operation_comes_back_as_it_was() {
    let (caller, authority, entities) = (
        Caller::local(),
        Authority::default(),
        ReachableEntities::default(),
    );
    for kind in kinds() {
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

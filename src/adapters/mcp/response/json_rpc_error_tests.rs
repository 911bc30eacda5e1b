use std::time::Duration;

use super::*;
use crate::domain::authority::approval::ApprovedCall;
use crate::domain::decide::verdict::{Challenge, Reason};
use crate::domain::schema::{TYPES, entity_uid};

#[test]
fn a_deny_says_what_an_agent_may_know() {
    let mut reason = Reason::new(ReasonCode::ContextMissing, "the call lacks arguments.path");
    reason.missing = vec!["arguments.path".to_owned()];
    reason.policies = vec!["secret.policy".into()];
    reason.detail = Some("secret detail".to_owned());
    let decision = Verdict::deny(reason);
    let error = denied(
        Some(&JsonRpcId::Text("q".to_owned())),
        &decision,
        "decision-1",
    );
    assert_eq!(
        error,
        json!({
            "jsonrpc": "2.0",
            "id": "q",
            "error": {
                "code": -32001,
                "message": "the call lacks arguments.path",
                "data": {"authorization": {
                    "reason": "CONTEXT_MISSING",
                    "authorizationContextId": "decision-1",
                    "reasons": [{
                        "code": "CONTEXT_MISSING",
                        "message": "the call lacks arguments.path",
                        "missing": ["arguments.path"],
                    }],
                }},
            },
        })
    );
}

#[test]
fn a_deny_that_an_approval_would_turn_says_so() {
    let mut decision = Verdict::deny(Reason::new(ReasonCode::ApprovalRequired, "ask somebody"));

    decision.challenge = Some(Box::new(Challenge {
        digest: "sha256:00".into(),
        expires_at: UNIX_EPOCH + Duration::from_secs(1_000),
        valid_for: Duration::from_secs(10),
        circumstances: Default::default(),
        call: ApprovedCall {
            subject: entity_uid(&TYPES.agent, "a"),
            root: None,
            actors: Vec::new(),
            initiator: Default::default(),
            responses: None,
            request_state: None,
            server: "s".into(),
            tool: "t".into(),
            definition: None,
            arguments: "{}".to_owned(),
            target: None,
            task: None,
        },
    }));
    let hints = &denied(None, &decision, "d")["error"]["data"]["authorization"]["remediationHints"];
    let expected = json!([{"type": "approval", "digest": "sha256:00", "expiresAt": 1_000}]);
    assert_eq!(*hints, expected);
}

#[test]
fn a_refusal_has_an_id_as_far_as_there_is_one() {
    let known = rejection(Some(&JsonRpcId::Number(-3)), -32601, "no");
    assert_eq!(
        known,
        json!({"jsonrpc": "2.0", "id": -3, "error": {"code": -32601, "message": "no"}})
    );
    assert_eq!(rejection(None, -32700, "no")["id"], Json::Null);
}

//! What was taken away stays away: across forgetting, restarts, crashes and clocks that are wrong.

use std::path::Path;
use std::time::Duration;

use callgate::control::approvals::{ApprovalRequest, CallApproval, CallRejection};
use callgate::control::delegations::NewDelegation;
use callgate::domain::decide::verdict::ReasonCode;
use callgate::domain::ids::{ApprovalId, CallDigest};
use callgate::domain::request::call_context::CallContext;
use callgate::domain::request::definition::DefinitionDigests;
use callgate::domain::schema::{self, AccessLevel};
use callgate::service::maintenance::RetentionPeriods;
use callgate::store::shown_definitions::{ChangedDefinition, GatewayTool};
use callgate::store::sqlite::SqliteStore;

use crate::live::office::{self, agent, call, for_person, from_delegation_ids, person, tools};
use crate::support::direct::Direct;

const HOUR: Duration = Duration::from_secs(3_600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

fn at(folder: &Path) -> Direct {
    let store = SqliteStore::open(&folder.join("callgate.db")).unwrap();
    office::over(Box::new(store))
}

/// What a process leaves behind that is killed now.
fn left_behind(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["callgate.db", "callgate.db-wal", "callgate.db.id"] {
        std::fs::copy(folder.join(name), copy.path().join(name)).unwrap();
    }
    copy
}

fn in_session(session: &str) -> CallContext {
    let mut made = for_person(call(&agent("one"), "mail/list"), &person("ana"));
    made.workflow.session_id = Some(session.into());
    made
}

async fn is_ended(office: &Direct, session: &str) -> bool {
    let decision = office.decide(&in_session(session)).await;
    decision
        .reasons
        .first()
        .is_some_and(|reason| reason.code == ReasonCode::SessionEnded)
}

#[tokio::test]
async fn a_session_that_was_ended_stays_so_after_it_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let office = at(folder.path());
    let author = office.author(&person("ana"));
    assert!(office.decide(&in_session("old")).await.is_allow());
    let ended = office.control.end_session(&author, "old".into());
    assert!(ended.await.unwrap().is_durable);
    office.pass(1_000 * HOUR);
    office.service.prune(RetentionPeriods {
        ended: HOUR,
        changes: HOUR,
    });
    assert_eq!(office.service.facts().sessions.len(), 0, "it is forgotten");
    assert!(is_ended(&office, "old").await);
    assert!(office.decide(&in_session("new")).await.is_allow());
    office.service.close();
    drop(office);
    let office = at(folder.path());
    assert!(is_ended(&office, "old").await);
    assert!(office.decide(&in_session("other")).await.is_allow());
}

#[tokio::test]
async fn a_changed_tool_stays_changed_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let office = at(folder.path());
    let place = GatewayTool {
        gateway: "edge".into(),
        tool: schema::tool_uid("mail", "list"),
    };
    let changed = ChangedDefinition {
        digests: DefinitionDigests::new("sha256:1".into(), "sha256:2".into()),
        fields: vec!["description"],
        at: office.now(),
    };
    let shown = |changed: Option<ChangedDefinition>| {
        let definitions = &office.service.facts().definitions;
        let writes = definitions.record(&[(place.clone(), changed)], office.now());
        let (done, written) = std::sync::mpsc::channel();
        let writer = office.service.ledger().writer();
        let count = writes.len();
        writer
            .submit(writes, move |result| done.send(result).unwrap())
            .unwrap();
        written.recv().unwrap().unwrap();
        count
    };
    assert_eq!(shown(Some(changed.clone())), 1);
    assert_eq!(shown(Some(changed.clone())), 0, "nothing new is written");
    let left = left_behind(folder.path());
    let next = at(left.path());
    let all = next.service.facts().definitions.all(next.now());
    let [(known, restored)] = &all[..] else {
        panic!("{all:?}")
    };
    assert_eq!(*known, place);
    assert_eq!(restored.digests, changed.digests);
    assert_eq!(restored.fields, changed.fields);
    assert!(restored.at >= changed.at, "it counts no shorter");
    assert_eq!(shown(None), 1);
    let left = left_behind(folder.path());
    assert!(at(left.path()).service.facts().definitions.is_empty());
}

#[tokio::test]
async fn what_had_expired_before_a_crash_stays_so_though_the_clock_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let office = at(folder.path());
    let author = office.author(&person("ana"));
    let new = NewDelegation {
        to: agent("one"),
        scope: tools(&["mail/list"], AccessLevel::Read),
        task: None,
        parent: None,
        max_redelegations: 0,
        not_before: None,
        expires_at: office.now() + Duration::from_secs(1),
    };
    let delegated = office.control.grant_delegation(&author, new).await.unwrap();
    let made = from_delegation_ids(
        call(&agent("one"), "mail/list"),
        std::slice::from_ref(&delegated.value.delegation.id),
    );
    assert!(office.decide(&made).await.is_allow());
    office.pass(Duration::from_secs(1));
    let denied = office.decide(&made).await;
    assert_eq!(denied.reasons[0].code, ReasonCode::DelegationExpired);
    // Killed at once, and started with a clock that is where it was at first.
    let left = left_behind(folder.path());
    let next = at(left.path());
    let denied = next.decide(&made).await;
    assert_eq!(denied.reasons[0].code, ReasonCode::DelegationExpired);
}

#[tokio::test]
async fn a_clock_that_was_wrong_once_is_set_right_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let office = at(folder.path());
    let start = office.now();
    office.pass(80 * YEAR);
    office.service.flush();
    office.service.close();
    drop(office);
    let office = at(folder.path());
    assert!(office.service.now() >= start + 80 * YEAR, "it stands still");
    let status = office.control.status().await.unwrap();
    assert!(status.clock_fault.unwrap().contains("behind"));
    let mut changes = office.service.ledger().changes();
    let author = office.author(&person("ana"));
    office
        .control
        .repair_clock(&author, "the time server was wrong".into())
        .await
        .unwrap();
    assert_eq!(office.service.now(), start);
    assert_eq!(changes.recv().await.unwrap().verb, "RepairClock");
    let status = office.control.status().await.unwrap();
    assert_eq!(status.clock_fault, None);
    // At once, before anything else is written.
    let left = left_behind(folder.path());
    let next = at(left.path());
    assert!(next.service.now() < start + HOUR);
}

/// A call, approved twice by somebody whom no directory knows.
async fn approved(office: &Direct) -> (CallContext, ApprovalId, CallDigest) {
    let mut made = for_person(call(&agent("one"), "files/format"), &person("ana"));
    let request = ApprovalRequest {
        call: made.clone(),
        challenge: None,
    };
    let author = office.author(&agent("one"));
    let asked = office
        .control
        .request_approval(&author, request)
        .await
        .unwrap();
    let approval = &asked.value.approval;
    let yes = CallApproval {
        id: approval.id.clone(),
        digest: approval.digest.clone(),
        uses: 3,
        comment: None,
    };
    let author = office.author(&person("eve"));
    office.control.approve_call(&author, yes).await.unwrap();
    made.approval_ids = vec![approval.id.clone()];
    assert!(office.decide(&made).await.is_allow());
    (made, approval.id.clone(), approval.digest.clone())
}

async fn left_the_team(office: &Direct) {
    let author = office.author(&person("ana"));
    let json = serde_json::json!({
        "uid": {"type": "Mcp::User", "id": "eve"},
        "attrs": {},
        "parents": [{"type": "Mcp::Group", "id": "former"}],
    });
    let put = office.control.put_entity(&author, person("eve"), json);
    put.await.unwrap();
}

#[tokio::test]
async fn an_approval_that_was_given_is_revoked() {
    let office = office::open();
    let (made, id, digest) = approved(&office).await;
    let no = CallRejection {
        id: id.clone(),
        comment: Some("not this week".into()),
    };
    // Whoever may no longer give it may still revoke what it gave.
    left_the_team(&office).await;
    let author = office.author(&person("eve"));
    office
        .control
        .reject_call(&author, no.clone())
        .await
        .unwrap();
    let denied = office.decide(&made).await;
    assert_eq!(denied.reasons[0].code, ReasonCode::ApprovalInvalid);
    let again = office.control.reject_call(&author, no).await;
    assert!(again.is_err(), "there is nothing left to revoke");
    let yes = CallApproval {
        id,
        digest,
        uses: 1,
        comment: None,
    };
    let author = office.author(&person("bob"));
    let again = office.control.approve_call(&author, yes).await;
    assert!(again.is_err(), "and it is not given again");
}

#[tokio::test]
async fn an_approval_does_not_outlive_the_right_to_give_it() {
    let office = office::open();
    let (made, ..) = approved(&office).await;
    left_the_team(&office).await;
    let denied = office.decide(&made).await;
    assert_eq!(denied.reasons[0].code, ReasonCode::ApprovalInvalid);
    let said = &denied.reasons[0].message;
    assert!(
        said.contains("by somebody who may not give it any more"),
        "{said}"
    );
}

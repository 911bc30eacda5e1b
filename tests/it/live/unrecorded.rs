//! A decision log that cannot be written for a while: a call that is denied for that is not made, and uses nothing up.

use std::fs;
use std::path::Path;
use std::time::Duration;

use callgate::audit::log::AuditLog;
use callgate::audit::log_files::SEGMENTS;
use callgate::config::audit::AuditConfig;
use callgate::control::approvals::{ApprovalRequest, CallApproval};
use callgate::control::tasks::NewTask;
use callgate::domain::decide::verdict::ReasonCode;
use callgate::domain::ids::{ApprovalId, SessionId, TaskId};
use callgate::domain::request::call_context::CallContext;
use callgate::service::settings::ServiceSettings;
use callgate::store::sqlite::SqliteStore;
use callgate::telemetry::record::recorder::{Recorder, RecorderParts};

use crate::live::office::{self, agent, call, for_person, person};
use crate::support::direct::Direct;

const USES: u32 = 3;
const CALLS: u64 = 40;

/// Puts a file in the place of the folder of records, whoever the process runs as.
fn break_log(directory: &Path) {
    fs::rename(directory.join(SEGMENTS), directory.join("aside")).unwrap();
    fs::write(directory.join(SEGMENTS), "in the way").unwrap();
}

fn mend_log(directory: &Path) {
    fs::remove_file(directory.join(SEGMENTS)).unwrap();
    fs::rename(directory.join("aside"), directory.join(SEGMENTS)).unwrap();
}

/// A task with a budget, and an approval of one call in it.
async fn approved(office: &Direct) -> (CallContext, TaskId, ApprovalId) {
    let task = NewTask {
        agent: agent("one"),
        person: person("ana"),
        purpose: "to format".into(),
        scope: None,
        terms: Default::default(),
        call_budget: Some(CALLS),
        steps: Vec::new(),
        deadline: office.now() + Duration::from_secs(3_600),
    };
    let author = office.author(&person("ana"));
    let opened = office.control.open_task(&author, task).await.unwrap();
    let task = opened.value.task.id.clone();
    let mut made = for_person(call(&agent("one"), "files/format"), &person("ana"));
    made.workflow.session_id = Some(SessionId::new_static("s"));
    made.workflow.task_id = Some(task.clone());
    let request = ApprovalRequest {
        call: made.clone(),
        challenge: None,
    };
    let author = office.author(&agent("one"));
    let asked = office.control.request_approval(&author, request).await;
    let asked = asked.unwrap();
    let yes = CallApproval {
        id: asked.value.approval.id.clone(),
        digest: asked.value.approval.digest.clone(),
        uses: USES,
        comment: None,
    };
    let author = office.author(&person("bob"));
    office.control.approve_call(&author, yes).await.unwrap();
    let id = asked.value.approval.id.clone();
    made.approval_ids = vec![id.clone()];
    (made, task, id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_cannot_be_put_on_record_uses_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("capsule.key");
    let log = AuditLog::open(dir.path(), &key, &AuditConfig::default());
    let log = log.unwrap().unwrap();
    let recorder = Recorder::new(RecorderParts {
        audit: Some(log.clone()),
        ..RecorderParts::default()
    });
    let store = Box::new(SqliteStore::in_memory().unwrap());
    let office = Direct::with(
        office::strict(),
        store,
        ServiceSettings::default(),
        recorder,
    );
    let (made, task, approval) = approved(&office).await;
    assert!(office.decide(&made).await.is_allow());
    let left = || {
        let live = office.service.live().unwrap();
        let calls = office.service.calls_left(&live.authority.tasks[&task]);
        let uses = office.service.facts().quotas.approval_uses(&approval);
        (uses, calls)
    };
    let calls_in_session = || {
        let sessions = &office.service.facts().sessions;
        sessions.get(&SessionId::new_static("s")).unwrap().calls
    };
    assert_eq!(left(), (1, Some(CALLS - 1)));
    break_log(dir.path());
    // The first finds out; whatever comes after it is denied before anything is used up.
    for attempt in 0..6 {
        let denied = office.decide(&made).await;
        let code = denied.reasons.first().map(|reason| reason.code);
        assert_eq!(code, Some(ReasonCode::AuditUnavailable), "{attempt}");
        assert_eq!(left(), (1, Some(CALLS - 1)), "{attempt}");
        assert!(calls_in_session() <= 2, "{attempt}");
        assert!(log.must_deny());
    }
    mend_log(dir.path());
    for _ in 0..200 {
        if !log.is_failing() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for used in 2..=USES {
        let allowed = office.decide(&made).await;
        assert!(allowed.is_allow(), "{used}: {allowed:?}");
        assert_eq!(left(), (used, Some(CALLS - u64::from(used))));
    }
    let denied = office.decide(&made).await;
    assert_eq!(denied.reasons[0].code, ReasonCode::ApprovalInvalid);
    log.close();
}

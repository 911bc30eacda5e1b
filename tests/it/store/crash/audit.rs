//! What a server that started again says, against what its clients were told before.

use std::collections::BTreeMap;
use std::sync::Mutex;

use callgate::proto::v1;
use callgate::proto::v1::{ApprovalStatus, DelegationStatus, ReasonCode, TaskStatus};
use tonic::Code;

use crate::store::crash::book::{Book, Memory, Named, Quota, Session, Stands, Terms};
use crate::store::crash::company::{
    Doors, by_delegation, formatting, in_session, in_task, is_allow, is_cancelled, user, why,
};
use crate::store::crash::load::work::{self, version_of};

/// Calls that are tried of each kind.
const PROBES: usize = 25;

/// Compares everything, and takes over what was in doubt. Changes up to `after` were compared before.
pub async fn check(doors: &mut Doors, book: &Mutex<Book>, after: u64) -> u64 {
    let newest = changes(doors, book, after).await;
    openings(doors, book).await;
    let mut known = std::mem::take(&mut *book.lock().unwrap());
    delegations(doors, &mut known).await;
    tasks(doors, &mut known).await;
    approvals(doors, &mut known).await;
    sessions(doors, &mut known).await;
    entities(doors, &mut known).await;
    *book.lock().unwrap() = known;
    newest
}

async fn changes(doors: &mut Doors, book: &Mutex<Book>, after: u64) -> u64 {
    let status = doors.control.get_status(v1::GetStatusRequest {}).await;
    let newest = status.unwrap().into_inner().revision;
    {
        let mut book = book.lock().unwrap();
        let before = book.newest;
        assert!(newest >= before, "back from {before} to {newest}");
        book.newest = newest;
    }
    let request = v1::WatchChangesRequest {
        after_revision: after,
    };
    let told = doors.control.watch_changes(request).await;
    let mut told = told.unwrap().into_inner();
    for expected in after + 1..=newest {
        let change = told.message().await.unwrap().expect("a change");
        assert_eq!(change.revision, expected, "a gap");
        note(&mut book.lock().unwrap(), &change);
    }
    newest
}

/// A change was told.
pub fn note(book: &mut Book, change: &v1::WatchChangesResponse) {
    book.note(change.revision, &change.verb, &about(change));
    if let Some(v1::watch_changes_response::Change::Task(task)) = &change.change {
        let id = task.id.clone();
        let first = book.purposes.entry(task.purpose.clone()).or_insert(id);
        assert_eq!(*first, task.id, "`{}` was opened twice", task.purpose);
    }
}

/// What a change is about.
fn about(change: &v1::WatchChangesResponse) -> String {
    use v1::watch_changes_response::Change;
    match change.change.clone().expect("a change") {
        Change::BundleDigest(digest) => digest,
        Change::Entity(entity) => entity.uid.unwrap().id,
        Change::EntityDeleted(uid) => uid.id,
        Change::Delegation(delegation) => delegation.id,
        Change::Task(task) => task.id,
        Change::Approval(approval) => approval.id,
        Change::SessionEnded(session) => session,
        Change::Stopped(stop) => stop.uid.unwrap().id,
        Change::Resumed(uid) => uid.id,
        Change::ClockRepaired(repair) => repair.reason,
        Change::Published(bundle) => bundle.id,
    }
}

/// A request without an answer is sent again, and one with an answer gets the same one.
async fn openings(doors: &mut Doors, book: &Mutex<Book>) {
    let all = book.lock().unwrap().openings.clone();
    let (answered, open): (Vec<_>, Vec<_>) =
        all.into_values().partition(|(_, answer)| answer.is_some());
    for (request, _) in open {
        let purpose = request.purpose.clone();
        let made = book.lock().unwrap().purposes.get(&purpose).cloned();
        work::open_task(doors, book, 0, 0, request).await.unwrap();
        let book = book.lock().unwrap();
        let (_, id) = book.openings[&purpose].1.clone().unwrap();
        assert_eq!(made.unwrap_or_else(|| id.clone()), id, "{purpose}");
    }
    for (request, answer) in answered.into_iter().rev().take(PROBES) {
        let again = doors.control.open_task(request).await.unwrap().into_inner();
        let again = (again.revision, again.task.unwrap().id);
        assert_eq!(Some(again), answer, "the answer of a repeated request");
    }
}

/// What was made without an answer is known to the log at least.
fn is_told(book: &Book, verb: &str, id: &str) -> bool {
    let named: Named = (verb.to_owned(), id.to_owned());
    book.changes.values().any(|change| *change == named)
}

async fn delegations(doors: &mut Doors, book: &mut Book) {
    let mut found = BTreeMap::new();
    let mut page = v1::ListDelegationsRequest::default();
    loop {
        let listed = doors.control.list_delegations(page.clone()).await;
        let listed = listed.unwrap().into_inner();
        found.extend(listed.delegations.into_iter().map(|it| (it.id.clone(), it)));
        if listed.next_page_token.is_empty() {
            break;
        }
        page.page_token = listed.next_page_token;
    }
    for (id, stored) in &found {
        let is_known = book.delegations.contains_key(id);
        assert!(
            is_known || is_told(book, "GrantDelegation", id),
            "{stored:?}"
        );
    }
    for (id, delegation) in &mut book.delegations {
        let stored = found.get(id).unwrap_or_else(|| panic!("{id} is lost"));
        assert_eq!(
            stored.parent_id,
            delegation.parent.clone().unwrap_or_default()
        );
        delegation.terms.settle(id, Terms::of(stored));
    }
    for id in book.delegations.keys() {
        let is_revoked = found[id].status() == DelegationStatus::Revoked;
        assert_eq!(is_revoked, book.is_over(id), "{:?}", found[id]);
    }
    let latest = book.delegations.iter().rev();
    let (revoked, alive): (Vec<_>, Vec<_>) = latest.partition(|(id, _)| book.is_over(id));
    for (id, delegation) in revoked
        .into_iter()
        .take(PROBES)
        .chain(alive.into_iter().take(PROBES))
    {
        let by = if delegation.parent.is_some() {
            "two"
        } else {
            "one"
        };
        let answer = doors.probe(by_delegation(by, "mail/list", id)).await;
        if book.is_over(id) {
            assert!(is_cancelled(&answer), "{answer:?}");
        } else if delegation.parent.is_none() {
            assert!(is_allow(&answer), "{delegation:?} {answer:?}");
        }
    }
}

async fn tasks(doors: &mut Doors, book: &mut Book) {
    let mut found = BTreeMap::new();
    let mut page = v1::ListTasksRequest::default();
    loop {
        let listed = doors.control.list_tasks(page.clone()).await;
        let listed = listed.unwrap().into_inner();
        found.extend(listed.tasks.into_iter().map(|it| (it.id.clone(), it)));
        if listed.next_page_token.is_empty() {
            break;
        }
        page.page_token = listed.next_page_token;
    }
    for (id, task) in &mut book.tasks {
        let stored = found.get(id).unwrap_or_else(|| panic!("{id} is lost"));
        let stands = Stands {
            step: stored.step.clone(),
            is_closed: stored.status() == TaskStatus::Closed,
        };
        assert_eq!(stands.is_closed, stored.closed_at.is_some());
        task.stands.settle(id, stands);
        budget(id, &task.budget, stored.calls_left.unwrap());
    }
    for id in found.keys() {
        let is_known = book.tasks.contains_key(id);
        assert!(is_known, "{id} was opened by nobody");
    }
    let closed = book.tasks.iter().rev();
    let closed = closed.filter(|(_, task)| task.stands.sure.is_closed);
    for (id, _) in closed.take(PROBES) {
        let answer = doors.probe(in_task("mail/list", id)).await;
        assert_eq!(why(&answer), ReasonCode::TaskClosed, "{answer:?}");
    }
}

/// What is left is no more than what was not given away, and a crash costs a block at most.
fn budget(id: &str, budget: &Quota, left: u64) {
    budget.check(id, left);
    let block = (budget.limit / 16).clamp(1, 64);
    let gone = budget.used + budget.doubtful + budget.crashes * block;
    assert!(
        left >= budget.limit.saturating_sub(gone),
        "{id}: {left} left, {budget:?}"
    );
}

async fn approvals(doors: &mut Doors, book: &mut Book) {
    let mut found = BTreeMap::new();
    let mut page = v1::ListApprovalsRequest::default();
    loop {
        let listed = doors.control.list_approvals(page.clone()).await;
        let listed = listed.unwrap().into_inner();
        found.extend(listed.approvals.into_iter().map(|it| (it.id.clone(), it)));
        if listed.next_page_token.is_empty() {
            break;
        }
        page.page_token = listed.next_page_token;
    }
    for id in found.keys() {
        let is_known = book.approvals.contains_key(id);
        assert!(is_known || is_told(book, "RequestApproval", id), "{id}");
    }
    for (id, approval) in &mut book.approvals {
        let stored = found.get(id).unwrap_or_else(|| panic!("{id} is lost"));
        assert_eq!(stored.digest, approval.digest);
        let word = match stored.status() {
            ApprovalStatus::Pending => None,
            ApprovalStatus::Rejected => Some(0),
            ApprovalStatus::Approved | ApprovalStatus::Used => Some(stored.uses),
            other => panic!("{other:?}: {stored:?}"),
        };
        approval.word.settle(id, word);
        let uses = &mut approval.uses;
        uses.limit = word.unwrap_or_default().into();
        let used = u64::from(stored.used);
        assert!(used >= uses.used, "{id}: a use is lost: {used}, {uses:?}");
        assert!(used <= uses.used + uses.doubtful, "{id}: {used}, {uses:?}");
        uses.check(id, uses.limit - used);
    }
}

async fn sessions(doors: &Doors, book: &mut Book) {
    let doubtful = |(_, session): &(&String, &Session)| !session.memory.is_settled();
    let mut wanted: Vec<String> = book
        .sessions
        .iter()
        .filter(doubtful)
        .map(|it| it.0.clone())
        .collect();
    wanted.extend(book.sessions.keys().rev().take(PROBES).cloned());
    for id in wanted {
        let read = doors.probe(in_session("files/read", &id)).await;
        let send = doors.probe(in_session("mail/send", &id)).await;
        let found = match (why(&read), why(&send)) {
            (ReasonCode::SessionEnded, ReasonCode::SessionEnded) => Memory::Ended,
            (ReasonCode::Forbidden, ReasonCode::Unspecified) => Memory::Sent,
            (ReasonCode::Unspecified, ReasonCode::Forbidden) => Memory::Private,
            (ReasonCode::Unspecified, ReasonCode::Unspecified) => Memory::Nothing,
            other => panic!("{id}: {other:?}"),
        };
        let session = book.sessions.get_mut(&id).unwrap();
        session.memory.settle(&id, found);
    }
}

async fn entities(doors: &mut Doors, book: &mut Book) {
    for (id, entity) in &mut book.entities {
        let request = v1::GetEntityRequest {
            uid: Some(user(id)),
        };
        let found = match doors.control.get_entity(request).await {
            Ok(answer) => Some(version_of(answer.into_inner().entity.as_ref().unwrap())),
            Err(status) if status.code() == Code::NotFound => None,
            Err(status) => panic!("{status:?}"),
        };
        entity.version.settle(id, found);
    }
}

/// Uses up whatever is left, which is no more than was ever given.
pub async fn drain(doors: &Doors, book: &Mutex<Book>) {
    let (tasks, approvals): (Vec<_>, Vec<_>) = {
        let book = book.lock().unwrap();
        let tasks = book
            .tasks
            .iter()
            .map(|(id, it)| (id.clone(), it.budget.limit));
        let approvals = book.approvals.iter().map(|(id, it)| (id.clone(), it.disk));
        (tasks.collect(), approvals.collect())
    };
    for (id, limit) in tasks {
        for _ in 0..=limit {
            let answer = doors.decide(in_task("mail/list", &id)).await.unwrap();
            let mut book = book.lock().unwrap();
            let budget = &mut book.tasks.get_mut(&id).unwrap().budget;
            budget.under_way += 1;
            budget.end(is_allow(&answer));
            if !is_allow(&answer) {
                let expected = [ReasonCode::TaskBudgetSpent, ReasonCode::TaskClosed];
                assert!(expected.contains(&why(&answer)), "{answer:?}");
                break;
            }
        }
    }
    for (id, disk) in approvals {
        loop {
            let answer = doors.decide(formatting(disk, &[&id])).await.unwrap();
            let mut book = book.lock().unwrap();
            let uses = &mut book.approvals.get_mut(&id).unwrap().uses;
            uses.under_way += 1;
            uses.end(is_allow(&answer));
            if !is_allow(&answer) {
                break;
            }
        }
    }
}

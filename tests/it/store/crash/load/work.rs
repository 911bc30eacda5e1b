//! Tasks, approvals, sessions and entities.

use std::sync::Mutex;

use callgate::proto::v1;
use callgate::proto::v1::{AccessLevel, ReasonCode};
use tonic::Status;

use crate::store::crash::book::{
    Approval, Book, Entity, Fact, Memory, Quota, Session, Stands, Task,
};
use crate::store::crash::company::{
    Doors, actor, agent, formatting, in_session, in_task, is_allow, moment_in, scope, user, why,
};
use crate::store::crash::load::{Client, LONG};

impl Client {
    pub(super) async fn open_task(&mut self) -> Result<(), Status> {
        let step = |name: &str, access| v1::TaskStep {
            name: name.into(),
            scope: Some(scope(&["mail/list", "files/write"], access)),
        };
        let purpose = format!("work {}", self.book().number());
        let request = v1::OpenTaskRequest {
            lasts: None,
            tool_uses: Vec::new(),
            places: Vec::new(),
            actor: actor(user("ana")),
            idempotency_key: purpose.clone(),
            agent: Some(agent("one")),
            person: Some(user("ana")),
            purpose: purpose.clone(),
            scope: Some(scope(&["mail/list", "files/write"], AccessLevel::Write)),
            call_budget: Some(1 + self.dice.below(60)),
            steps: vec![
                step("look", AccessLevel::Read),
                step("write", AccessLevel::Write),
            ],
            deadline: Some(moment_in(LONG)),
        };
        let newest = {
            let mut book = self.book();
            book.openings.insert(purpose, (request.clone(), None));
            book.newest
        };
        open_task(&mut self.doors, &self.book, self.owner, newest, request).await
    }

    pub(super) async fn change_task(&mut self) -> Result<(), Status> {
        let own: Vec<String> = {
            let book = self.book();
            let open = book.tasks.iter().filter(|(_, task)| {
                task.owner == self.owner && task.stands.is_settled() && !task.stands.sure.is_closed
            });
            open.map(|(id, _)| id.clone()).collect()
        };
        let Some(id) = self.dice.pick(&own) else {
            return Ok(());
        };
        let mut next = self.book().tasks[&id].stands.sure.clone();
        let is_closing = next.step == "write" || self.dice.below(4) == 0;
        if is_closing {
            next.is_closed = true;
        } else {
            next.step = "write".into();
        }
        let newest = {
            let mut book = self.book();
            book.tasks.get_mut(&id).unwrap().stands.doubt = Some(next.clone());
            book.newest
        };
        let by = actor(user("ana"));
        let (verb, revision) = if is_closing {
            let request = v1::CloseTaskRequest {
                actor: by,
                idempotency_key: self.key(),
                id: id.clone(),
            };
            let answer = self.doors.control.close_task(request).await?;
            ("CloseTask", answer.into_inner().revision)
        } else {
            let request = v1::AdvanceTaskRequest {
                actor: by,
                id: id.clone(),
                ..Default::default()
            };
            let answer = self.doors.control.advance_task(request).await?;
            ("AdvanceTask", answer.into_inner().revision)
        };
        let mut book = self.book();
        book.acknowledged(newest, revision, verb, &id);
        book.tasks.get_mut(&id).unwrap().stands.confirm(next);
        Ok(())
    }

    pub(super) async fn call_in_task(&mut self) -> Result<(), Status> {
        let all: Vec<String> = {
            let book = self.book();
            // The newest ones, so that several clients meet, and closed ones as well.
            book.tasks.keys().rev().take(6).cloned().collect()
        };
        let Some(id) = self.dice.pick(&all) else {
            return Ok(());
        };
        let (was_closed, newest) = {
            let mut book = self.book();
            let newest = book.newest;
            let task = book.tasks.get_mut(&id).unwrap();
            task.budget.under_way += 1;
            (task.stands.sure.is_closed, newest)
        };
        let answer = self.doors.decide(in_task("mail/list", &id)).await?;
        let mut book = self.book();
        book.decided(newest, &answer);
        book.tasks
            .get_mut(&id)
            .unwrap()
            .budget
            .end(is_allow(&answer));
        if was_closed {
            assert_eq!(why(&answer), ReasonCode::TaskClosed, "{answer:?}");
        }
        Ok(())
    }

    pub(super) async fn request_approval(&mut self) -> Result<(), Status> {
        let disk = self.book().number();
        let newest = self.newest();
        let denied = self.doors.decide(formatting(disk, &[])).await?;
        self.book().decided(newest, &denied);
        assert_eq!(why(&denied), ReasonCode::ApprovalRequired, "{denied:?}");
        let request = v1::RequestApprovalRequest {
            idempotency_key: self.key(),
            call_context: Some(formatting(disk, &[])),
            challenge: denied.approval,
        };
        let newest = self.newest();
        let answer = self.doors.control.request_approval(request).await?;
        let answer = answer.into_inner();
        let asked = answer.approval.unwrap();
        let approval = Approval {
            owner: self.owner,
            disk,
            digest: asked.digest,
            word: Fact::new(None),
            uses: Quota::new(0),
        };
        let mut book = self.book();
        book.acknowledged(newest, answer.revision, "RequestApproval", &asked.id);
        book.approvals.insert(asked.id, approval);
        Ok(())
    }

    pub(super) async fn decide_approval(&mut self) -> Result<(), Status> {
        let own: Vec<(String, String)> = {
            let book = self.book();
            let pending = book.approvals.iter().filter(|(_, approval)| {
                approval.owner == self.owner
                    && approval.word.is_settled()
                    && approval.word.sure.is_none()
            });
            let named = pending.map(|(id, approval)| (id.clone(), approval.digest.clone()));
            named.collect()
        };
        let Some((id, digest)) = self.dice.pick(&own) else {
            return Ok(());
        };
        let uses = [0, 1, 1, 1, 3][self.dice.below(5) as usize];
        let newest = {
            let mut book = self.book();
            let approval = book.approvals.get_mut(&id).unwrap();
            approval.word.doubt = Some(Some(uses));
            book.newest
        };
        let by = actor(user("bob"));
        let (verb, revision) = if uses == 0 {
            let request = v1::RejectCallRequest {
                actor: by,
                idempotency_key: self.key(),
                id: id.clone(),
                ..Default::default()
            };
            let answer = self.doors.control.reject_call(request).await?;
            ("RejectCall", answer.into_inner().revision)
        } else {
            let request = v1::ApproveCallRequest {
                actor: by,
                id: id.clone(),
                digest,
                uses,
                ..Default::default()
            };
            let answer = self.doors.control.approve_call(request).await?;
            ("ApproveCall", answer.into_inner().revision)
        };
        let mut book = self.book();
        book.acknowledged(newest, revision, verb, &id);
        let approval = book.approvals.get_mut(&id).unwrap();
        approval.word.confirm(Some(uses));
        approval.uses.limit = uses.into();
        Ok(())
    }

    /// Three at once, of which as many may win as were approved.
    pub(super) async fn use_approval(&mut self) -> Result<(), Status> {
        let approved: Vec<(String, u64)> = {
            let book = self.book();
            let approved = book.approvals.iter().rev().filter(|(_, approval)| {
                approval.word.is_settled() && approval.word.sure.is_some_and(|uses| uses > 0)
            });
            let named = approved.map(|(id, approval)| (id.clone(), approval.disk));
            named.take(6).collect()
        };
        let Some((id, disk)) = self.dice.pick(&approved) else {
            return Ok(());
        };
        let one = || use_once(&self.doors, &self.book, &id, disk);
        let (first, second, third) = tokio::join!(one(), one(), one());
        first.and(second).and(third)
    }

    /// Goes on with a session, or begins one: two calls at once that bring the same label.
    pub(super) async fn call_in_session(&mut self) -> Result<(), Status> {
        let own: Vec<String> = {
            let book = self.book();
            let own = book
                .sessions
                .iter()
                .filter(|(_, session)| session.owner == self.owner && session.memory.is_settled());
            own.map(|(id, _)| id.clone()).collect()
        };
        let is_new = self.dice.below(3) == 0;
        let known = self.dice.pick(&own).filter(|_| !is_new);
        let id = known.unwrap_or_else(|| format!("session {}", self.book().number()));
        let is_reading = self.dice.below(2) == 0;
        let (tool, next) = if is_reading {
            ("files/read", Memory::Private)
        } else {
            ("mail/send", Memory::Sent)
        };
        let (before, newest) = {
            let mut book = self.book();
            let newest = book.newest;
            let session = book.sessions.entry(id.clone()).or_insert_with(|| Session {
                owner: self.owner,
                memory: Fact::new(Memory::Nothing),
            });
            if session.memory.sure == Memory::Nothing {
                session.memory.doubt = Some(next);
            }
            (session.memory.sure, newest)
        };
        let one = || use_session(&self.doors, &self.book, &id, tool, next, newest);
        let (first, second) = tokio::join!(one(), one());
        let (first, second) = (first?, second?);
        for answer in [first, second] {
            match before {
                Memory::Ended => assert_eq!(why(&answer), ReasonCode::SessionEnded),
                Memory::Nothing => assert!(is_allow(&answer), "{answer:?}"),
                other if other == next => assert!(is_allow(&answer), "{answer:?}"),
                _ => assert_eq!(why(&answer), ReasonCode::Forbidden, "{answer:?}"),
            }
        }
        Ok(())
    }

    pub(super) async fn end_session(&mut self) -> Result<(), Status> {
        let own: Vec<String> = {
            let book = self.book();
            let own = book.sessions.iter().filter(|(_, session)| {
                session.owner == self.owner
                    && session.memory.is_settled()
                    && session.memory.sure != Memory::Ended
            });
            own.map(|(id, _)| id.clone()).collect()
        };
        let Some(id) = self.dice.pick(&own) else {
            return Ok(());
        };
        let newest = {
            let mut book = self.book();
            let session = book.sessions.get_mut(&id).unwrap();
            session.memory.doubt = Some(Memory::Ended);
            book.newest
        };
        let request = v1::EndSessionRequest {
            actor: actor(user("ana")),
            idempotency_key: self.key(),
            session_id: id.clone(),
        };
        let answer = self.doors.control.end_session(request).await?.into_inner();
        let mut book = self.book();
        book.acknowledged(newest, answer.revision, "EndSession", &id);
        let session = book.sessions.get_mut(&id).unwrap();
        session.memory.confirm(Memory::Ended);
        Ok(())
    }

    pub(super) async fn put_or_delete(&mut self) -> Result<(), Status> {
        let id = format!("person {}-{}", self.owner, self.dice.below(3));
        let is_kept = self.dice.below(4) > 0;
        let (version, newest) = {
            let mut book = self.book();
            let version = book.number() as i64;
            let newest = book.newest;
            let new = || Entity {
                version: Fact::new(None),
            };
            let entity = book.entities.entry(id.clone()).or_insert_with(new);
            let is_there = entity.version.sure.is_some();
            let version = (!is_there || is_kept).then_some(version);
            entity.version.doubt = Some(version);
            (version, newest)
        };
        let by = actor(user("ana"));
        let (verb, revision) = match version {
            Some(version) => {
                let request = v1::PutEntityRequest {
                    actor: by,
                    entity: Some(person(&id, version)),
                    ..Default::default()
                };
                let answer = self.doors.control.put_entity(request).await?;
                ("PutEntity", answer.into_inner().revision)
            }
            None => {
                let request = v1::DeleteEntityRequest {
                    actor: by,
                    uid: Some(user(&id)),
                    ..Default::default()
                };
                let answer = self.doors.control.delete_entity(request).await?;
                ("DeleteEntity", answer.into_inner().revision)
            }
        };
        let mut book = self.book();
        book.acknowledged(newest, revision, verb, &id);
        let entity = book.entities.get_mut(&id).unwrap();
        entity.version.confirm(version);
        Ok(())
    }
}

/// Opens a task, perhaps again.
pub async fn open_task(
    doors: &mut Doors,
    book: &Mutex<Book>,
    owner: usize,
    newest: u64,
    request: v1::OpenTaskRequest,
) -> Result<(), Status> {
    let purpose = request.purpose.clone();
    let answer = doors.control.open_task(request).await?.into_inner();
    let opened = answer.task.unwrap();
    let task = Task {
        owner,
        stands: Fact::new(Stands {
            step: opened.step,
            is_closed: false,
        }),
        budget: Quota::new(opened.call_budget.unwrap()),
    };
    let mut book = book.lock().unwrap();
    book.acknowledged(newest, answer.revision, "OpenTask", &opened.id);
    let opening = book.openings.get_mut(&purpose).unwrap();
    opening.1 = Some((answer.revision, opened.id.clone()));
    book.tasks.insert(opened.id, task);
    Ok(())
}

async fn use_once(doors: &Doors, book: &Mutex<Book>, id: &str, disk: u64) -> Result<(), Status> {
    let newest = {
        let mut book = book.lock().unwrap();
        book.approvals.get_mut(id).unwrap().uses.under_way += 1;
        book.newest
    };
    let answer = doors.decide(formatting(disk, &[id])).await?;
    let mut book = book.lock().unwrap();
    book.decided(newest, &answer);
    let approval = book.approvals.get_mut(id).unwrap();
    approval.uses.end(is_allow(&answer));
    Ok(())
}

async fn use_session(
    doors: &Doors,
    book: &Mutex<Book>,
    id: &str,
    tool: &str,
    next: Memory,
    newest: u64,
) -> Result<v1::AuthorizeResponse, Status> {
    let answer = doors.decide(in_session(tool, id)).await?;
    let mut book = book.lock().unwrap();
    book.decided(newest, &answer);
    let session = book.sessions.get_mut(id).unwrap();
    if is_allow(&answer) {
        session.memory.confirm(next);
    }
    Ok(answer)
}

/// A person whose name says which version this is.
fn person(id: &str, version: i64) -> v1::Entity {
    let name = prost_types::Value {
        kind: Some(prost_types::value::Kind::StringValue(version.to_string())),
    };
    v1::Entity {
        uid: Some(user(id)),
        attributes: Some(prost_types::Struct {
            fields: [("name".to_owned(), name)].into(),
        }),
        ..Default::default()
    }
}

/// Which version a person is.
pub fn version_of(entity: &v1::Entity) -> i64 {
    let name = &entity.attributes.as_ref().unwrap().fields["name"];
    match &name.kind {
        Some(prost_types::value::Kind::StringValue(version)) => version.parse().unwrap(),
        other => panic!("{other:?}"),
    }
}

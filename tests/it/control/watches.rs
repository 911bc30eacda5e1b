//! Watches: every change once and in order, approvals as they change, and when a watch ends.

use std::time::Duration;

use callgate::domain::authority::change::ChangeOrigin;
use callgate::domain::ids::SessionId;
use callgate::proto::v1;
use callgate::proto::v1::ApprovalStatus;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use callgate::proto::v1::watch_changes_response::Change;
use callgate::service::generation::Generation;
use callgate::service::ledger::PlannedChange;
use tonic::{Code, Streaming};

use crate::control::{World, actor, assert_refused, by, callers, person};
use crate::support::in_process::{call_for, context, entity};

async fn next<T>(stream: &mut Streaming<T>) -> T {
    let message = tokio::time::timeout(Duration::from_secs(20), stream.message()).await;
    message
        .expect("in time")
        .expect("no error")
        .expect("not the end")
}

async fn end<T: std::fmt::Debug>(stream: &mut Streaming<T>) -> Result<Option<T>, tonic::Status> {
    tokio::time::timeout(Duration::from_secs(20), stream.message())
        .await
        .expect("in time")
}

impl World {
    async fn changes(&mut self, after_revision: u64) -> Streaming<v1::WatchChangesResponse> {
        let request = v1::WatchChangesRequest { after_revision };
        let stream = self.client.watch_changes(by("edge", request)).await;
        stream.expect("a stream").into_inner()
    }

    async fn approvals(
        &mut self,
        filter: v1::WatchApprovalsRequest,
    ) -> Streaming<v1::WatchApprovalsResponse> {
        let stream = self.client.watch_approvals(by("edge", filter)).await;
        stream.expect("a stream").into_inner()
    }

    /// `helper` asks for a commit for `sam`, in a task.
    async fn pending(&mut self, task: &str) -> v1::Approval {
        let mut question = call_for("commit", "sam");
        let call = context(&mut question);
        call.subject.get_or_insert_default().entity = entity("Agent", "helper");
        call.workflow = Some(v1::Workflow {
            task_id: task.into(),
            ..Default::default()
        });
        let request = v1::RequestApprovalRequest {
            call_context: question.call_context.map(|call| *call),
            ..Default::default()
        };
        let answer = self.client.request_approval(by("edge", request)).await;
        answer.expect("an approval").into_inner().approval.unwrap()
    }
}

#[tokio::test]
async fn changes_come_once_and_in_order_from_the_past_into_the_present() {
    let mut world = World::start().await;
    let delegated = world.granted(world.grant()).await;
    let task = world.opened(world.task()).await;
    let mut all = world.changes(0).await;
    let mut late = world.changes(2).await;

    let first = next(&mut all).await;
    assert_eq!(
        (first.revision, first.verb.as_str(), first.caller.as_str()),
        (1, "LoadDirectory", "callgate")
    );
    assert!(
        matches!(first.change, Some(Change::BundleDigest(digest)) if digest.starts_with("sha256:"))
    );
    let second = next(&mut all).await;
    assert_eq!(
        (
            second.revision,
            second.verb.as_str(),
            second.caller.as_str()
        ),
        (2, "GrantDelegation", "edge")
    );
    assert_eq!(second.actor, entity("Mcp::User", "sam"));
    assert_eq!(second.change, Some(Change::Delegation(delegated)));
    let third = next(&mut all).await;
    assert_eq!(third.change, Some(Change::Task(task.clone())));
    assert_eq!(next(&mut late).await, third);

    // What happens from now on, more than one page of it.
    for _ in 0..300 {
        world.granted(world.grant()).await;
    }
    let ended = v1::EndSessionRequest {
        actor: person("sec"),
        session_id: "s".into(),
        ..Default::default()
    };
    world
        .client
        .end_session(by("edge", ended))
        .await
        .expect("ended");
    let mut resumed = world.changes(10).await;
    for stream in [&mut all, &mut late] {
        for revision in 4..=304 {
            assert_eq!(next(stream).await.revision, revision);
        }
    }
    for revision in 11..=303 {
        assert_eq!(next(&mut resumed).await.revision, revision);
    }
    assert_eq!(
        next(&mut resumed).await.change,
        Some(Change::SessionEnded("s".into()))
    );
}

#[tokio::test]
async fn past_changes_are_told_as_they_were() {
    let mut world = World::start().await;
    let task = world.opened(world.task()).await;
    let delegated = v1::GrantDelegationRequest {
        task_id: task.id.clone(),
        ..world.grant()
    };
    let delegated = world.granted(delegated).await;
    let own = world.granted(world.grant()).await;
    let asked = world.pending("").await;
    let close = v1::CloseTaskRequest {
        actor: person("sam"),
        id: task.id.clone(),
        ..Default::default()
    };
    let closed = world.client.close_task(by("edge", close)).await;
    closed.expect("closed");
    let yes = v1::ApproveCallRequest {
        actor: person("sam"),
        id: asked.id.clone(),
        digest: asked.digest.clone(),
        ..Default::default()
    };
    let given = world.client.approve_call(by("edge", yes)).await;
    given.expect("approved");
    // Everything has ended by itself since.
    world.clock.pass(Duration::from_secs(100 * 24 * 3_600));

    let mut changes = world.changes(1).await;
    assert_eq!(next(&mut changes).await.change, Some(Change::Task(task)));
    assert_eq!(
        next(&mut changes).await.change,
        Some(Change::Delegation(delegated))
    );
    assert_eq!(
        next(&mut changes).await.change,
        Some(Change::Delegation(own))
    );
    assert_eq!(
        next(&mut changes).await.change,
        Some(Change::Approval(asked))
    );
    let Some(Change::Task(closed)) = next(&mut changes).await.change else {
        panic!("a task");
    };
    assert_eq!(closed.status(), v1::TaskStatus::Closed);
    let Some(Change::Approval(given)) = next(&mut changes).await.change else {
        panic!("an approval");
    };
    assert_eq!((given.status(), given.used), (ApprovalStatus::Approved, 0));
}

#[tokio::test]
async fn approvals_are_told_as_they_are_and_as_they_change() {
    let mut world = World::start().await;
    let task = world.opened(v1::OpenTaskRequest {
        steps: Vec::new(),
        ..world.task()
    });
    let task = task.await.id;
    let first = world.pending("").await;
    let mut waiting = world
        .approvals(v1::WatchApprovalsRequest {
            status: ApprovalStatus::Pending.into(),
            subject: entity("Agent", "helper"),
            ..Default::default()
        })
        .await;
    let mut of_task = world
        .approvals(v1::WatchApprovalsRequest {
            task_id: task.clone(),
            ..Default::default()
        })
        .await;
    assert_eq!(next(&mut waiting).await.approval.unwrap(), first);
    let second = world.pending(&task).await;
    assert_eq!(next(&mut waiting).await.approval.unwrap(), second);
    assert_eq!(next(&mut of_task).await.approval.unwrap(), second);

    let no = v1::RejectCallRequest {
        actor: person("sam"),
        id: first.id.clone(),
        ..Default::default()
    };
    world
        .client
        .reject_call(by("edge", no))
        .await
        .expect("refused");
    let told = next(&mut waiting).await.approval.unwrap();
    assert_eq!(
        (told.id.as_str(), told.status()),
        (&*first.id, ApprovalStatus::Rejected)
    );
    let close = v1::CloseTaskRequest {
        actor: person("sam"),
        id: task,
        ..Default::default()
    };
    world
        .client
        .close_task(by("edge", close))
        .await
        .expect("closed");
    for stream in [&mut waiting, &mut of_task] {
        let told = next(stream).await.approval.unwrap();
        assert_eq!(
            (told.id.as_str(), told.status()),
            (&*second.id, ApprovalStatus::TaskOver)
        );
    }
    // What changes by itself is told as well.
    let third = world.pending("").await;
    assert_eq!(next(&mut waiting).await.approval.unwrap(), third);
    world.clock.pass(Duration::from_secs(900));
    let told = next(&mut waiting).await.approval.unwrap();
    assert_eq!(
        (told.id.as_str(), told.status()),
        (&*third.id, ApprovalStatus::Expired)
    );
}

/// What becomes of an approval by itself is told to who watches for just that.
#[tokio::test]
async fn who_watches_for_a_status_hears_of_what_comes_to_have_it() {
    let mut world = World::start().await;
    let task = world.opened(v1::OpenTaskRequest {
        steps: Vec::new(),
        ..world.task()
    });
    let task = task.await.id;
    let watched = [
        ApprovalStatus::Used,
        ApprovalStatus::TaskOver,
        ApprovalStatus::Rejected,
        ApprovalStatus::Approved,
        ApprovalStatus::Expired,
    ];
    let mut watches = Vec::new();
    for status in watched {
        let filter = v1::WatchApprovalsRequest {
            status: status.into(),
            ..Default::default()
        };
        watches.push(world.approvals(filter).await);
    }
    let used = world.pending("").await;
    let yes = v1::ApproveCallRequest {
        actor: person("sam"),
        id: used.id.clone(),
        digest: used.digest.clone(),
        ..Default::default()
    };
    let given = world.client.approve_call(by("edge", yes)).await;
    given.expect("approved");
    // Told before it is used, which happens without a change.
    let told = next(&mut watches[3]).await.approval.unwrap();
    assert_eq!((&told.id, told.status()), (&used.id, watched[3]));
    let mut question = call_for("commit", "sam");
    let call = context(&mut question);
    call.subject.get_or_insert_default().entity = entity("Agent", "helper");
    call.approval_ids = vec![used.id.clone()];
    let mut client = AuthorizationClient::new(world.server.channel().await);
    let answer = client.authorize(by("edge", question)).await;
    let answer = answer.expect("an answer").into_inner();
    assert_eq!(answer.decision(), v1::Decision::Allow, "{answer:?}");
    let told = next(&mut watches[3]).await.approval.unwrap();
    assert_eq!((&told.id, told.status()), (&used.id, watched[0]), "it left");
    let over = world.pending(&task).await;
    let close = v1::CloseTaskRequest {
        actor: person("sam"),
        id: task,
        ..Default::default()
    };
    world
        .client
        .close_task(by("edge", close))
        .await
        .expect("closed");
    let rejected = world.pending("").await;
    let no = v1::RejectCallRequest {
        actor: person("sam"),
        id: rejected.id.clone(),
        ..Default::default()
    };
    world
        .client
        .reject_call(by("edge", no))
        .await
        .expect("refused");
    let expired = world.pending("").await;
    world.clock.pass(Duration::from_secs(900));
    for (index, wanted) in [(0, &used), (1, &over), (2, &rejected), (4, &expired)] {
        let told = next(&mut watches[index]).await.approval.unwrap();
        assert_eq!((&told.id, told.status()), (&wanted.id, watched[index]));
    }
}

#[tokio::test]
async fn a_revision_that_the_store_does_not_have_ends_a_watch() {
    let mut world = World::start().await;
    let request = v1::WatchChangesRequest { after_revision: 2 };
    let answer = world.client.watch_changes(by("edge", request)).await;
    let status = assert_refused(answer.map(|_| ()), Code::OutOfRange, "read the state anew");
    assert!(
        status
            .message()
            .contains("is 2, but the newest revision is 1"),
        "{status:?}"
    );
}

/// More changes than are kept for those who are slow.
const MANY: u64 = 12_000;

#[tokio::test]
async fn who_is_too_slow_hears_so_and_can_go_on() {
    let mut world = World::start().await;
    let mut slow = world.changes(1).await;
    let service = std::sync::Arc::clone(&world.server.service);
    let mut writes = tokio::task::JoinSet::new();
    for number in 0..MANY {
        let service = std::sync::Arc::clone(&service);
        writes.spawn(async move {
            let asked = ChangeOrigin {
                caller: "test".into(),
                principal: None,
                key: None,
            };
            let session: SessionId = format!("{number:0>1000}").into();
            let plan = |_: &Generation| -> Result<PlannedChange, ()> {
                Ok(PlannedChange {
                    verb: "EndSession",
                    id: session.text().clone(),
                    change: callgate::domain::authority::change::Change::SessionEnded {
                        session: session.clone(),
                    },
                })
            };
            let now = service.now();
            service
                .ledger()
                .write(asked, now, plan)
                .await
                .expect("written");
        });
    }
    writes.join_all().await;
    let mut last = 1;
    let status = loop {
        match end(&mut slow).await {
            Ok(Some(change)) => {
                assert_eq!(change.revision, last + 1);
                last = change.revision;
            }
            Ok(None) => panic!("it ended at {last} without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::Aborted, "{status:?}");
    assert!(
        status.message().contains("go on from the last one"),
        "{status:?}"
    );
    let mut resumed = world.changes(last).await;
    for revision in last + 1..=MANY + 1 {
        assert_eq!(next(&mut resumed).await.revision, revision);
    }
}

#[tokio::test]
async fn there_is_a_limit_to_watchers() {
    let mut world = World::with("[limits]\nwatchers = 1").await;
    let held = world.changes(0).await;
    let request = v1::WatchApprovalsRequest::default();
    let answer = world
        .client
        .watch_approvals(by("edge", request.clone()))
        .await;
    assert_refused(
        answer.map(|_| ()),
        Code::ResourceExhausted,
        "`limits.watchers`",
    );
    let request_of_asking = v1::WatchChangesRequest::default();
    let answer = world
        .client
        .watch_changes(by("asking", request_of_asking))
        .await;
    assert_refused(answer.map(|_| ()), Code::PermissionDenied, "`WatchChanges`");
    drop(held);
    // The place is free once the server has heard of it.
    for attempt in 0.. {
        match world
            .client
            .watch_approvals(by("edge", request.clone()))
            .await
        {
            Ok(_) => break,
            Err(status) => assert!(attempt < 1_000, "{status:?}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_watch_ends_when_the_server_stops() {
    let mut world = World::start().await;
    let mut changes = world.changes(1).await;
    let mut approvals = world.approvals(v1::WatchApprovalsRequest::default()).await;
    world.granted(world.grant()).await;
    assert_eq!(next(&mut changes).await.revision, 2);
    world.server.stop();
    assert_refused(
        end(&mut changes).await,
        Code::Unavailable,
        "the server is stopping",
    );
    assert_refused(
        end(&mut approvals).await,
        Code::Unavailable,
        "the server is stopping",
    );
}

#[tokio::test]
async fn a_watch_ends_for_who_may_no_longer_watch() {
    let mut world = World::start().await;
    let mut changes = world.changes(1).await;
    world.granted(world.grant()).await;
    assert_eq!(next(&mut changes).await.revision, 2);
    let without = callers().replace("\"edge\"", "\"other\"");
    let without = without.replace(
        &crate::grpc::transport::digest("edge"),
        &crate::grpc::transport::digest("x"),
    );
    let config = callgate::config::Config::from_toml(&without, "callgate.toml").unwrap();
    world.server.doors.apply(&config);
    let request = v1::GrantDelegationRequest {
        actor: actor("User", "sam"),
        ..world.grant()
    };
    world
        .client
        .grant_delegation(by("blind", request))
        .await
        .expect("a delegation");
    assert_refused(
        end(&mut changes).await,
        Code::Unauthenticated,
        "no configured caller",
    );
}

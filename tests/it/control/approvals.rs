//! Approvals: asked for, given, refused, used, and what cannot be approved.

use std::time::Duration;

use callgate::proto::v1;
use callgate::proto::v1::{ApprovalStatus, ReasonCode};
use tonic::Code;

use crate::control::{World, actor, assert_refused, by, person, reasons};
use crate::support::in_process::{call_for, context, entity};

/// `helper` calls a tool for `sam`.
fn question(tool: &str) -> v1::AuthorizeRequest {
    let mut request = call_for(tool, "sam");
    context(&mut request).subject = Some(v1::Subject {
        entity: entity("Agent", "helper"),
        identity: actor("Agent", "helper").unwrap().identity,
        claims: None,
    });
    request
}

async fn decided(world: &World, question: v1::AuthorizeRequest) -> v1::AuthorizeResponse {
    let mut asking = world.server.client().await;
    let answer = asking.authorize(by("edge", question)).await;
    answer.expect("an answer").into_inner()
}

fn asked(
    question: &v1::AuthorizeRequest,
    challenge: Option<v1::ApprovalChallenge>,
) -> v1::RequestApprovalRequest {
    v1::RequestApprovalRequest {
        call_context: question.call_context.as_deref().cloned(),
        challenge,
        ..Default::default()
    }
}

fn yes(approval: &v1::Approval) -> v1::ApproveCallRequest {
    v1::ApproveCallRequest {
        actor: person("sam"),
        id: approval.id.clone(),
        digest: approval.digest.clone(),
        comment: "go on".into(),
        ..Default::default()
    }
}

fn no(approval: &v1::Approval) -> v1::RejectCallRequest {
    v1::RejectCallRequest {
        actor: person("sam"),
        id: approval.id.clone(),
        comment: "not today".into(),
        ..Default::default()
    }
}

impl World {
    async fn requested(&mut self, request: v1::RequestApprovalRequest) -> v1::Approval {
        let answer = self.client.request_approval(by("edge", request)).await;
        answer.expect("an approval").into_inner().approval.unwrap()
    }

    async fn approved(&mut self, request: v1::ApproveCallRequest) -> v1::Approval {
        let answer = self.client.approve_call(by("edge", request)).await;
        answer.expect("an approval").into_inner().approval.unwrap()
    }
}

#[tokio::test]
async fn a_denied_call_is_approved_and_made_once() {
    let mut world = World::start().await;
    let denied = decided(&world, question("commit")).await;
    assert_eq!(denied.reasons[0].code(), ReasonCode::ApprovalRequired);
    let challenge = denied.approval.expect("a challenge");
    let pending = world
        .requested(asked(&question("commit"), Some(challenge.clone())))
        .await;
    assert!(pending.id.starts_with("appr-"), "{}", pending.id);
    let expected = v1::Approval {
        id: pending.id.clone(),
        digest: challenge.digest,
        subject: entity("Mcp::Agent", "helper"),
        root: entity("Mcp::User", "sam"),
        server: "git".into(),
        tool: "commit".into(),
        arguments_json: br#"{"n":3}"#.as_slice().into(),
        requested_at: world.after(0),
        expires_at: challenge.expires_at,
        status: ApprovalStatus::Pending.into(),
        initiator: v1::Initiator::Client.into(),
        circumstances: pending.circumstances.clone(),
        ..Default::default()
    };
    assert_eq!(pending, expected);

    let approved = world.approved(yes(&pending)).await;
    let expected = v1::Approval {
        status: ApprovalStatus::Approved.into(),
        decided_by: entity("Mcp::User", "sam"),
        decided_at: world.after(0),
        comment: "go on".into(),
        uses: 1,
        ..pending.clone()
    };
    assert_eq!(approved, expected);
    let mut with_it = question("commit");
    context(&mut with_it).approval_ids = vec![pending.id.clone()];
    assert_eq!(
        decided(&world, with_it.clone()).await.decision(),
        v1::Decision::Allow
    );
    let again = decided(&world, with_it).await;
    assert_eq!(again.reasons[0].code(), ReasonCode::ApprovalInvalid);

    let used = v1::ListApprovalsRequest {
        status: ApprovalStatus::Used.into(),
        subject: entity("Agent", "helper"),
        root: entity("User", "sam"),
        ..Default::default()
    };
    let used = world
        .client
        .list_approvals(by("edge", used))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (used.approvals[0].id.as_str(), used.approvals[0].used),
        (&*pending.id, 1)
    );
    let answer = world.client.approve_call(by("edge", yes(&pending))).await;
    assert_refused(answer, Code::FailedPrecondition, "was given already");
}

#[tokio::test]
async fn only_a_call_that_needs_a_yes_can_be_asked_for() {
    let mut world = World::start().await;
    let answer = world
        .client
        .request_approval(by("edge", asked(&question("log"), None)))
        .await;
    assert_refused(answer, Code::FailedPrecondition, "it needs no approval");
    let answer = world
        .client
        .request_approval(by("edge", asked(&question("purge"), None)))
        .await;
    let status = assert_refused(answer, Code::PermissionDenied, "");
    assert_eq!(reasons(&status)[0].code(), ReasonCode::NoPermit);
    let answer = world
        .client
        .request_approval(by("deaf", asked(&question("commit"), None)))
        .await;
    assert_refused(answer, Code::PermissionDenied, "not trusted");
    let none = v1::RequestApprovalRequest::default();
    let answer = world.client.request_approval(by("edge", none)).await;
    assert_refused(answer, Code::InvalidArgument, "`call_context` is required");
}

#[tokio::test]
async fn a_challenge_has_to_be_of_this_call_and_of_now() {
    let mut world = World::start().await;
    let denied = decided(&world, question("commit")).await;
    let challenge = denied.approval.expect("a challenge");
    let cases = [
        (
            v1::ApprovalChallenge {
                digest: format!("sha256:{}", "0".repeat(64)),
                ..challenge.clone()
            },
            "`challenge.digest` is not the digest of this call",
        ),
        (
            v1::ApprovalChallenge {
                expires_at: world.after(899),
                ..challenge.clone()
            },
            "`challenge.digest` is not the digest of this call",
        ),
        (
            v1::ApprovalChallenge {
                expires_at: world.after(0),
                ..challenge.clone()
            },
            "`challenge.expires_at` is over",
        ),
        (
            v1::ApprovalChallenge {
                expires_at: world.after(3_601),
                ..challenge.clone()
            },
            "`challenge.expires_at` is more than 60 minutes from now",
        ),
        (
            v1::ApprovalChallenge {
                expires_at: None,
                ..challenge.clone()
            },
            "`challenge.expires_at` is required",
        ),
        (
            v1::ApprovalChallenge {
                digest: String::new(),
                ..challenge.clone()
            },
            "`challenge.digest` is required",
        ),
    ];
    for (given, said) in cases {
        let request = asked(&question("commit"), Some(given));
        let answer = world.client.request_approval(by("edge", request)).await;
        assert_refused(answer, Code::InvalidArgument, said);
    }
    let mut other = question("commit");
    with_arguments(&mut other, br#"{"n": 4}"#);
    let request = asked(&other, Some(challenge.clone()));
    let answer = world.client.request_approval(by("edge", request)).await;
    assert_refused(answer, Code::InvalidArgument, "`challenge.digest`");
}

fn with_arguments(request: &mut v1::AuthorizeRequest, text: &'static [u8]) {
    let operation = context(request).operation.as_mut().unwrap();
    let Some(v1::operation::Kind::CallTool(tool)) = &mut operation.kind else {
        panic!("not a tool call");
    };
    tool.input = Some(v1::call_tool::Input::ArgumentsJson(text.into()));
}

#[tokio::test]
async fn a_call_that_waits_is_not_asked_for_twice() {
    let mut world = World::with("[limits]\npending_approvals = 1").await;
    let challenge = decided(&world, question("commit")).await.approval;
    let first = world
        .requested(asked(&question("commit"), challenge.clone()))
        .await;
    let same = world
        .requested(asked(&question("commit"), challenge.clone()))
        .await;
    assert_eq!(first, same);
    world.clock.pass(Duration::from_secs(10));
    // Without a challenge, whatever is pending for the call will do.
    let same = world.requested(asked(&question("commit"), None)).await;
    assert_eq!(first, same);
    let mut other = question("commit");
    with_arguments(&mut other, br#"{"n": 4}"#);
    let answer = world
        .client
        .request_approval(by("edge", asked(&other, None)))
        .await;
    assert_refused(
        answer,
        Code::ResourceExhausted,
        "`limits.pending_approvals`",
    );
    world
        .client
        .reject_call(by("edge", no(&first)))
        .await
        .expect("refused");
    let answer = world
        .client
        .request_approval(by("edge", asked(&question("commit"), challenge)));
    assert_refused(
        answer.await,
        Code::FailedPrecondition,
        "was decided already",
    );
    let anew = world.requested(asked(&question("commit"), None)).await;
    assert_ne!(anew.id, first.id);
}

#[tokio::test]
async fn who_may_not_approve_is_refused() {
    let mut world = World::start().await;
    let pending = world.requested(asked(&question("commit"), None)).await;
    let cases: [(v1::ApproveCallRequest, Code, &str); 6] = [
        (
            v1::ApproveCallRequest {
                actor: actor("Agent", "helper"),
                ..yes(&pending)
            },
            Code::InvalidArgument,
            "`actor.entity` is not a user",
        ),
        (
            v1::ApproveCallRequest {
                actor: person("ana"),
                ..yes(&pending)
            },
            Code::PermissionDenied,
            "",
        ),
        (
            v1::ApproveCallRequest {
                digest: format!("sha256:{}", "0".repeat(64)),
                ..yes(&pending)
            },
            Code::InvalidArgument,
            "`digest` is not the digest of this approval",
        ),
        (
            v1::ApproveCallRequest {
                digest: String::new(),
                ..yes(&pending)
            },
            Code::InvalidArgument,
            "`digest` is required",
        ),
        (
            v1::ApproveCallRequest {
                uses: 11,
                ..yes(&pending)
            },
            Code::InvalidArgument,
            "`uses` is 11, but at most 10 are allowed",
        ),
        (
            v1::ApproveCallRequest {
                id: "appr-0".into(),
                ..yes(&pending)
            },
            Code::NotFound,
            "approval `appr-0` is not known",
        ),
    ];
    for (request, code, said) in cases {
        let answer = world.client.approve_call(by("edge", request)).await;
        assert_refused(answer, code, said);
    }
    for (actor, code) in [
        (person("ana"), Code::PermissionDenied),
        (actor("Agent", "helper"), Code::InvalidArgument),
    ] {
        let request = v1::RejectCallRequest {
            actor,
            ..no(&pending)
        };
        let answer = world.client.reject_call(by("edge", request)).await;
        assert_refused(answer, code, "");
    }
    let second_person = v1::ApproveCallRequest {
        actor: person("sec"),
        uses: 3,
        ..yes(&pending)
    };
    let approved = world.approved(second_person).await;
    assert_eq!(
        (approved.uses, approved.decided_by),
        (3, entity("Mcp::User", "sec"))
    );
}

#[tokio::test]
async fn what_nobody_can_use_any_more_is_not_approved() {
    let mut world = World::start().await;
    let refused = world.requested(asked(&question("commit"), None)).await;
    let answer = world.client.reject_call(by("edge", no(&refused))).await;
    let answer = answer.expect("refused").into_inner().approval.unwrap();
    assert_eq!(answer.status(), ApprovalStatus::Rejected);
    assert_eq!((answer.uses, answer.comment.as_str()), (0, "not today"));
    let answer = world.client.approve_call(by("edge", yes(&refused))).await;
    assert_refused(answer, Code::FailedPrecondition, "was refused already");

    let late = world.requested(asked(&question("commit"), None)).await;
    world.clock.pass(Duration::from_secs(900));
    let answer = world.client.approve_call(by("edge", yes(&late))).await;
    assert_refused(answer, Code::FailedPrecondition, "has expired");

    let task = world.opened(v1::OpenTaskRequest {
        steps: Vec::new(),
        ..world.task()
    });
    let task = task.await.id;
    let mut in_task = question("commit");
    context(&mut in_task).workflow = Some(v1::Workflow {
        task_id: task.clone(),
        ..Default::default()
    });
    let pending = world.requested(asked(&in_task, None)).await;
    assert_eq!(pending.task_id, task);
    let close = v1::CloseTaskRequest {
        actor: person("sam"),
        id: task.clone(),
        ..Default::default()
    };
    world
        .client
        .close_task(by("edge", close))
        .await
        .expect("closed");
    let answer = world.client.approve_call(by("edge", yes(&pending))).await;
    assert_refused(
        answer,
        Code::FailedPrecondition,
        "was for a task that is over",
    );
    let over = v1::ListApprovalsRequest {
        task_id: task,
        status: ApprovalStatus::TaskOver.into(),
        ..Default::default()
    };
    let over = world
        .client
        .list_approvals(by("edge", over))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(over.approvals.len(), 1);
    let answer = world
        .client
        .request_approval(by("edge", asked(&in_task, None)))
        .await;
    let status = assert_refused(answer, Code::PermissionDenied, "is closed");
    assert_eq!(reasons(&status)[0].code(), ReasonCode::TaskClosed);
}

#[tokio::test]
async fn asking_again_under_a_key_asks_once() {
    let mut world = World::start().await;
    let request = v1::RequestApprovalRequest {
        idempotency_key: "k".into(),
        ..asked(&question("commit"), None)
    };
    let once = world
        .client
        .request_approval(by("edge", request.clone()))
        .await;
    let again = world.client.request_approval(by("edge", request)).await;
    assert_eq!(once.unwrap().into_inner(), again.unwrap().into_inner());
    let other = v1::RequestApprovalRequest {
        idempotency_key: "k".into(),
        ..asked(&question("purge"), None)
    };
    let answer = world.client.request_approval(by("edge", other)).await;
    assert_refused(answer, Code::AlreadyExists, "another request");
}

#[tokio::test]
async fn nobody_approves_a_call_of_their_own() {
    let mut world = World::start().await;
    let mut own = question("commit");
    let call = context(&mut own);
    call.subject.get_or_insert_default().entity = entity("User", "sec");
    call.delegation = None;
    let pending = world.requested(asked(&own, None)).await;
    let request = v1::ApproveCallRequest {
        actor: person("sec"),
        ..yes(&pending)
    };
    let answer = world.client.approve_call(by("edge", request)).await;
    assert_refused(
        answer,
        Code::PermissionDenied,
        "nobody approves a call of their own",
    );
}

#[tokio::test]
async fn of_many_answers_at_once_one_counts_and_a_no_is_final() {
    let mut world = World::start().await;
    let pending = world.requested(asked(&question("commit"), None)).await;
    let mut answers = tokio::task::JoinSet::new();
    for number in 0..40 {
        let mut client = world.client.clone();
        let (yes, no) = (yes(&pending), no(&pending));
        answers.spawn(async move {
            if number % 2 == 0 {
                (true, client.approve_call(by("edge", yes)).await.map(|_| ()))
            } else {
                (false, client.reject_call(by("edge", no)).await.map(|_| ()))
            }
        });
    }
    let answers = answers.join_all().await;
    let counted = |is_yes: bool| {
        let of_kind = answers.iter().filter(|(kind, _)| *kind == is_yes);
        of_kind.filter(|(_, answer)| answer.is_ok()).count()
    };
    assert!(counted(true) <= 1, "a yes is given once");
    assert_eq!(counted(false), 1, "a no revokes it, or comes first");
    let again = world.client.approve_call(by("edge", yes(&pending))).await;
    assert_refused(again, Code::FailedPrecondition, "was refused already");
    for status in answers.into_iter().filter_map(|(_, answer)| answer.err()) {
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    }
}

#[tokio::test]
async fn one_key_asked_for_at_once_is_one_write() {
    let world = World::start().await;
    let mut answers = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let mut client = world.client.clone();
        let request = v1::GrantDelegationRequest {
            idempotency_key: "same".into(),
            ..world.grant()
        };
        answers.spawn(async move { client.grant_delegation(by("edge", request)).await });
    }
    for answer in answers.join_all().await {
        let answer = answer.expect("a delegation").into_inner();
        assert_eq!(answer.revision, 2);
    }
}

//! Delegations: made, redelegated, narrowed, revoked, and what cannot be delegated.

use std::time::Duration;

use callgate::proto::v1;
use callgate::proto::v1::DelegationStatus;
use tonic::Code;

use crate::control::{World, actor, assert_refused, by, person, reasons, scope};
use crate::support::in_process::{call, context, entity};

fn revoke(by: Option<v1::Actor>, id: &str) -> v1::RevokeDelegationRequest {
    v1::RevokeDelegationRequest {
        actor: by,
        id: id.into(),
        ..Default::default()
    }
}

fn narrow(id: &str) -> v1::NarrowDelegationRequest {
    v1::NarrowDelegationRequest {
        actor: person("sam"),
        id: id.into(),
        ..Default::default()
    }
}

/// `from` redelegates what it was delegated.
fn redelegated(world: &World, from: &str, to: &str, parent: &str) -> v1::GrantDelegationRequest {
    v1::GrantDelegationRequest {
        actor: actor("Agent", from),
        to: entity("Agent", to),
        parent_id: parent.into(),
        max_redelegations: 0,
        ..world.grant()
    }
}

async fn listed(world: &mut World, filter: v1::ListDelegationsRequest) -> Vec<String> {
    let answer = world.client.list_delegations(by("edge", filter)).await;
    let found = answer.expect("a list").into_inner().delegations;
    found.into_iter().map(|it| it.id).collect()
}

#[tokio::test]
async fn what_is_delegated_is_as_it_was_asked_for() {
    let mut world = World::start().await;
    let request = world.grant();
    let answer = world
        .client
        .grant_delegation(by("edge", request.clone()))
        .await;
    let answer = answer.expect("a delegation").into_inner();
    assert_eq!(answer.revision, 2);
    let delegated = answer.delegation.unwrap();
    assert!(delegated.id.starts_with("delegation-"), "{}", delegated.id);
    let expected = v1::StoredDelegation {
        id: delegated.id.clone(),
        from: entity("Mcp::User", "sam"),
        to: entity("Mcp::Agent", "helper"),
        scope: request.scope,
        max_redelegations: 2,
        not_before: world.after(0),
        expires_at: request.expires_at,
        created_at: world.after(0),
        status: DelegationStatus::Active.into(),
        ..Default::default()
    };
    assert_eq!(delegated, expected);
    world.clock.pass(Duration::from_secs(3_600));
    let filter = v1::ListDelegationsRequest {
        id: delegated.id,
        ..Default::default()
    };
    let found = world
        .client
        .list_delegations(by("edge", filter))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(found.delegations[0].status(), DelegationStatus::Expired);
}

#[tokio::test]
async fn what_is_revoked_allows_nothing_more() {
    let mut world = World::start().await;
    let delegated = world.granted(world.grant()).await;
    let passed_on = redelegated(&world, "helper", "worker", &delegated.id);
    let passed_on = world.granted(passed_on).await;
    let mut asking = world.server.client().await;
    let mut question = call("log");
    let asked = context(&mut question);
    asked.subject.get_or_insert_default().entity = entity("Agent", "worker");
    asked.delegation = Some(v1::Delegation {
        delegation_ids: vec![passed_on.id.clone()],
        ..v1::Delegation::default()
    });
    let before = asking
        .authorize(by("edge", question.clone()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(before.decision(), v1::Decision::Allow, "{before:?}");

    let answer = world
        .client
        .revoke_delegation(by("edge", revoke(person("ana"), &delegated.id)))
        .await;
    assert_refused(answer, Code::PermissionDenied, "");
    let answer = world
        .client
        .revoke_delegation(by("edge", revoke(person("sam"), &delegated.id)))
        .await;
    let answer = answer.expect("revoked").into_inner();
    let taken = answer.delegation.unwrap();
    assert_eq!(taken.status(), DelegationStatus::Revoked);
    assert_eq!(taken.revoked_at, world.after(0));
    question.at_least_revision = answer.revision;
    let after = asking
        .authorize(by("edge", question))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(after.reasons[0].code(), v1::ReasonCode::DelegationRevoked);
    // What was redelegated from it is no longer in force either.
    let active = v1::ListDelegationsRequest {
        status: DelegationStatus::Active.into(),
        ..Default::default()
    };
    assert!(listed(&mut world, active).await.is_empty());

    // Once more succeeds; the first moment stays.
    world.clock.pass(Duration::from_secs(5));
    let answer = world
        .client
        .revoke_delegation(by("edge", revoke(person("sam"), &delegated.id)))
        .await;
    assert_eq!(
        answer.expect("revoked").into_inner().delegation.unwrap(),
        taken
    );
    // Anybody who may revoke the whole may revoke a part that hangs in the air.
    let part = revoke(person("sec"), &passed_on.id);
    world
        .client
        .revoke_delegation(by("edge", part))
        .await
        .expect("revoked");
    let answer = world
        .client
        .revoke_delegation(by("edge", revoke(person("sam"), "delegation-0")))
        .await;
    assert_refused(
        answer,
        Code::NotFound,
        "delegation `delegation-0` is not known",
    );
}

/// Changes a good request, and says how it is then refused.
type Spoil = (
    fn(&World, &mut v1::GrantDelegationRequest),
    Code,
    &'static str,
);

const SPOILS: &[Spoil] = &[
    (
        |_, it| it.to = entity("User", "ana"),
        Code::InvalidArgument,
        "`to` is not an agent",
    ),
    (
        |_, it| it.to = entity("Agent", "unheard-of"),
        Code::InvalidArgument,
        "`to` names agent `unheard-of`, which is not known",
    ),
    (
        |_, it| it.actor = actor("Agent", "helper"),
        Code::InvalidArgument,
        "`to` is the actor itself",
    ),
    (
        |_, it| it.actor = actor("Server", "git"),
        Code::InvalidArgument,
        "`actor.entity` is neither a user nor an agent",
    ),
    (
        |_, it| it.scope = scope(&[], v1::AccessLevel::Read),
        Code::InvalidArgument,
        "`scope` names no tool, no server and no group",
    ),
    (
        |_, it| it.scope = scope(&["svn"], v1::AccessLevel::Read),
        Code::InvalidArgument,
        "`scope.servers[0]` `svn` is not a registered server",
    ),
    (
        |_, it| {
            let scope = it.scope.as_mut().unwrap();
            scope.tools = vec!["git/log".into(), "git/unheard-of".into()];
        },
        Code::InvalidArgument,
        "`scope.tools[1]` `git/unheard-of` is not a registered tool",
    ),
    (
        |world, it| it.expires_at = world.after(0),
        Code::InvalidArgument,
        "`expires_at` is over already",
    ),
    (
        |world, it| it.not_before = world.after(3_600),
        Code::InvalidArgument,
        "`expires_at` is not after the delegation's beginning",
    ),
    (
        |world, it| it.expires_at = world.after(91 * 86_400),
        Code::InvalidArgument,
        "`expires_at` is more than 90 days from now",
    ),
    (
        |_, it| it.max_redelegations = 5,
        Code::InvalidArgument,
        "`max_redelegations` is 5, but at most 4 is allowed",
    ),
    (
        |_, it| it.parent_id = "delegation-0".into(),
        Code::NotFound,
        "delegation `delegation-0` is not known",
    ),
    (
        |_, it| it.task_id = "task-0".into(),
        Code::NotFound,
        "task `task-0` is not known",
    ),
];

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let mut world = World::start().await;
    for (spoil, code, said) in SPOILS {
        let mut request = world.grant();
        spoil(&world, &mut request);
        let answer = world.client.grant_delegation(by("edge", request)).await;
        assert_refused(answer, *code, said);
    }
    assert!(listed(&mut world, Default::default()).await.is_empty());
}

/// Changes what `helper` redelegates to `worker`, and says how it is then denied.
type Widening = (
    fn(&World, &mut v1::GrantDelegationRequest),
    v1::ReasonCode,
    &'static str,
);

const WIDENINGS: &[Widening] = &[
    (
        |_, it| it.actor = actor("Agent", "third"),
        v1::ReasonCode::DelegationChainBroken,
        "was delegated to somebody else",
    ),
    (
        |_, it| it.max_redelegations = 2,
        v1::ReasonCode::DelegationOutOfScope,
        "may not be redelegated that often",
    ),
    (
        |world, it| it.expires_at = world.after(3_601),
        v1::ReasonCode::DelegationOutOfScope,
        "does not last as long",
    ),
    (
        |_, it| it.scope = scope(&["git"], v1::AccessLevel::Admin),
        v1::ReasonCode::DelegationOutOfScope,
        "does not cover calls that administer",
    ),
    (
        |_, it| it.scope.as_mut().unwrap().groups = vec!["reading".into()],
        v1::ReasonCode::DelegationOutOfScope,
        "does not cover group `reading`",
    ),
];

#[tokio::test]
async fn what_is_redelegated_only_gets_narrower() {
    let mut world = World::start().await;
    let delegated = world.granted(world.grant()).await;
    for (widen, code, said) in WIDENINGS {
        let mut request = redelegated(&world, "helper", "worker", &delegated.id);
        widen(&world, &mut request);
        let answer = world.client.grant_delegation(by("edge", request)).await;
        let status = assert_refused(answer, Code::PermissionDenied, said);
        assert_eq!(reasons(&status)[0].code(), *code, "{said}");
    }
    let once = v1::GrantDelegationRequest {
        max_redelegations: 1,
        ..redelegated(&world, "helper", "worker", &delegated.id)
    };
    let once = world.granted(once).await;
    assert_eq!(once.parent_id, delegated.id);
    // Nobody stands in a chain twice.
    let circle = redelegated(&world, "worker", "helper", &once.id);
    let answer = world.client.grant_delegation(by("edge", circle)).await;
    let status = assert_refused(answer, Code::PermissionDenied, "appears twice");
    assert_eq!(
        reasons(&status)[0].code(),
        v1::ReasonCode::DelegationChainBroken
    );
    let twice = world
        .granted(redelegated(&world, "worker", "third", &once.id))
        .await;
    // Its depth is used up.
    let more = redelegated(&world, "third", "helper", &twice.id);
    let answer = world.client.grant_delegation(by("edge", more)).await;
    assert_refused(answer, Code::PermissionDenied, "may not be redelegated");
    // What is over cannot be redelegated.
    let answer = world
        .client
        .revoke_delegation(by("edge", revoke(person("sam"), &delegated.id)))
        .await;
    answer.expect("revoked");
    let late = redelegated(&world, "worker", "third", &once.id);
    let answer = world.client.grant_delegation(by("edge", late)).await;
    assert_refused(answer, Code::FailedPrecondition, "was revoked");
}

#[tokio::test]
async fn a_delegation_can_only_be_narrowed() {
    let mut world = World::start().await;
    let delegated = world.granted(world.grant()).await;
    let cases: [(v1::NarrowDelegationRequest, Code, &str); 7] = [
        (
            narrow(&delegated.id),
            Code::InvalidArgument,
            "`scope` or `expires_at` or `max_redelegations`",
        ),
        (narrow("delegation-0"), Code::InvalidArgument, "`scope` or"),
        (
            v1::NarrowDelegationRequest {
                max_redelegations: Some(1),
                ..narrow("delegation-0")
            },
            Code::NotFound,
            "delegation `delegation-0` is not known",
        ),
        (
            v1::NarrowDelegationRequest {
                max_redelegations: Some(3),
                ..narrow(&delegated.id)
            },
            Code::InvalidArgument,
            "`max_redelegations` is greater than before",
        ),
        (
            v1::NarrowDelegationRequest {
                expires_at: world.after(3_601),
                ..narrow(&delegated.id)
            },
            Code::InvalidArgument,
            "`expires_at` is later than before",
        ),
        (
            v1::NarrowDelegationRequest {
                scope: scope(&["git"], v1::AccessLevel::Admin),
                ..narrow(&delegated.id)
            },
            Code::InvalidArgument,
            "`scope` is wider than before",
        ),
        (
            v1::NarrowDelegationRequest {
                actor: person("ana"),
                max_redelegations: Some(1),
                ..narrow(&delegated.id)
            },
            Code::PermissionDenied,
            "",
        ),
    ];
    for (request, code, said) in cases {
        let answer = world.client.narrow_delegation(by("edge", request)).await;
        assert_refused(answer, code, said);
    }
    let request = v1::NarrowDelegationRequest {
        scope: Some(v1::Scope {
            tools: vec!["git/log".into()],
            access: v1::AccessLevel::Read.into(),
            ..Default::default()
        }),
        expires_at: world.after(60),
        max_redelegations: Some(0),
        ..narrow(&delegated.id)
    };
    let answer = world
        .client
        .narrow_delegation(by("edge", request.clone()))
        .await;
    let answer = answer.expect("narrowed").into_inner();
    let expected = v1::StoredDelegation {
        scope: request.scope,
        expires_at: request.expires_at,
        max_redelegations: 0,
        ..delegated.clone()
    };
    assert_eq!(answer.delegation.unwrap(), expected);
    world.clock.pass(Duration::from_secs(60));
    let late = v1::NarrowDelegationRequest {
        expires_at: world.after(0),
        ..narrow(&delegated.id)
    };
    let answer = world.client.narrow_delegation(by("edge", late)).await;
    assert_refused(answer, Code::FailedPrecondition, "has expired");
}

#[tokio::test]
async fn a_delegation_for_a_task_fits_it_and_ends_with_it() {
    let mut world = World::start().await;
    let task = world.opened(world.task()).await;
    let for_task = |world: &World| v1::GrantDelegationRequest {
        task_id: task.id.clone(),
        ..world.grant()
    };
    let other_person = v1::GrantDelegationRequest {
        actor: person("ana"),
        ..for_task(&world)
    };
    let answer = world
        .client
        .grant_delegation(by("edge", other_person))
        .await;
    let status = assert_refused(answer, Code::PermissionDenied, "is for another person");
    assert_eq!(reasons(&status)[0].code(), v1::ReasonCode::TaskOutOfScope);
    let other_agent = v1::GrantDelegationRequest {
        to: entity("Agent", "worker"),
        ..for_task(&world)
    };
    let answer = world.client.grant_delegation(by("edge", other_agent)).await;
    assert_refused(answer, Code::PermissionDenied, "is for another agent");

    let delegated = world.granted(for_task(&world)).await;
    let for_anything = redelegated(&world, "helper", "worker", &delegated.id);
    let answer = world
        .client
        .grant_delegation(by("edge", for_anything.clone()))
        .await;
    assert_refused(answer, Code::PermissionDenied, "has to be for the same");
    let part = v1::GrantDelegationRequest {
        task_id: task.id.clone(),
        ..for_anything
    };
    let part = world.granted(part).await;
    let of_task = || v1::ListDelegationsRequest {
        task_id: task.id.clone(),
        ..Default::default()
    };
    assert_eq!(listed(&mut world, of_task()).await, [delegated.id, part.id]);
    let close = v1::CloseTaskRequest {
        actor: person("sam"),
        id: task.id.clone(),
        ..Default::default()
    };
    world
        .client
        .close_task(by("edge", close))
        .await
        .expect("closed");
    let over = v1::ListDelegationsRequest {
        status: DelegationStatus::TaskOver.into(),
        ..of_task()
    };
    assert_eq!(listed(&mut world, over).await.len(), 2);
    let answer = world
        .client
        .grant_delegation(by("edge", for_task(&world)))
        .await;
    assert_refused(answer, Code::FailedPrecondition, "is closed");
}

#[tokio::test]
async fn lists_come_in_pages_and_in_order() {
    let mut world = World::start().await;
    let mut made = Vec::new();
    for n in 0..7 {
        let to = if n % 2 == 0 { "helper" } else { "worker" };
        let request = v1::GrantDelegationRequest {
            to: entity("Agent", to),
            ..world.grant()
        };
        made.push(world.granted(request).await.id);
    }
    let mut filter = v1::ListDelegationsRequest {
        page_size: 3,
        ..Default::default()
    };
    let mut found = Vec::new();
    let mut pages = Vec::new();
    loop {
        let page = world
            .client
            .list_delegations(by("edge", filter.clone()))
            .await;
        let page = page.expect("a page").into_inner();
        assert_eq!(page.revision, 8);
        pages.push(page.delegations.len());
        found.extend(page.delegations.into_iter().map(|it| it.id));
        filter.page_token = page.next_page_token;
        if filter.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, made);
    assert_eq!(pages, [3, 3, 1]);

    let to_worker = v1::ListDelegationsRequest {
        to: entity("Agent", "worker"),
        page_size: 3,
        ..Default::default()
    };
    let page = world
        .client
        .list_delegations(by("edge", to_worker))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (page.delegations.len(), page.next_page_token.as_str()),
        (3, "")
    );
    let from_ana = v1::ListDelegationsRequest {
        from: entity("User", "ana"),
        ..Default::default()
    };
    assert!(listed(&mut world, from_ana).await.is_empty());
    let greedy = v1::ListDelegationsRequest {
        page_size: 1_001,
        ..Default::default()
    };
    let answer = world.client.list_delegations(by("edge", greedy)).await;
    assert_refused(
        answer,
        Code::InvalidArgument,
        "`page_size` is 1001, but at most 1000",
    );
}

#[tokio::test]
async fn there_is_a_limit_to_what_is_stored() {
    let mut world = World::with("[limits]\ndelegations = 1\nopen_tasks = 1").await;
    world.granted(world.grant()).await;
    let answer = world
        .client
        .grant_delegation(by("edge", world.grant()))
        .await;
    assert_refused(answer, Code::ResourceExhausted, "`limits.delegations`");
    let task = world.opened(world.task()).await;
    let answer = world.client.open_task(by("edge", world.task())).await;
    assert_refused(answer, Code::ResourceExhausted, "`limits.open_tasks`");
    let close = v1::CloseTaskRequest {
        actor: person("sam"),
        id: task.id,
        ..Default::default()
    };
    world
        .client
        .close_task(by("edge", close))
        .await
        .expect("closed");
    world.opened(world.task()).await;
}

//! Fewer redelegations than before: what stays, what ends, and who may take away what is left.

use callgate::proto::v1;
use callgate::proto::v1::DelegationStatus;
use tonic::Code;

use crate::control::{World, actor, assert_refused, by, person, scope};
use crate::support::in_process::{call, context, entity};

/// Three links: `helper`, `worker` and `third`, as deep as the first allows.
async fn chain(world: &mut World) -> [String; 3] {
    let first = world.granted(world.grant()).await;
    let next = |from: &str, to: &str, parent: &str, times| v1::GrantDelegationRequest {
        actor: actor("Agent", from),
        to: entity("Agent", to),
        parent_id: parent.into(),
        max_redelegations: times,
        ..world.grant()
    };
    let second = next("helper", "worker", &first.id, 1);
    let second = world.granted(second).await;
    let third = v1::GrantDelegationRequest {
        actor: actor("Agent", "worker"),
        to: entity("Agent", "third"),
        parent_id: second.id.clone(),
        max_redelegations: 0,
        ..world.grant()
    };
    let third = world.granted(third).await;
    [first.id, second.id, third.id]
}

async fn narrow(world: &mut World, id: &str, times: u32) {
    let request = v1::NarrowDelegationRequest {
        actor: person("sam"),
        id: id.into(),
        max_redelegations: Some(times),
        ..Default::default()
    };
    let answer = world.client.narrow_delegation(by("edge", request)).await;
    answer.expect("narrowed");
}

async fn status(world: &mut World, id: &str) -> DelegationStatus {
    let filter = v1::ListDelegationsRequest {
        id: id.into(),
        ..Default::default()
    };
    let answer = world.client.list_delegations(by("edge", filter)).await;
    answer.expect("a list").into_inner().delegations[0].status()
}

/// The code with which a call under this delegation is denied, if it is.
async fn denied(world: &mut World, agent: &str, id: &str) -> Option<v1::ReasonCode> {
    let mut question = call("log");
    let asked = context(&mut question);
    asked.subject.get_or_insert_default().entity = entity("Agent", agent);
    asked.delegation = Some(v1::Delegation {
        delegation_ids: vec![id.into()],
        ..v1::Delegation::default()
    });
    let mut asking = world.server.client().await;
    let answer = asking.authorize(by("edge", question)).await;
    let answer = answer.expect("a decision").into_inner();
    answer.reasons.first().map(|reason| reason.code())
}

#[tokio::test]
async fn fewer_redelegations_end_only_what_is_deeper() {
    let mut world = World::start().await;
    let [first, second, third] = chain(&mut world).await;
    narrow(&mut world, &first, 1).await;
    assert_eq!(denied(&mut world, "worker", &second).await, None);
    assert_eq!(status(&mut world, &second).await, DelegationStatus::Active);
    let broken = Some(v1::ReasonCode::DelegationChainBroken);
    assert_eq!(denied(&mut world, "third", &third).await, broken);
    // Its own number says one, what is above it leaves none.
    let more = v1::GrantDelegationRequest {
        actor: actor("Agent", "worker"),
        to: entity("Agent", "third"),
        parent_id: second.clone(),
        max_redelegations: 0,
        ..world.grant()
    };
    let answer = world.client.grant_delegation(by("edge", more)).await;
    assert_refused(answer, Code::PermissionDenied, "may not be redelegated");
    narrow(&mut world, &first, 0).await;
    assert_eq!(denied(&mut world, "helper", &first).await, None);
    assert_eq!(denied(&mut world, "worker", &second).await, broken);
}

#[tokio::test]
async fn what_is_left_below_can_be_taken_away_by_those_who_could_before() {
    let mut world = World::start().await;
    let [first, second, third] = chain(&mut world).await;
    narrow(&mut world, &first, 1).await;
    let narrower = v1::NarrowDelegationRequest {
        actor: person("sam"),
        id: second.clone(),
        scope: scope(&["git"], v1::AccessLevel::Read),
        ..Default::default()
    };
    let answer = world.client.narrow_delegation(by("edge", narrower)).await;
    answer.expect("narrowed");
    narrow(&mut world, &first, 0).await;
    for id in [&third, &second] {
        let revoke = |by: &str| v1::RevokeDelegationRequest {
            actor: person(by),
            id: id.clone(),
            ..Default::default()
        };
        let other = world.client.revoke_delegation(by("edge", revoke("ana")));
        assert_refused(other.await, Code::PermissionDenied, "");
        let answer = world.client.revoke_delegation(by("edge", revoke("sam")));
        let revoked = answer.await.expect("revoked").into_inner();
        assert!(revoked.delegation.expect("one").revoked_at.is_some());
    }
}

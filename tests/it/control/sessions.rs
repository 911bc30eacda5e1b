//! Sessions are ended under the name that calls give them.

use callgate::proto::v1;
use tonic::Code;

use crate::control::{World, assert_refused, by, person};
use crate::support::in_process::{call, context, entity};

/// The answer to a call in a session.
async fn answer(world: &World, session: &str) -> v1::AuthorizeResponse {
    let mut question = call("log");
    let asked = context(&mut question);
    asked.subject.get_or_insert_default().entity = entity("Agent", "helper");
    asked.workflow.get_or_insert_default().session_id = session.into();
    let mut asking = world.server.client().await;
    let answer = asking.authorize(by("edge", question)).await;
    answer.expect("a decision").into_inner()
}

async fn denied(world: &World, session: &str) -> Option<v1::ReasonCode> {
    let answer = answer(world, session).await;
    answer.reasons.first().map(|reason| reason.code())
}

fn end(session: &str) -> v1::EndSessionRequest {
    end_by("sec", session)
}

fn end_by(who: &str, session: &str) -> v1::EndSessionRequest {
    v1::EndSessionRequest {
        actor: person(who),
        session_id: session.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_session_with_a_long_name_can_be_ended() {
    let mut world = World::start().await;
    let ended = Some(v1::ReasonCode::SessionEnded);
    for bytes in [1, 1_024, 1_025, 16_384] {
        let name = "s".repeat(bytes);
        assert_eq!(denied(&world, &name).await, None, "{bytes}");
        let answer = world.client.end_session(by("edge", end(&name))).await;
        answer.unwrap_or_else(|refused| panic!("{bytes}: {refused}"));
        assert_eq!(denied(&world, &name).await, ended, "{bytes}");
    }
    let answer = world
        .client
        .end_session(by("edge", end(&"s".repeat(16_385))));
    assert_refused(
        answer.await,
        Code::InvalidArgument,
        "`session_id` has 16385 bytes",
    );
}

/// Records and `WatchChanges` show the digest of a long name: it names the same session.
#[tokio::test]
async fn a_session_with_a_long_name_is_ended_under_what_records_show() {
    use sha2::{Digest as _, Sha256};

    let mut world = World::start().await;
    let name = "t".repeat(2_000);
    assert_eq!(denied(&world, &name).await, None);
    let hex: String = Sha256::digest(&name)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let answer = world
        .client
        .end_session(by("edge", end(&format!("sha256:{hex}"))));
    answer.await.expect("ended");
    assert_eq!(
        denied(&world, &name).await,
        Some(v1::ReasonCode::SessionEnded)
    );
}

#[tokio::test]
async fn ended_sessions_allow_nothing() {
    let mut world = World::start().await;
    let before = answer(&world, "s-1").await;
    assert_eq!(before.decision(), v1::Decision::Allow);
    let refused = world
        .client
        .end_session(by("edge", end_by("sam", "s-1")))
        .await;
    assert_refused(refused, Code::PermissionDenied, "");
    let ended = world.client.end_session(by("edge", end("s-1"))).await;
    assert_eq!(ended.expect("ended").into_inner().revision, 2);
    let after = answer(&world, "s-1").await;
    assert_eq!(after.reasons[0].code(), v1::ReasonCode::SessionEnded);
    let again = world.client.end_session(by("edge", end("s-1"))).await;
    again.expect("ended already");
}

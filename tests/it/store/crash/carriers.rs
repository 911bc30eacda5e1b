//! Labels outlive the server wherever they are kept: with a task, with a delegation and what it was redelegated from, with who acts
//! for whom. Whatever a call brought that was acknowledged is there after `kill -9`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use callgate::proto::v1;
use callgate::proto::v1::{AccessLevel, ReasonCode};
use tonic::Status;

use super::company::{
    Doors, actor, agent, by_delegation, in_session, in_task, is_allow, moment_in, scope, user, why,
};
use super::{Dice, variable};
use crate::support::process::{Bundle, Server};
use crate::support::worlds;

/// Clients at once.
const CLIENTS: u64 = 4;
/// Bounds of the time after which a server that serves is killed.
const LIFE_MILLIS: (u64, u64) = (50, 400);
const TOOLS: [&str; 4] = [
    "files/read",
    "probes/task",
    "probes/delegated",
    "probes/pair",
];
/// The last of what carries labels that is looked at after each kill; all of it at the end.
const LOOKED_AT: usize = 40;

const POLICIES: &str = r#"
@id("task-carries") forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource == Mcp::Tool::"probes/task")
when { context has task && context.task has labels && context.task.labels.contains("private") };
@id("delegation-carries") forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource == Mcp::Tool::"probes/delegated")
when { context has delegation && context.delegation has labels && context.delegation.labels.contains("private") };
@id("pair-carries") forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource == Mcp::Tool::"probes/pair")
when { context has recent && context.recent.labels.contains("private") };
"#;

fn bundle() -> Bundle {
    let probes = [("task", "read"), ("delegated", "read"), ("pair", "read")];
    let office = worlds::office().file("carriers.cedar", POLICIES);
    Bundle::of(&office.server("probes", "bob").tools(&probes))
}

/// What a call carried that was acknowledged to have brought what is private.
#[derive(Debug, Clone)]
enum Carrier {
    Task(String),
    /// What was delegated, and what its agent redelegated from it.
    Chain(String, String),
    /// `one`, for Ana.
    Pair,
}

impl Carrier {
    /// A call that brings what is private.
    fn reading(&self) -> v1::CallContext {
        match self {
            Self::Task(task) => in_task("files/read", task),
            Self::Chain(_, redelegated) => by_delegation("two", "files/read", redelegated),
            Self::Pair => in_session("files/read", "any"),
        }
    }

    /// Calls that are forbidden once it is there.
    fn probes(&self) -> Vec<v1::CallContext> {
        match self {
            Self::Task(task) => vec![in_task("probes/task", task)],
            Self::Chain(delegated, redelegated) => vec![
                by_delegation("one", "probes/delegated", delegated),
                by_delegation("two", "probes/delegated", redelegated),
            ],
            Self::Pair => vec![in_session("probes/pair", "other")],
        }
    }

    async fn check(&self, doors: &Doors, is_private: bool) {
        for probe in self.probes() {
            let answer = doors.probe(probe).await;
            let wanted = match is_private {
                true => ReasonCode::Forbidden,
                false => ReasonCode::Unspecified,
            };
            assert_eq!(why(&answer), wanted, "{self:?}: {answer:?}");
        }
    }
}

async fn open(doors: &mut Doors) -> Result<Carrier, Status> {
    let request = v1::OpenTaskRequest {
        actor: actor(user("ana")),
        agent: Some(agent("one")),
        person: Some(user("ana")),
        purpose: "reading".into(),
        scope: Some(scope(&TOOLS, AccessLevel::Read)),
        deadline: Some(moment_in(3_600)),
        ..Default::default()
    };
    let opened = doors.control.open_task(request).await?.into_inner();
    Ok(Carrier::Task(opened.task.unwrap().id))
}

async fn delegate(doors: &mut Doors) -> Result<Carrier, Status> {
    let mut ids: Vec<String> = Vec::new();
    for (from, to) in [(user("ana"), "one"), (agent("one"), "two")] {
        let is_first = ids.is_empty();
        let request = v1::GrantDelegationRequest {
            actor: actor(from),
            to: Some(agent(to)),
            scope: Some(scope(&TOOLS, AccessLevel::Read)),
            parent_id: ids.first().cloned().unwrap_or_default(),
            max_redelegations: u32::from(is_first),
            expires_at: Some(moment_in(if is_first { 3_600 } else { 1_800 })),
            ..Default::default()
        };
        let delegated = doors.control.grant_delegation(request).await?.into_inner();
        ids.push(delegated.delegation.unwrap().id);
    }
    let [delegated, redelegated] = <[String; 2]>::try_from(ids).unwrap();
    Ok(Carrier::Chain(delegated, redelegated))
}

/// Makes one thing after the other that carries labels, and reads in it twice at once, until the server is gone.
async fn work(mut doors: Doors, mut dice: Dice, marked: Arc<Mutex<Vec<Carrier>>>) {
    loop {
        let made = match dice.below(5) {
            0 => Ok(Carrier::Pair),
            1 | 2 => open(&mut doors).await,
            _ => delegate(&mut doors).await,
        };
        let Ok(carrier) = made else { return };
        let (first, second) = tokio::join!(
            doors.decide(carrier.reading()),
            doors.decide(carrier.reading())
        );
        let answers = [first, second];
        for answer in answers.iter().flatten() {
            assert!(is_allow(answer), "{carrier:?}: {answer:?}");
        }
        if answers.iter().any(Result::is_ok) {
            marked.lock().unwrap().push(carrier);
        }
        if answers.iter().any(Result::is_err) {
            return;
        }
    }
}

/// `CALLGATE_CRASHES` sets how often the server is killed (default 5).
#[test]
fn no_label_that_was_acknowledged_is_lost_with_whatever_carries_it() {
    let kills = variable("CALLGATE_CRASHES").unwrap_or(5);
    let seed = variable("CALLGATE_CRASH_SEED").unwrap_or_else(|| getrandom::u64().unwrap());
    println!("CALLGATE_CRASH_SEED={seed}");
    let mut dice = Dice(seed);
    let bundle = bundle();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let marked: Arc<Mutex<Vec<Carrier>>> = Arc::default();
    for _ in 0..kills {
        let server = Server::start(&bundle, &[]);
        runtime.block_on(async {
            let doors = Doors::of(&server).await;
            let known = marked.lock().unwrap().clone();
            for carrier in known.iter().rev().take(LOOKED_AT) {
                carrier.check(&doors, true).await;
            }
            let mut clients = tokio::task::JoinSet::new();
            for _ in 0..CLIENTS {
                let doors = Doors::of(&server).await;
                clients.spawn(work(doors, Dice(dice.roll()), Arc::clone(&marked)));
            }
            let (least, more) = LIFE_MILLIS;
            tokio::time::sleep(Duration::from_millis(least + dice.below(more))).await;
            server.signal("-KILL");
            while let Some(done) = clients.join_next().await {
                done.unwrap();
            }
        });
    }
    let server = Server::start(&bundle, &[]);
    runtime.block_on(async {
        let mut doors = Doors::of(&server).await;
        let known = marked.lock().unwrap().clone();
        let count = |is: fn(&Carrier) -> bool| known.iter().filter(|it| is(it)).count();
        let tasks = count(|it| matches!(it, Carrier::Task(_)));
        let chains = count(|it| matches!(it, Carrier::Chain(..)));
        assert!(
            tasks > 0 && chains > 0,
            "there was no load: {tasks}, {chains}"
        );
        for carrier in &known {
            carrier.check(&doors, true).await;
        }
        // What has read nothing carries nothing.
        open(&mut doors).await.unwrap().check(&doors, false).await;
        delegate(&mut doors)
            .await
            .unwrap()
            .check(&doors, false)
            .await;
        println!("{kills} kills: {tasks} tasks and {chains} chains keep what was read in them");
    });
}

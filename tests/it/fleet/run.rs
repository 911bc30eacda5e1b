//! One run: objects of its own, clients that use them on all servers, and what happens to the servers meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use callgate::proto::v1;
use callgate::proto::v1::AccessLevel;
use callgate::store::postgres::PostgresStore;
use serde_json::json;
use tokio::sync::RwLock;
use tonic::Status;

use crate::fleet::history::{About, Event, History, SESSIONS};
use crate::fleet::proxy::{Link, Proxy};
use crate::store::crash::company::{
    Doors, actor, agent, by_delegation, formatting, in_session, in_task, is_allow, moment_in,
    scope, user,
};
use crate::store::crash::load::Dice;
use crate::support::postgres::Cluster;
use crate::support::process::{Bundle, Server};
use crate::support::worlds;

/// What is usual of both.
const WINDOW: Duration = Duration::from_millis(2_500);
const LONGEST_FAULT: Duration = Duration::from_millis(2_800);
/// The shortest.
const SHORTEST_FAULT: Duration = Duration::from_millis(200);
/// Clients of a run.
const CLIENTS: u64 = 6;
/// Clients that write under keys.
const WRITERS: u64 = 3;
/// Agents of which each run takes another.
const AGENTS: u64 = 64;
/// How long one question may take.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// Whoever has read something private posts nothing, whatever session it names.
const POSTING: &str = r#"
@id("nothing-private-posted") @reason("what is private stays")
forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource == Mcp::Tool::"board/post")
when { context.labels.contains("private") };
"#;
/// Lets a process believe in another time, if it is installed. Without it clocks do not jump.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// The file that says how far the wall clock of a server is off.
fn clock_of(bundle: &Bundle) -> PathBuf {
    bundle.folder().join("clock")
}

/// Three servers, each with a link to the database.
pub struct Fleet {
    replicas: Vec<Replica>,
    doors: Arc<RwLock<Vec<Option<Doors>>>>,
    /// How long faults are made in a run, beside its preparation and its end.
    pub window: Duration,
    /// How long one of them lasts at most.
    pub longest_fault: Duration,
}

struct Replica {
    bundle: Bundle,
    link: Proxy,
    server: Option<Server>,
}

/// Makes the tables of a database.
pub fn migrate(url: &str) {
    drop(PostgresStore::open(url, Path::new("."), None).unwrap());
}

/// What a run is about.
pub struct Things {
    delegation: String,
    task: String,
    approval: String,
    disk: u64,
    budget: u64,
    uses: u32,
    /// The agent of the pair.
    agent: String,
    /// Sessions and keys are told apart by it.
    pub name: String,
}

impl Fleet {
    pub async fn start(cluster: &Cluster, database: &str) -> Self {
        cluster.create(database);
        let mut fleet = Self {
            replicas: Vec::new(),
            doors: Arc::new(RwLock::new(vec![None, None, None])),
            window: WINDOW,
            longest_fault: LONGEST_FAULT,
        };
        for number in 0..3 {
            let link = Proxy::before(cluster.port());
            let url = format!("postgres://callgate@127.0.0.1:{}/{database}", link.port());
            let config = format!("[state]\nurl = \"{url}\"\nreplica = \"replica {number}\"\n");
            let mut world = worlds::office()
                .config(&config)
                .file("board.cedar", POSTING)
                .server("board", "bob")
                .tool_with("post", "write", json!({"egress": true}));
            for number in 0..AGENTS {
                world = world.agent(&format!("w{number}"), "ana", &[]);
            }
            let bundle = Bundle::of(&world);
            fs::write(clock_of(&bundle), "+0").unwrap();
            fleet.replicas.push(Replica {
                bundle,
                link,
                server: None,
            });
            fleet.begin(number).await;
        }
        fleet
    }

    /// Starts a server, and waits until it answers.
    async fn begin(&mut self, number: usize) {
        let bundle = self.replicas[number].bundle.clone();
        let server = tokio::task::spawn_blocking(move || {
            let clock = clock_of(&bundle);
            let preload = Path::new(FAKETIME).exists().then_some(FAKETIME);
            let variables = [
                ("LD_PRELOAD", preload.unwrap_or_default()),
                ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
                ("FAKETIME_NO_CACHE", "1"),
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ];
            Server::listening(&bundle, &variables)
        });
        let server = server.await.unwrap();
        self.doors.write().await[number] = Some(Doors::of(&server).await);
        self.replicas[number].server = Some(server);
    }

    pub fn signal(&self, number: usize, signal: &str) {
        if let Some(server) = &self.replicas[number].server {
            server.signal(signal);
        }
    }

    pub fn logs(&self) -> Vec<String> {
        let servers = self.replicas.iter().filter_map(|it| it.server.as_ref());
        servers.map(Server::log).collect()
    }

    /// One run with faults of all kinds. Gives what was done, and what must not have happened.
    pub async fn run(&mut self, seed: u64) -> (String, Vec<String>) {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9));
        let (things, history) = (
            self.prepare(seed, &mut dice).await,
            Arc::new(History::default()),
        );
        let things = Arc::new(things);
        let is_over = Arc::new(AtomicBool::new(false));
        let working = self.clients(seed, &things, &history, &is_over);
        let faults = self.disturb(&mut dice).await;
        is_over.store(true, Ordering::SeqCst);
        for client in working {
            client.await.unwrap();
        }
        self.end(seed, faults, &things, &history).await
    }

    /// One run in which the database goes to another port.
    pub async fn run_and(
        &mut self,
        seed: u64,
        fail_over: impl FnOnce() -> u16,
    ) -> (String, Vec<String>) {
        let mut dice = Dice(seed);
        let (things, history) = (
            self.prepare(seed, &mut dice).await,
            Arc::new(History::default()),
        );
        let things = Arc::new(things);
        let is_over = Arc::new(AtomicBool::new(false));
        let working = self.clients(seed, &things, &history, &is_over);
        tokio::time::sleep(WINDOW / 2).await;
        let port = tokio::task::block_in_place(fail_over);
        for replica in &self.replicas {
            replica.link.lead_to(port);
        }
        tokio::time::sleep(2 * WINDOW).await;
        is_over.store(true, Ordering::SeqCst);
        for client in working {
            client.await.unwrap();
        }
        self.end(seed, vec!["promotion".to_owned()], &things, &history)
            .await
    }

    fn clients(
        &self,
        seed: u64,
        things: &Arc<Things>,
        history: &Arc<History>,
        is_over: &Arc<AtomicBool>,
    ) -> Vec<tokio::task::JoinHandle<()>> {
        let one = |number: u64| Client {
            doors: Arc::clone(&self.doors),
            things: Arc::clone(things),
            history: Arc::clone(history),
            is_over: Arc::clone(is_over),
            dice: Dice(seed.wrapping_mul(31).wrapping_add(number)),
            begun: Instant::now(),
        };
        let mut working: Vec<_> = (1..=CLIENTS)
            .map(|number| tokio::spawn(one(number).call()))
            .collect();
        working.push(tokio::spawn(one(0).take_away()));
        let writers = CLIENTS + 1..=CLIENTS + WRITERS;
        working.extend(writers.map(|number| tokio::spawn(one(number).give_and_take(number))));
        working
    }

    /// What a run is about, made while all is well. Waits until every server answers.
    async fn prepare(&self, seed: u64, dice: &mut Dice) -> Things {
        let begun = Instant::now();
        loop {
            match self.try_to_prepare(seed, dice).await {
                Ok(things) => return things,
                Err(status) => assert!(begun.elapsed() < Duration::from_secs(60), "{status:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn try_to_prepare(&self, seed: u64, dice: &mut Dice) -> Result<Things, Status> {
        let doors = self.doors.read().await.clone();
        let all: Vec<Doors> = doors.into_iter().flatten().collect();
        let mut control = all[dice.below(3) as usize].control.clone();
        let name = format!("{seed}-{}", dice.roll());
        let budget = 2 + dice.below(60);
        let uses = 1 + u32::try_from(dice.below(3)).unwrap();
        let request = v1::GrantDelegationRequest {
            actor: actor(user("ana")),
            to: Some(agent("one")),
            scope: Some(scope(&["mail/list"], AccessLevel::Read)),
            expires_at: Some(moment_in(36_000)),
            ..Default::default()
        };
        let granted = control.grant_delegation(request).await?.into_inner();
        let request = v1::OpenTaskRequest {
            actor: actor(user("ana")),
            agent: Some(agent("one")),
            person: Some(user("ana")),
            purpose: name.clone(),
            scope: Some(scope(&["mail/list"], AccessLevel::Read)),
            call_budget: Some(budget),
            deadline: Some(moment_in(36_000)),
            ..Default::default()
        };
        let opened = control.open_task(request).await?.into_inner();
        let disk = dice.roll() >> 12;
        let doors = &all[0];
        let denied = doors.decide(formatting(disk, &[])).await?;
        let request = v1::RequestApprovalRequest {
            call_context: Some(formatting(disk, &[])),
            challenge: denied.approval,
            ..Default::default()
        };
        let asked = control.request_approval(request).await?.into_inner();
        let asked = asked.approval.unwrap_or_default();
        let request = v1::ApproveCallRequest {
            actor: actor(user("bob")),
            id: asked.id.clone(),
            digest: asked.digest,
            uses,
            ..Default::default()
        };
        let revision = control.approve_call(request).await?.into_inner().revision;
        // Everybody knows it, and decides.
        for doors in &all {
            let request = v1::AuthorizeRequest {
                call_context: Some(Box::new(in_session("mail/list", &format!("{name}-probe")))),
                at_least_revision: revision,
                ..Default::default()
            };
            let answer = doors
                .authorization
                .clone()
                .authorize(request)
                .await?
                .into_inner();
            if !is_allow(&answer) {
                return Err(Status::unavailable(format!("{answer:?}")));
            }
        }
        Ok(Things {
            delegation: granted.delegation.unwrap_or_default().id,
            task: opened.task.unwrap_or_default().id,
            approval: asked.id,
            disk,
            budget,
            uses,
            agent: format!("w{}", dice.below(AGENTS)),
            name,
        })
    }

    /// Faults for the length of a run. Afterwards all is well, but for the time that it takes.
    async fn disturb(&mut self, dice: &mut Dice) -> Vec<String> {
        let (begun, mut told) = (Instant::now(), Vec::new());
        while begun.elapsed() < self.window {
            let number = dice.below(3) as usize;
            let most = (self.longest_fault - SHORTEST_FAULT).as_millis() as u64;
            let pause = SHORTEST_FAULT + Duration::from_millis(dice.below(most));
            tokio::time::sleep(Duration::from_millis(dice.below(400))).await;
            let at = begun.elapsed().as_millis();
            match dice.below(7) {
                0 | 1 => {
                    told.push(format!("{at} ms: {number} held {pause:?}"));
                    self.replicas[number].link.set(Link::Held);
                    tokio::time::sleep(pause).await;
                }
                2 => {
                    told.push(format!("{at} ms: {number} cut {pause:?}"));
                    self.replicas[number].link.set(Link::Cut);
                    tokio::time::sleep(pause).await;
                }
                3 | 4 => {
                    told.push(format!("{at} ms: {number} paused {pause:?}"));
                    self.signal(number, "-STOP");
                    tokio::time::sleep(pause).await;
                    self.signal(number, "-CONT");
                }
                5 => {
                    let offset = [-1_200, -90, 90, 1_200][dice.below(4) as usize];
                    told.push(format!(
                        "{at} ms: the clock of {number} jumps by {offset} s"
                    ));
                    let clock = clock_of(&self.replicas[number].bundle);
                    fs::write(clock, format!("{offset:+}")).unwrap();
                    // It decides nothing meanwhile.
                    tokio::time::sleep(pause / 2).await;
                    let clock = clock_of(&self.replicas[number].bundle);
                    fs::write(clock, "+0").unwrap();
                }
                _ => {
                    told.push(format!("{at} ms: {number} killed"));
                    self.doors.write().await[number] = None;
                    // Dropping it kills it.
                    drop(self.replicas[number].server.take());
                    self.begin(number).await;
                }
            }
            self.replicas[number].link.set(Link::Whole);
        }
        told
    }

    /// Waits until all is well, looks whether what was acknowledged is still there, and judges.
    async fn end(
        &mut self,
        seed: u64,
        faults: Vec<String>,
        things: &Arc<Things>,
        history: &Arc<History>,
    ) -> (String, Vec<String>) {
        // Every server answers again.
        let _ = self.prepare(seed, &mut Dice(seed ^ 1)).await;
        let (budget, uses) = (things.budget as usize, things.uses as usize);
        let mut violations = history.violations(budget, uses);
        let acknowledged: Vec<About> = history
            .acknowledged
            .lock()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        let doors = self.doors.read().await.clone();
        for (number, doors) in doors.iter().enumerate() {
            let Some(doors) = doors else { continue };
            for about in &acknowledged {
                let answer = doors.decide(things.call(about)).await;
                if answer.as_ref().is_ok_and(is_allow) {
                    violations.push(format!("{about:?}: allowed by replica {number} at the end"));
                }
            }
            let listed = v1::ListTasksRequest {
                id: things.task.clone(),
                ..Default::default()
            };
            let listed = doors.control.clone().list_tasks(listed).await;
            if listed.is_ok_and(|it| it.into_inner().tasks.is_empty()) {
                violations.push(format!("the task is lost on replica {number}"));
            }
        }
        let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for event in history.events.lock().unwrap().iter() {
            let kind = format!("{:?}", event.about);
            let kind = kind.split('(').next().unwrap().to_owned();
            let count = counts.entry(kind).or_default();
            count.0 += usize::from(event.is_allow);
            count.1 += 1;
        }
        let counts: Vec<String> = counts
            .iter()
            .map(|(kind, (allowed, all))| format!("{kind} {allowed}/{all}"))
            .collect();
        let told = format!(
            "{}; {} acknowledged; {}",
            faults.join(", "),
            acknowledged.len(),
            counts.join(", ")
        );
        (told, violations)
    }
}

impl Things {
    pub fn call(&self, about: &About) -> v1::CallContext {
        match about {
            About::Delegation => by_delegation("one", "mail/list", &self.delegation),
            About::Task => in_task("mail/list", &self.task),
            About::Approval => formatting(self.disk, &[&self.approval]),
            About::SessionRead(number) => in_session("files/read", &self.session(*number)),
            About::SessionSend(number) => in_session("mail/send", &self.session(*number)),
            About::PairRead => self.by_worker("files/read"),
            About::PairPost => self.by_worker("board/post"),
            About::Keyed(delegation) => by_delegation("one", "mail/list", delegation),
        }
    }

    fn session(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    /// A call by the run's own agent, outside of any session.
    fn by_worker(&self, tool: &str) -> v1::CallContext {
        let mut call = in_session(tool, "");
        if let Some(subject) = &mut call.subject {
            subject.entity = Some(agent(&self.agent));
        }
        call
    }
}

/// Somebody who asks one server after the other.
pub struct Client {
    doors: Arc<RwLock<Vec<Option<Doors>>>>,
    pub things: Arc<Things>,
    pub history: Arc<History>,
    pub is_over: Arc<AtomicBool>,
    pub dice: Dice,
    begun: Instant,
}

impl Client {
    pub async fn any(&mut self) -> Option<(usize, Doors)> {
        let number = self.dice.below(3) as usize;
        let doors = self.doors.read().await[number].clone();
        doors.map(|doors| (number, doors))
    }

    async fn call(mut self) {
        while !self.is_over.load(Ordering::SeqCst) {
            let Some((replica, doors)) = self.any().await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let session = self.dice.below(SESSIONS as u64) as usize;
            let is_late = self.begun.elapsed() > WINDOW / 3;
            let about = match self.dice.below(12) {
                0..=2 => About::Delegation,
                3 | 4 => About::Task,
                5 => About::Approval,
                6 => About::SessionRead(session),
                7 => About::SessionSend(session),
                // Once, after some time: until then posts pass.
                8 if is_late => About::PairRead,
                _ => About::PairPost,
            };
            // Sessions meet on several servers at once.
            let asked = Instant::now();
            let answer =
                tokio::time::timeout(PATIENCE, doors.decide(self.things.call(&about))).await;
            if let Ok(Ok(answer)) = answer {
                self.history.add(Event {
                    about,
                    replica,
                    asked,
                    answered: Instant::now(),
                    is_allow: is_allow(&answer),
                });
            }
            tokio::time::sleep(Duration::from_millis(self.dice.below(15))).await;
        }
    }

    /// Takes away what the run is about, each at some time, and tries again until it is acknowledged.
    async fn take_away(mut self) {
        let mut left = vec![About::Delegation, About::Task, About::SessionRead(0)];
        while !left.is_empty() && !self.is_over.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(200 + self.dice.below(600))).await;
            let Some((replica, doors)) = self.any().await else {
                continue;
            };
            let about = left[self.dice.below(left.len() as u64) as usize].clone();
            let mut control = doors.control.clone();
            let taken = async {
                let by = actor(user("ana"));
                let idempotency_key = format!("{}-{about:?}", self.things.name);
                match &about {
                    About::Delegation => {
                        let id = self.things.delegation.clone();
                        let request = v1::RevokeDelegationRequest {
                            actor: by,
                            idempotency_key,
                            id,
                        };
                        control.revoke_delegation(request).await.map(|_| ())
                    }
                    About::Task => {
                        let id = self.things.task.clone();
                        let request = v1::CloseTaskRequest {
                            actor: by,
                            idempotency_key,
                            id,
                        };
                        control.close_task(request).await.map(|_| ())
                    }
                    _ => {
                        let session_id = self.things.session(0);
                        let request = v1::EndSessionRequest {
                            actor: by,
                            idempotency_key,
                            session_id,
                        };
                        control.end_session(request).await.map(|_| ())
                    }
                }
            };
            let taken = tokio::time::timeout(PATIENCE, taken).await;
            if matches!(taken, Ok(Ok(()))) {
                if about == About::SessionRead(0) {
                    self.history.acknowledge(About::SessionSend(0), replica);
                }
                self.history.acknowledge(about.clone(), replica);
                left.retain(|it| *it != about);
            }
        }
    }
}

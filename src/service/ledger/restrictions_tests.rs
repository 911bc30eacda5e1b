//! What takes something away, while the store fails under several changes at once.

use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Poll;

use callgate_engine::cedar::EntityUID;
use proptest::prelude::*;

use super::*;
use crate::domain::authority::approval::{Approval, ApprovalDecision, ApprovedCall};
use crate::domain::authority::change::{Change, IdempotencyKey};
use crate::domain::authority::delegation::Delegation;
use crate::domain::authority::scope::Scope;
use crate::domain::authority::state::Authority;
use crate::domain::authority::stop::Stop;
use crate::domain::authority::task::Task;
use crate::domain::ids::SessionId;
use crate::domain::request::call_context::Initiator;
use crate::domain::schema::{self, AccessLevel, TYPES};
use crate::service::Service;
use crate::service::clock::SystemClock;
use crate::service::fixtures;
use crate::service::generation::LoadedBundle;
use crate::service::settings::ServiceSettings;
use crate::store::backend::Store;
use crate::store::fixtures::AskingStore;
use crate::store::postgres::membership::Membership;
use crate::store::sqlite::SqliteStore;

type Answer = Result<(), StoreError>;

fn bundle() -> LoadedBundle {
    fixtures::policies("permit (principal, action, resource);")
}

fn service(ask: impl FnMut() -> Answer + Send + 'static) -> Arc<Service> {
    let inner = SqliteStore::in_memory().unwrap();
    let store = AskingStore::changes(inner, ask);
    let settings = ServiceSettings::default();
    let service = Service::open(settings, Recorder::default(), store, Arc::new(SystemClock));
    let service = service.unwrap();
    service.publish(bundle()).unwrap();
    Arc::new(service)
}

/// What asks for an answer, who is told of it, and who gives one.
fn answered() -> (
    impl FnMut() -> Answer + Send + 'static,
    Receiver<()>,
    Sender<Answer>,
) {
    let (ask, asked) = channel();
    let (answers, answer) = channel();
    let ask = move || {
        // Nobody listens once the test is over.
        let _ = ask.send(());
        answer.recv().unwrap_or(Err(StoreError::Closed))
    };
    (ask, asked, answers)
}

/// A service whose store waits for an answer to each commit, and the end that answers.
struct Held {
    service: Arc<Service>,
    asked: Receiver<()>,
    answers: Sender<Answer>,
}

impl Held {
    fn new() -> Self {
        let (ask, asked, answers) = answered();
        Self {
            service: service(ask),
            asked,
            answers,
        }
    }

    fn ledger(&self) -> &Arc<Ledger> {
        self.service.ledger()
    }

    fn live(&self) -> Authority {
        self.service.live().unwrap().authority.clone()
    }

    /// Starts a write, which runs in the background once it is awaited.
    fn start(&self, key: Option<&str>, plan: Plan) -> tokio::task::JoinHandle<Written> {
        let service = Arc::clone(&self.service);
        let origin = origin(key);
        tokio::spawn(async move { write(&service, origin, &plan).await })
    }

    /// The store is at the commit of a change, and this many submissions wait behind it.
    async fn is_asked(&self, behind: usize) {
        self.asked.recv().unwrap();
        self.has_behind(behind).await;
    }

    async fn has_behind(&self, behind: usize) {
        while self.ledger().writer().waiting() < behind {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn answer(&self, answer: Answer) {
        self.answers.send(answer).unwrap();
    }

    /// Makes a change for the test to start from.
    async fn make(&self, plan: Plan) {
        self.answer(Ok(()));
        self.start(None, plan).await.unwrap().unwrap();
        self.asked.recv().unwrap();
    }

    /// Starts writes, each behind the one before it, of which the store fails the first.
    async fn fail(&self, plans: impl IntoIterator<Item = Plan>) -> Vec<Written> {
        let mut started = Vec::new();
        for plan in plans {
            let behind = started.len();
            started.push(self.start(None, plan));
            match behind {
                0 => self.asked.recv().unwrap(),
                _ => self.has_behind(behind).await,
            }
        }
        self.answer(full());
        let mut done = Vec::new();
        for started in started {
            done.push(started.await.unwrap());
        }
        done
    }

    /// Begins a write that the store fails, before the request for it hears of that.
    async fn fail_unseen(&self, mut request: Pin<&mut impl Future<Output = Written>>) {
        let begun = std::future::poll_fn(|context| Poll::Ready(request.as_mut().poll(context)));
        assert!(begun.await.is_pending());
        self.is_asked(0).await;
        let attempt = self.ledger().head().attempt;
        self.answer(full());
        while self.ledger().head().attempt == attempt {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Has everything written that waits.
    async fn recover(&self) {
        for _ in 0..self.ledger().unwritten() {
            self.answer(Ok(()));
        }
        while self.ledger().unwritten() > 0 {
            self.ledger().retry();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        while self.asked.try_recv().is_ok() {}
    }
}

fn full() -> Answer {
    Err(StoreError::Write("the disk is full".to_owned()))
}

type Plan = Arc<dyn Fn(&Generation) -> Result<PlannedChange, &'static str> + Send + Sync>;
type Written = Result<CommittedChange, WriteError<&'static str>>;

async fn write(service: &Service, origin: ChangeOrigin, plan: &Plan) -> Written {
    let (ledger, now) = (service.ledger(), service.now());
    let plan = |generation: &Generation| plan(generation);
    ledger.write(origin, now, plan).await
}

fn origin(key: Option<&str>) -> ChangeOrigin {
    ChangeOrigin {
        caller: "c".into(),
        principal: None,
        key: key.map(|text| IdempotencyKey {
            text: text.into(),
            request: [1; 32],
        }),
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn user() -> EntityUID {
    schema::entity_uid(&TYPES.user, "u")
}

fn agent(name: &str) -> EntityUID {
    schema::entity_uid(&TYPES.agent, name)
}

fn planned(verb: &'static str, id: &str, change: Change) -> Result<PlannedChange, &'static str> {
    let id = id.into();
    Ok(PlannedChange { verb, change, id })
}

fn grant(id: &str) -> Plan {
    let delegation = Delegation {
        id: id.into(),
        from: user(),
        to: agent("a"),
        scope: Scope {
            tools: Vec::new(),
            servers: vec![schema::entity_uid(&TYPES.server, "s")],
            groups: Vec::new(),
            access: AccessLevel::Admin,
            targets: Vec::new(),
        },
        task: None,
        parent: None,
        max_redelegations: 9,
        not_before: at(0),
        expires_at: at(9_000),
        revoked_at: None,
        created_at: at(0),
        owners: Default::default(),
    };
    let delegation = Arc::new(delegation);
    Arc::new(move |_| {
        let change = Change::Grant(Arc::clone(&delegation));
        planned("GrantDelegation", delegation.id.as_str(), change)
    })
}

/// Changes a delegation as it is then.
fn cut(
    verb: &'static str,
    id: &str,
    cut: impl Fn(&mut Delegation) + Send + Sync + 'static,
) -> Plan {
    let id = id.to_owned();
    Arc::new(move |generation| {
        let found = generation.authority.delegations.get(id.as_str());
        let mut next = Delegation::clone(found.ok_or("unknown")?);
        cut(&mut next);
        planned(verb, &id, Change::Grant(Arc::new(next)))
    })
}

fn revoke(id: &str) -> Plan {
    let revoke = |it: &mut Delegation| it.revoked_at = it.revoked_at.or(Some(at(1)));
    cut("RevokeDelegation", id, revoke)
}

fn narrow(id: &str, most: u32) -> Plan {
    let narrow = move |it: &mut Delegation| it.max_redelegations = it.max_redelegations.min(most);
    cut("NarrowDelegation", id, narrow)
}

fn shorten(id: &str, until: SystemTime) -> Plan {
    let shorten = move |it: &mut Delegation| it.expires_at = it.expires_at.min(until);
    cut("NarrowDelegation", id, shorten)
}

fn lower(id: &str, access: AccessLevel) -> Plan {
    let lower = move |it: &mut Delegation| it.scope.access = it.scope.access.min(access);
    cut("NarrowDelegation", id, lower)
}

fn open(id: &str) -> Plan {
    let task = Task {
        id: id.into(),
        agent: agent("a"),
        agent_owner: None,
        person: user(),
        purpose: "p".into(),
        scope: None,
        terms: Default::default(),
        call_budget: None,
        steps: Vec::new(),
        at_step: 0,
        opened_at: at(0),
        deadline: at(9_000),
        closed_at: None,
    };
    let task = Arc::new(task);
    Arc::new(move |_| {
        planned(
            "OpenTask",
            task.id.as_str(),
            Change::Task(Arc::clone(&task)),
        )
    })
}

fn on_task(
    verb: &'static str,
    id: &str,
    change: impl Fn(&mut Task) + Send + Sync + 'static,
) -> Plan {
    let id = id.to_owned();
    Arc::new(move |generation| {
        let found = generation.authority.tasks.get(id.as_str());
        let mut next = Task::clone(found.ok_or("unknown")?);
        if next.closed_at.is_some() {
            return Err("is closed");
        }
        change(&mut next);
        planned(verb, &id, Change::Task(Arc::new(next)))
    })
}

fn advance(id: &str) -> Plan {
    on_task("AdvanceTask", id, |task| task.at_step += 1)
}

fn close(id: &str) -> Plan {
    on_task("CloseTask", id, |task| task.closed_at = Some(at(1)))
}

fn request(id: &str) -> Plan {
    let call = ApprovedCall {
        subject: agent("a"),
        root: Some(user()),
        actors: Vec::new(),
        initiator: Initiator::Client,
        server: "s".into(),
        tool: "t".into(),
        definition: None,
        arguments: "{}".into(),
        responses: None,
        request_state: None,
        target: None,
        task: None,
    };
    let approval = Approval {
        id: id.into(),
        digest: call.digest(at(9_000)),
        call,
        circumstances: Default::default(),
        requested_at: at(0),
        expires_at: at(9_000),
        word: None,
    };
    let approval = Arc::new(approval);
    Arc::new(move |_| {
        let change = Change::Approval(Arc::clone(&approval));
        planned("RequestApproval", approval.id.as_str(), change)
    })
}

/// Decides on an approval; with no uses it is rejected.
fn decide(id: &str, uses: u32) -> Plan {
    let id = id.to_owned();
    Arc::new(move |generation| {
        let found = generation.authority.approvals.get(id.as_str());
        let mut next = Approval::clone(found.ok_or("unknown")?);
        if uses > 0 && next.word.is_some() {
            return Err("is decided");
        }
        next.word = Some(ApprovalDecision {
            by: user(),
            at: at(1),
            uses,
            comment: None,
            claims: Default::default(),
            identity: None,
        });
        let verb = if uses == 0 {
            "RejectCall"
        } else {
            "ApproveCall"
        };
        planned(verb, &id, Change::Approval(Arc::new(next)))
    })
}

fn stop(name: &str) -> Plan {
    let uid = agent(name);
    Arc::new(move |generation| {
        let stop = || {
            Arc::new(Stop {
                uid: uid.clone(),
                reason: "leaks".into(),
                at: at(1),
                by: user(),
            })
        };
        let known = generation.authority.stops.get(&uid).cloned();
        let change = Change::Stopped(known.unwrap_or_else(stop));
        planned("StopEntity", "stop", change)
    })
}

fn end(session: &str) -> Plan {
    let session = SessionId::from(session);
    Arc::new(move |_| {
        let session = session.clone();
        planned("EndSession", "session", Change::SessionEnded { session })
    })
}

fn is_in_memory(written: &Written) -> bool {
    written.as_ref().is_ok_and(|it| !it.is_durable)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_away_while_an_earlier_change_of_it_is_written_loses_nothing() {
    let held = Held::new();
    held.make(grant("d")).await;
    let narrowed = held.fail([narrow("d", 3)]).await;
    assert!(is_in_memory(&narrowed[0]), "{narrowed:?}");
    let revoked = held.start(None, revoke("d")).await.unwrap();
    assert!(is_in_memory(&revoked), "{revoked:?}");
    // The first is at the store when a third comes.
    held.ledger().retry();
    held.is_asked(0).await;
    let shortened = held.start(None, shorten("d", at(100))).await.unwrap();
    assert!(is_in_memory(&shortened), "{shortened:?}");
    let check = |authority: Authority| {
        let it = &authority.delegations["d"];
        assert_eq!((it.max_redelegations, it.expires_at), (3, at(100)));
        assert_eq!(it.revoked_at, Some(at(1)));
    };
    check(held.live());
    held.recover().await;
    check(held.live());
    let head = held.ledger().head().generation.clone().unwrap();
    assert!(Arc::ptr_eq(&head, &held.service.live().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restriction_keeps_nothing_of_a_change_under_it_that_is_not_made() {
    let held = Held::new();
    held.make(open("t")).await;
    held.make(request("a")).await;
    let done = held.fail([advance("t"), close("t")]).await;
    assert!(done[0].is_err() && is_in_memory(&done[1]), "{done:?}");
    let live = held.live();
    assert_eq!(
        (live.tasks["t"].at_step, live.tasks["t"].closed_at),
        (0, Some(at(1)))
    );
    held.recover().await;
    let done = held.fail([decide("a", 5), decide("a", 0)]).await;
    assert!(done[0].is_err() && is_in_memory(&done[1]), "{done:?}");
    held.recover().await;
    // What it would have been taken from does not exist.
    let done = held.fail([grant("d"), narrow("d", 3)]).await;
    assert!(done[0].is_err(), "{done:?}");
    assert!(
        matches!(done[1], Err(WriteError::Rejected("unknown"))),
        "{done:?}"
    );
    assert!(held.live().delegations.get("d").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_restrictions_behind_one_that_fails_are_in_force() {
    let held = Held::new();
    held.make(grant("d")).await;
    let plans = [
        narrow("d", 3),
        lower("d", AccessLevel::Read),
        revoke("d"),
        shorten("d", at(100)),
        stop("b"),
        end("s"),
    ];
    let done = held.fail(plans).await;
    assert!(done.iter().all(is_in_memory), "{done:?}");
    let live = held.live();
    let it = &live.delegations["d"];
    assert_eq!((it.max_redelegations, it.expires_at), (3, at(100)));
    assert_eq!(
        (it.revoked_at, it.scope.access),
        (Some(at(1)), AccessLevel::Read)
    );
    assert!(live.stops.contains_key(&agent("b")));
    assert!(held.service.facts().sessions.has_ended(&"s".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_what_is_under_way_already_is_answered_when_the_store_fails() {
    let held = Held::new();
    let first = held.start(None, stop("b"));
    held.is_asked(0).await;
    // It would change nothing, once the first is in service.
    let second = held.start(None, stop("b"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    held.answer(full());
    let done = [first.await.unwrap(), second.await.unwrap()];
    assert!(done.iter().all(is_in_memory), "{done:?}");
    assert_eq!(held.ledger().unwritten(), 1);
}

#[tokio::test]
async fn no_other_change_is_planned_between_a_failure_and_what_is_planned_again() {
    let held = Held::new();
    held.make(grant("d")).await;
    let plan = revoke("d");
    let mut revoked = Box::pin(write(&held.service, origin(None), &plan));
    held.fail_unseen(revoked.as_mut()).await;
    let other = write(&held.service, origin(None), &grant("e")).await;
    let first = RESTRICTIONS_FIRST.to_owned();
    assert!(
        matches!(&other, Err(WriteError::Store(StoreError::Write(why))) if *why == first),
        "{other:?}"
    );
    assert!(is_in_memory(&revoked.await));
    held.recover().await;
    held.make(grant("e")).await;
    // A request that is given up holds nobody up.
    let plan = revoke("e");
    let mut revoked = Box::pin(write(&held.service, origin(None), &plan));
    held.fail_unseen(revoked.as_mut()).await;
    drop(revoked);
    held.make(grant("f")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_the_key_of_a_change_that_is_not_made_nothing_is_said_to_be_made() {
    let held = Held::new();
    let first = held.start(Some("k"), grant("first"));
    held.is_asked(0).await;
    let again = held.start(Some("k"), grant("again"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    held.answer(full());
    assert!(first.await.unwrap().is_err());
    // Another change gets the revision that it would have had, or the next one.
    let other = held.start(None, grant("other"));
    for _ in 0..2 {
        held.answer(Ok(()));
    }
    other.await.unwrap().unwrap();
    let again = again.await.unwrap().unwrap();
    assert!(
        held.live().delegations.get(again.id.as_str()).is_some(),
        "{again:?}"
    );
    assert_eq!(held.live().delegations.size(), 2);
}

/// A ledger beside other servers, and the end that answers for its store.
fn beside_others() -> (Arc<Ledger>, Receiver<()>, Sender<Answer>) {
    let (ask, asked, answers) = answered();
    let (inner, ask) = (SqliteStore::in_memory().unwrap(), Box::new(ask));
    let settings = ServiceSettings::default();
    let membership = Membership::unconnected().unwrap();
    let state = Arc::new(FleetState::new(membership, Duration::from_secs(1), 0));
    let mut loaded = StoredState::default();
    let facts = LiveFacts::restore(&settings, &mut loaded, Some(Arc::clone(&state))).unwrap();
    let ledger = Ledger::new(
        &mut loaded,
        Writer::start(AskingStore::changes(inner, ask)).unwrap(),
        Arc::new(facts),
        Recorder::default(),
        settings.idempotency_keys,
        Some(state),
    );
    let ledger = Arc::new(ledger);
    ledger.publish(bundle(), at(0)).unwrap();
    (ledger, asked, answers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_planned_before_a_replica_has_loaded_everything_again_does_not_go_into_service() {
    let (ledger, asked, answers) = beside_others();
    let start = |plan: Plan| {
        let ledger = Arc::clone(&ledger);
        let write = async move { ledger.write(origin(None), at(1), |it| plan(it)).await };
        tokio::spawn(write)
    };
    answers.send(Ok(())).unwrap();
    start(grant("d")).await.unwrap().unwrap();
    asked.recv().unwrap();
    let late = start(grant("e"));
    asked.recv().unwrap();
    // In the history that goes on, somebody has revoked it at the same revision.
    let mut loaded = StoredState {
        revision: 2,
        ..StoredState::default()
    };
    let live = ledger.live().unwrap();
    loaded.authority = live.authority.clone();
    let revoked = revoke("d")(&live).unwrap();
    let Change::Grant(revoked) = revoked.change else {
        panic!("{revoked:?}");
    };
    loaded.authority.delegations.insert_mut(revoked);
    ledger.reload(loaded).unwrap();
    answers.send(Ok(())).unwrap();
    let late = late.await.unwrap();
    assert!(
        matches!(&late, Err(WriteError::Store(error)) if error.is_outcome_unknown()),
        "{late:?}"
    );
    let live = ledger.live().unwrap();
    assert_eq!(live.authority.delegations["d"].revoked_at, Some(at(1)));
    assert_eq!(live.authority.delegations.size(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_what_is_loaded_again_does_not_fit_changes_and_keys_are_as_they_were() {
    let (ledger, asked, answers) = beside_others();
    answers.send(Ok(())).unwrap();
    let write = ledger.write(origin(Some("k")), at(1), |it| grant("d")(it));
    let granted = write.await.unwrap().revision;
    asked.recv().unwrap();
    let loaded = StoredState {
        revision: granted - 1,
        entities: vec![(agent("x"), Arc::from("no entity"))],
        ..StoredState::default()
    };
    let misfit = ledger.reload(loaded);
    assert!(matches!(misfit, Err(StoreError::Damaged(_))), "{misfit:?}");
    let begin = |key| {
        let mut plan = |it: &Generation| grant("e")(it);
        ledger.begin(
            origin(key),
            at(1),
            &RestrictionUnderWay::default(),
            &mut plan,
        )
    };
    let known = match begin(Some("k")) {
        Ok(PendingWrite::Repeated(known, _)) => known.revision,
        _ => panic!("it was made"),
    };
    assert_eq!(known, granted);
    let planned = match begin(None) {
        Ok(PendingWrite::Submitted(submitted)) => submitted.next.revision(),
        _ => panic!("it is another"),
    };
    assert_eq!(planned, granted + 1);
    drop(answers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_another_server_was_faster_than_uses_up_no_key() {
    let (ledger, asked, answers) = beside_others();
    answers.send(Ok(())).unwrap();
    let granted = ledger.write(origin(None), at(1), |it| grant("d")(it)).await;
    let granted = granted.unwrap().revision;
    asked.recv().unwrap();
    let begin = || {
        let under_way = RestrictionUnderWay::default();
        let mut plan = |it: &Generation| revoke("d")(it);
        ledger.begin(origin(Some("k")), at(1), &under_way, &mut plan)
    };
    let submitted = |begun| match begun {
        Ok(PendingWrite::Submitted(submitted)) => submitted.next.revision(),
        _ => panic!("it is said to be made"),
    };
    assert_eq!(submitted(begin()), granted + 1);
    asked.recv().unwrap();
    let other = grant("other")(&ledger.live().unwrap()).unwrap();
    let entry = ChangeRecord {
        revision: granted + 1,
        at: at(1),
        verb: SmolStr::new_static(other.verb),
        change: other.change,
        asker: origin(None),
    };
    ledger.apply_remote(vec![(entry, other.id)]).unwrap();
    assert_eq!(submitted(begin()), granted + 2);
    drop(answers);
}

/// What a response has acknowledged.
type Promise = Arc<dyn Fn(&Authority) -> bool + Send + Sync>;

/// A change, whether it is a restriction, and what holds from its response on.
fn step(kind: u8, round: usize) -> (Plan, bool, Promise) {
    let name = |kind: &str| format!("{kind}-{round}");
    let (d, t, a, b) = (name("d"), name("t"), name("a"), name("b"));
    let of_delegation = |holds: fn(&Delegation) -> bool| -> Promise {
        let d = d.clone();
        Arc::new(move |it| holds(&it.delegations[d.as_str()]))
    };
    let is_closed: Promise = {
        let t = t.clone();
        Arc::new(move |it| it.tasks[t.as_str()].closed_at.is_some())
    };
    let is_rejected: Promise = {
        let a = a.clone();
        Arc::new(move |it| {
            it.approvals
                .get(a.as_str())
                .unwrap()
                .word
                .as_ref()
                .unwrap()
                .uses
                == 0
        })
    };
    let is_stopped: Promise = {
        let uid = agent(&b);
        Arc::new(move |it| it.stops.contains_key(&uid))
    };
    let of_nothing: Promise = Arc::new(|_| true);
    match kind % 10 {
        0 => (
            revoke(&d),
            true,
            of_delegation(|it| it.revoked_at.is_some()),
        ),
        1 => (
            narrow(&d, 3),
            true,
            of_delegation(|it| it.max_redelegations <= 3),
        ),
        2 => (
            shorten(&d, at(100)),
            true,
            of_delegation(|it| it.expires_at <= at(100)),
        ),
        3 => {
            let is_low: fn(&Delegation) -> bool = |it| it.scope.access == AccessLevel::Read;
            (lower(&d, AccessLevel::Read), true, of_delegation(is_low))
        }
        4 => (close(&t), true, is_closed),
        5 => (decide(&a, 0), true, is_rejected),
        6 => (stop(&b), true, is_stopped),
        7 => (advance(&t), false, of_nothing),
        8 => (decide(&a, 5), false, of_nothing),
        _ => (grant(&format!("g-{round}-{kind}")), false, of_nothing),
    }
}

/// Everything at once, while the store fails as often as not.
async fn storm(kinds: Vec<u8>, failures: u64) {
    let is_calm = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (calm, mut weather) = (Arc::clone(&is_calm), failures | 1);
    let service = service(move || {
        weather ^= weather << 13;
        weather ^= weather >> 7;
        weather ^= weather << 17;
        std::thread::sleep(Duration::from_micros(weather % 150));
        match calm.load(Ordering::SeqCst) || weather % 3 == 0 {
            true => Ok(()),
            false => full(),
        }
    });
    let mut promises: Vec<Promise> = Vec::new();
    for (round, kinds) in kinds.chunks(12).enumerate() {
        is_calm.store(true, Ordering::SeqCst);
        while service.ledger().unwritten() > 0 {
            service.ledger().retry();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for plan in [
            grant(&format!("d-{round}")),
            open(&format!("t-{round}")),
            request(&format!("a-{round}")),
        ] {
            write(&service, origin(None), &plan).await.unwrap();
        }
        is_calm.store(false, Ordering::SeqCst);
        let mut all = tokio::task::JoinSet::new();
        for (index, kind) in kinds.iter().copied().enumerate() {
            let service = Arc::clone(&service);
            all.spawn(async move {
                let (plan, is_restriction, holds) = step(kind, round);
                if kind >= 128 {
                    tokio::time::sleep(Duration::from_micros(u64::from(kind) * 3)).await;
                }
                let key = (kind % 3 == 0).then(|| format!("{round}-{index}"));
                let written = write(&service, origin(key.as_deref()), &plan).await;
                service.ledger().retry();
                if written.is_ok() {
                    let live = service.live().unwrap();
                    assert!(
                        !is_restriction || holds(&live.authority),
                        "it is acknowledged: {kind}"
                    );
                }
                // Whatever the store does, what takes something away is made, or refused by its plan.
                let is_answered = matches!(written, Ok(_) | Err(WriteError::Rejected(_)));
                assert!(!is_restriction || is_answered, "{written:?}");
                (is_restriction && written.is_ok()).then_some(holds)
            });
        }
        while let Some(done) = all.join_next().await {
            promises.extend(done.unwrap());
            let live = service.live().unwrap();
            assert!(
                promises.iter().all(|holds| holds(&live.authority)),
                "round {round}"
            );
        }
    }
    is_calm.store(true, Ordering::SeqCst);
    while service.ledger().unwritten() > 0 {
        service.ledger().retry();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let live = service.live().unwrap();
    assert!(promises.iter().all(|holds| holds(&live.authority)));
    let (done, stored) = tokio::sync::oneshot::channel();
    let load = move |store: Result<&mut dyn Store, StoreError>| {
        let _ = done.send(store.and_then(|it| it.load()));
    };
    service.ledger().writer().access(load).unwrap();
    let stored = stored.await.unwrap().unwrap();
    assert!(
        promises.iter().all(|holds| holds(&stored.authority)),
        "after a restart"
    );
    assert_eq!(stored.revision, live.revision());
    let same = live
        .authority
        .delegations
        .values()
        .all(|it| stored.authority.delegations.get(&it.id) == Some(it));
    assert!(same, "the store has what is in service");
    let same = live
        .authority
        .tasks
        .values()
        .all(|it| stored.authority.tasks.get(&it.id) == Some(it));
    assert!(same, "the store has what is in service");
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 0, ..ProptestConfig::with_cases(24) })]
    #[test]
    fn what_was_acknowledged_as_taken_away_never_comes_back(
        kinds in proptest::collection::vec(any::<u8>(), 120..240),
        failures in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(storm(kinds, failures));
    }
}

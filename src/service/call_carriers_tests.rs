use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::domain::authority::scope::Scope;
use crate::domain::request::call_context::{ActorChain, Initiator, Operation, Subject};
use crate::domain::request::operation::{Listing, OperationKind};
use crate::domain::schema::{AccessLevel, entity_uid};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn agent(name: &str) -> EntityUID {
    entity_uid(&TYPES.agent, name)
}

fn person(name: &str) -> EntityUID {
    entity_uid(&TYPES.user, name)
}

fn grant(id: &str, from: EntityUID, to: &str, parent: Option<&str>) -> Delegation {
    Delegation {
        id: id.into(),
        from,
        to: agent(to),
        scope: Scope {
            tools: Vec::new(),
            servers: Vec::new(),
            groups: Vec::new(),
            access: AccessLevel::Write,
            targets: Vec::new(),
        },
        task: None,
        parent: parent.map(Into::into),
        max_redelegations: u32::from(parent.is_none()),
        not_before: at(0),
        expires_at: at(100_000),
        revoked_at: None,
        created_at: at(0),
        owners: Default::default(),
    }
}

fn task(id: &str, opened_at: u64) -> Task {
    Task {
        id: id.into(),
        agent: agent("a"),
        agent_owner: None,
        person: person("sam"),
        purpose: "work".into(),
        scope: None,
        terms: Default::default(),
        call_budget: None,
        steps: Vec::new(),
        at_step: 0,
        opened_at: at(opened_at),
        deadline: at(100_000),
        closed_at: None,
    }
}

/// Two tasks, and what Sam delegated to `a`, which redelegated it to `b`.
fn authority() -> Authority {
    let mut authority = Authority::default();
    for task in [task("t1", 0), task("t2", 500)] {
        authority.tasks.insert_mut(Arc::new(task));
    }
    for delegation in [
        grant("g1", person("sam"), "a", None),
        grant("g2", agent("a"), "b", Some("g1")),
    ] {
        authority.delegations.insert_mut(Arc::new(delegation));
    }
    authority
}

fn call(subject: EntityUID) -> CallContext {
    let kind = OperationKind::List(Listing::Tools);
    let operation = Operation::new(Initiator::Client, "s", kind);
    CallContext::new(Subject::verified(subject, "jwt"), operation)
}

fn for_sam(subject: EntityUID) -> CallContext {
    CallContext {
        actor_chain: Some(ActorChain::verified_from(person("sam"))),
        ..call(subject)
    }
}

fn under(delegation: &str, subject: &str) -> CallContext {
    CallContext {
        actor_chain: Some(ActorChain::from_delegation_ids(vec![delegation.into()])),
        ..call(agent(subject))
    }
}

fn in_task(mut call: CallContext, task: &str) -> CallContext {
    call.workflow.task_id = Some(task.into());
    call
}

fn in_session(mut call: CallContext, is_vouched: bool) -> CallContext {
    call.workflow.session_id = Some("s1".into());
    call.workflow.is_session_vouched = is_vouched;
    call
}

/// A memory in which labels last for an hour.
fn new_memory() -> CarrierLabels {
    CarrierLabels::new(100, Duration::from_secs(3_600))
}

/// Everything that a call sees beside its session. Without policies everything is looked at.
fn seen(
    memory: &CarrierLabels,
    authority: &Authority,
    call: &CallContext,
    now: u64,
) -> BTreeSet<SmolStr> {
    let carried = CallCarriers::new(authority, call, is_in_person(call)).known(memory, at(now));
    let labels = carried
        .parts()
        .flat_map(|part| part.items().iter().cloned());
    labels.collect()
}

fn added_labels(
    memory: &CarrierLabels,
    authority: &Authority,
    call: &CallContext,
    label: &str,
    now: u64,
) {
    allowed(memory, authority, call, &[label], now);
}

/// Makes an allowed call that brings these labels, and writes what it has to. Returns that.
fn allowed(
    memory: &CarrierLabels,
    authority: &Authority,
    call: &CallContext,
    labels: &[&str],
    now: u64,
) -> Vec<StoreWrite> {
    let writes = refused(memory, authority, call, labels, now);
    for write in &writes {
        if let StoreWrite::Labels {
            carrier, labels, ..
        } = write
        {
            memory.mark_written(carrier, labels);
        }
    }
    writes
}

/// The same of a call that is denied in the end, since the store refuses to write what it has to, or a budget is spent meanwhile.
fn refused(
    memory: &CarrierLabels,
    authority: &Authority,
    call: &CallContext,
    labels: &[&str],
    now: u64,
) -> Vec<StoreWrite> {
    let carriers = CallCarriers::new(authority, call, is_in_person(call));
    let carried = carriers.known(memory, at(now));
    let mut writes = carriers.hand_on(memory, None, &carried, at(now)).unwrap();
    let labels: Vec<SmolStr> = labels.iter().copied().map(SmolStr::new).collect();
    writes.extend(carriers.add_labels(memory, &labels, at(now)).unwrap());
    writes
}

/// What `second` sees at 1,000 s after `first` has brought a label at 900 s.
fn passes(first: &CallContext, second: &CallContext) -> bool {
    let (memory, authority) = (new_memory(), authority());
    added_labels(&memory, &authority, first, "x", 900);
    !seen(&memory, &authority, second, 1_000).is_empty()
}

#[test]
fn another_name_of_a_session_sheds_nothing() {
    let plain = || for_sam(agent("a"));
    assert!(passes(&plain(), &plain()));
    assert!(passes(&in_session(plain(), false), &plain()));
    assert!(passes(&plain(), &in_session(plain(), false)));
    // Not even one that somebody vouches for sheds what was read outside of any such session.
    assert!(passes(&plain(), &in_session(plain(), true)));
    assert!(passes(&in_session(plain(), true), &plain()));
    // What was read inside of one stays there.
    assert!(!passes(
        &in_session(plain(), true),
        &in_session(plain(), true)
    ));
    // To vouch for no name vouches for nothing.
    let mut nameless = in_session(plain(), true);
    nameless.workflow.session_id = None;
    assert!(passes(&plain(), &nameless));
}

#[test]
fn others_are_not_concerned() {
    let plain = || for_sam(agent("a"));
    assert!(!passes(&plain(), &for_sam(agent("c"))));
    let mut for_kim = plain();
    for_kim.actor_chain = Some(ActorChain::verified_from(person("kim")));
    assert!(!passes(&plain(), &for_kim));
    assert!(!passes(&plain(), &call(agent("a"))));
    assert!(passes(&call(agent("a")), &call(agent("a"))));
    assert!(passes(&call(person("sam")), &call(person("sam"))));
}

#[test]
fn a_task_begins_anew_and_does_not_hide_what_is_read_beside_it() {
    let plain = || for_sam(agent("a"));
    assert!(passes(&in_task(plain(), "t1"), &in_task(plain(), "t1")));
    // Both were open when it was read: which of them a call names is the client's choice.
    assert!(passes(&in_task(plain(), "t1"), &in_task(plain(), "t2")));
    assert!(passes(&in_task(plain(), "t1"), &plain()));
    // Leaving the task's name out, and naming it afterwards, helps nobody.
    assert!(passes(&plain(), &in_task(plain(), "t1")));
    let (memory, authority) = (new_memory(), authority());
    added_labels(&memory, &authority, &plain(), "x", 499);
    let opened_later = in_task(plain(), "t2");
    assert!(seen(&memory, &authority, &opened_later, 501).is_empty());
    added_labels(&memory, &authority, &in_task(plain(), "t1"), "x", 499);
    assert!(seen(&memory, &authority, &opened_later, 501).is_empty());
    added_labels(&memory, &authority, &in_task(plain(), "t1"), "x", 500);
    assert!(!seen(&memory, &authority, &opened_later, 501).is_empty());
}

#[test]
fn a_task_is_no_conversation_and_a_vouched_session_is_one() {
    let plain = || for_sam(agent("a"));
    let vouched = |task: &str| in_session(in_task(plain(), task), true);
    // What was read in a task alone may belong to any conversation.
    assert!(passes(&in_task(plain(), "t1"), &in_session(plain(), true)));
    assert!(passes(&in_task(plain(), "t1"), &vouched("t2")));
    assert!(passes(&vouched("t1"), &in_task(plain(), "t2")));
    // What was read in a vouched session stays there and in its task.
    assert!(!passes(&vouched("t1"), &vouched("t2")));
    assert!(passes(&vouched("t1"), &vouched("t1")));
}

#[test]
fn those_it_was_delegated_to_know_what_was_read_and_so_do_those_who_delegated() {
    let (delegator, receiver) = (under("g1", "a"), under("g2", "b"));
    assert!(passes(&delegator, &receiver));
    assert!(passes(&receiver, &delegator));
    // What the delegator reads without naming the delegation is read for the same person.
    assert!(passes(&for_sam(agent("a")), &receiver));
    // Neither a session of its own nor a task of its own parts the one from the other.
    assert!(passes(&delegator, &in_session(receiver.clone(), true)));
    let (one, delegated) = (for_sam(agent("a")), {
        let mut asserted = for_sam(agent("b"));
        if let Some(delegation) = &mut asserted.actor_chain {
            delegation.actors = vec![agent("a")];
        }
        asserted
    });
    for (one, other) in [(&one, &delegated), (&delegated, &one)] {
        let sessions = [one, other].map(|it| in_session(it.clone(), true));
        assert!(passes(&sessions[0], &sessions[1]));
        let tasks = (in_task(one.clone(), "t1"), in_task(other.clone(), "t2"));
        assert!(passes(&tasks.0, &tasks.1));
    }
    let mut asserted = for_sam(agent("b"));
    if let Some(delegation) = &mut asserted.actor_chain {
        delegation.actors = vec![agent("a")];
    }
    assert!(passes(&for_sam(agent("a")), &asserted));
    assert!(passes(&asserted, &for_sam(agent("a"))));
    // An agent that delegates its own authority has worked by itself before.
    let mut of_agent = call(agent("b"));
    of_agent.actor_chain = Some(ActorChain::verified_from(agent("a")));
    assert!(passes(&call(agent("a")), &of_agent));
}

/// A program shows the user's token and says of no agent.
fn as_user(name: &str) -> CallContext {
    call(person(name))
}

const IN_PERSON: &str = "in person";

/// The same of a caller whose users act themselves.
fn in_person(name: &str) -> CallContext {
    let mut call = as_user(name);
    call.subject.identity.method = Some(IN_PERSON.into());
    call
}

fn is_in_person(call: &CallContext) -> bool {
    call.subject.identity.method.as_deref() == Some(IN_PERSON)
}

#[test]
fn a_user_passes_on_what_was_read_as_an_agent_that_delegates_does() {
    let delegated = |agents: [&str; 2]| {
        let mut call = for_sam(agent(agents[1]));
        if let Some(chain) = &mut call.actor_chain {
            chain.actors = vec![agent(agents[0])];
        }
        call
    };
    let in_person = in_person("sam");
    for of_agent in [
        for_sam(agent("a")),
        under("g1", "a"),
        under("g2", "b"),
        delegated(["a", "b"]),
    ] {
        for (of_agent, of_user) in [
            (of_agent.clone(), as_user("sam")),
            (
                in_session(of_agent.clone(), true),
                in_session(as_user("sam"), true),
            ),
            (in_task(of_agent, "t1"), as_user("sam")),
        ] {
            assert!(passes(&of_agent, &of_user), "{of_agent:?}");
            assert!(passes(&of_user, &of_agent), "{of_agent:?}");
            assert!(!passes(&of_agent, &as_user("kim")), "{of_agent:?}");
            assert!(!passes(&as_user("kim"), &of_agent), "{of_agent:?}");
            // What a person reads in person, the agents have not read.
            assert!(passes(&of_agent, &in_person), "{of_agent:?}");
            assert!(!passes(&in_person, &of_agent), "{of_agent:?}");
        }
    }
    assert!(passes(&as_user("sam"), &as_user("sam")));
    assert!(passes(&as_user("sam"), &in_person));
    assert!(passes(&in_person, &as_user("sam")));
    let vouched = || in_session(as_user("sam"), true);
    assert!(!passes(&vouched(), &vouched()));
}

#[test]
fn a_user_passes_nothing_from_one_agent_to_another() {
    let (memory, authority) = (new_memory(), authority());
    added_labels(&memory, &authority, &for_sam(agent("a")), "of_a", 900);
    added_labels(&memory, &authority, &as_user("sam"), "of_program", 901);
    added_labels(&memory, &authority, &in_person("sam"), "of_sam", 902);
    let seen = |call: &CallContext| seen(&memory, &authority, call, 1_000);
    let labels = |labels: &[&'static str]| labels.iter().copied().map(SmolStr::new).collect();
    assert_eq!(seen(&for_sam(agent("c"))), labels(&["of_program"]));
    assert_eq!(seen(&for_sam(agent("a"))), labels(&["of_a", "of_program"]));
    let all: BTreeSet<SmolStr> = labels(&["of_a", "of_program", "of_sam"]);
    assert_eq!(seen(&as_user("sam")), all);
    assert_eq!(seen(&in_person("sam")), all);
}

#[test]
fn who_is_no_party_is_no_root() {
    let mut odd = call(agent("a"));
    odd.actor_chain = Some(ActorChain::verified_from(entity_uid(&TYPES.tool, "s/t")));
    assert_eq!(CallCarriers::new(&authority(), &odd, false).root(), None);
    assert_eq!(
        CallCarriers::new(&authority(), &under("unknown", "a"), false).root(),
        None
    );
    let authority = authority();
    let known = under("g2", "b");
    let carriers = CallCarriers::new(&authority, &known, false);
    assert_eq!(carriers.root(), Some(&person("sam")));
}

/// What of a made-up call can be shared with another.
fn shared(it: &Made) -> BTreeSet<&'static str> {
    let who: &[&'static str] = match it.who {
        0 => &["a for sam"],
        1 => &["a for sam", "g1"],
        _ => &["a for sam", "b for sam", "g1", "g2"],
    };
    who.iter().copied().chain(it.task).collect()
}

#[derive(Debug, Clone)]
struct Made {
    who: usize,
    task: Option<&'static str>,
    label: usize,
}

impl Made {
    fn call(&self) -> CallContext {
        let call = match self.who {
            0 => for_sam(agent("a")),
            1 => under("g1", "a"),
            _ => under("g2", "b"),
        };
        match self.task {
            Some(task) => in_task(call, task),
            None => call,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// A call sees what every earlier call brought with which it shares a carrier.
    #[test]
    fn what_is_shared_is_seen(calls in proptest::collection::vec(
        (0..3usize, prop_oneof![Just(None), Just(Some("t1")), Just(Some("t2"))], 0..9usize),
        1..20,
    )) {
        let (memory, authority) = (new_memory(), authority());
        let mut earlier: Vec<Made> = Vec::new();
        for (step, (who, task, label)) in calls.into_iter().enumerate() {
            let made = Made { who, task, label };
            let (call, now) = (made.call(), 900 + step as u64);
            let seen = seen(&memory, &authority, &call, now);
            for before in &earlier {
                let (theirs, own) = (shared(before), shared(&made));
                // Each of the tasks was open before anything was read.
                if !theirs.is_disjoint(&own) {
                    prop_assert!(seen.contains(before.label.to_string().as_str()), "{made:?} {before:?}");
                }
            }
            added_labels(&memory, &authority, &call, &made.label.to_string(), now);
            earlier.push(made);
        }
    }
}

#[path = "call_carriers_together_tests.rs"]
mod together;

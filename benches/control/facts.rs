//! What live facts cost a decision: the same call, once with a session, a task and a stored delegation
//! and with rules that read them and counts, once with none of that. And what labels of all that a call carries cost over those of
//! its session, for a call that carries a session, a task and a stored delegation, and for one with a session alone.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate::authn::caller::Caller;
use callgate::domain::authority::change::{Change, ChangeOrigin};
use callgate::domain::authority::delegation::Delegation;
use callgate::domain::authority::scope::Scope;
use callgate::domain::authority::task::Task;
use callgate::domain::request::call_context::{ActorChain, CallContext, Operation, Subject};
use callgate::domain::schema::{self, AccessLevel, TYPES};
use callgate::service::Service;
use callgate::service::deadline::Deadline;
use callgate::service::ledger::PlannedChange;
use callgate::service::pending::Progress;
use callgate::service::request::RequestMeta;
use callgate::service::settings::ServiceSettings;
use callgate::telemetry::record::recorder::Recorder;
use serde_json::Map;
use tokio::runtime::Runtime;

use crate::company::Rules;
use crate::{Fault, company, cpu_seconds, median, metric};

/// Pairs of measurements.
const ROUNDS: usize = 15;
/// Decisions in one measurement.
const CALLS: usize = 20_000;
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A service, and a call that it allows.
struct Side {
    service: Service,
    call: CallContext,
    caller: Caller,
}

/// What a call carries.
#[derive(Debug, Clone, Copy)]
enum Carries {
    /// Only its chain.
    Nothing,
    /// A session.
    Session,
    /// A session, a task and a stored delegation.
    Everything,
}

/// Prints `core.with_live_facts_vs_without` and `core.labels_vs_session_labels`.
pub fn measure(runtime: &Runtime) -> Result<(), Fault> {
    let with = Side::open(runtime, Rules::LiveFacts, Carries::Everything)?;
    let without = Side::open(runtime, Rules::Standing, Carries::Nothing)?;
    let compared = compare(runtime, &with, &without)?;
    metric("core.with_live_facts", compared.one, "us");
    metric("core.without_live_facts", compared.other, "us");
    metric("core.with_live_facts_vs_without", compared.ratio, "ratio");
    for (name, carries) in [
        ("core.labels_vs_session_labels", Carries::Session),
        (
            "core.labels_vs_session_labels.task_and_delegation",
            Carries::Everything,
        ),
    ] {
        let all = Side::open(runtime, Rules::AllLabels, carries)?;
        let session = Side::open(runtime, Rules::SessionLabels, carries)?;
        metric(name, compare(runtime, &all, &session)?.ratio, "ratio");
    }
    Ok(())
}

/// Medians of two sides measured alternately.
struct Compared {
    /// Microseconds of the one.
    one: f64,
    /// Microseconds of the other.
    other: f64,
    /// The one over the other.
    ratio: f64,
}

fn compare(runtime: &Runtime, one: &Side, other: &Side) -> Result<Compared, Fault> {
    one.decide(runtime, CALLS / 4)?;
    other.decide(runtime, CALLS / 4)?;
    let (mut ones, mut others, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let first = one.decide(runtime, CALLS)?;
        let second = other.decide(runtime, CALLS)?;
        ones.push(first * 1e6);
        others.push(second * 1e6);
        ratios.push(first / second);
    }
    Ok(Compared {
        one: median(ones),
        other: median(others),
        ratio: median(ratios),
    })
}

impl Side {
    fn open(runtime: &Runtime, rules: Rules, carries: Carries) -> Result<Self, Fault> {
        let service = Service::in_memory(ServiceSettings::default(), Recorder::default())?;
        service.publish(company::load(rules)?)?;
        let by = Subject::verified(schema::entity_uid(&TYPES.agent, "one"), "jwt");
        let operation = Operation::call_tool("mail", "list", Map::new());
        let mut call = CallContext::new(by, operation);
        let root = schema::entity_uid(&TYPES.user, "ana");
        call.actor_chain = Some(ActorChain::verified_from(root));
        if !matches!(carries, Carries::Nothing) {
            call.workflow.session_id = Some("session-1".into());
        }
        let mut side = Self {
            service,
            call,
            caller: Caller::local(),
        };
        if matches!(carries, Carries::Everything) {
            side.carry_task_and_delegation(runtime)?;
        }
        Ok(side)
    }

    fn carry_task_and_delegation(&mut self, runtime: &Runtime) -> Result<(), Fault> {
        let now = self.service.now();
        let task = Task {
            id: "task-1".into(),
            agent: schema::entity_uid(&TYPES.agent, "one"),
            agent_owner: None,
            person: schema::entity_uid(&TYPES.user, "ana"),
            purpose: "to measure".into(),
            scope: Some(scope()),
            terms: Default::default(),
            call_budget: Some(1_000_000_000),
            steps: Vec::new(),
            at_step: 0,
            opened_at: now,
            deadline: now + DAY,
            closed_at: None,
        };
        let delegation = Arc::new(grant("delegation-1", now));
        self.write(runtime, "OpenTask", Change::Task(Arc::new(task)))?;
        self.write(runtime, "GrantDelegation", Change::Grant(delegation))?;
        let ids = vec!["delegation-1".into()];
        self.call.actor_chain = Some(ActorChain::from_delegation_ids(ids));
        self.call.workflow.task_id = Some("task-1".into());
        Ok(())
    }

    fn write(&self, runtime: &Runtime, verb: &'static str, change: Change) -> Result<(), Fault> {
        let asked = ChangeOrigin {
            caller: "bench".into(),
            principal: None,
            key: None,
        };
        let plan = PlannedChange {
            verb,
            change,
            id: "bench".into(),
        };
        let planned = |_: &_| Ok::<_, std::convert::Infallible>(plan.clone());
        let ledger = self.service.ledger();
        runtime.block_on(ledger.write(asked, self.service.now(), planned))?;
        Ok(())
    }

    /// CPU seconds of one decision, whatever has to be written for it included.
    fn decide(&self, runtime: &Runtime, calls: usize) -> Result<f64, Fault> {
        let ask = RequestMeta {
            caller: &self.caller,
            adapter: "bench",
            at_least_revision: 0,
            is_dry_run: false,
            deadline: Deadline::NONE,
            request_id: None,
        };
        let before = cpu_seconds("self")?;
        for _ in 0..calls {
            let answer = match self.service.authorize_now(ask, &self.call)? {
                Progress::Ready(answer) => answer,
                Progress::Unrecorded(response) => runtime.block_on(
                    self.service
                        .recorded(response.to(&self.service, &self.call)),
                ),
                Progress::Pending(later) => {
                    runtime.block_on(self.service.finish(later, &self.call))?
                }
            };
            assert!(answer.value.is_allow(), "{:?}", answer.value);
        }
        Ok((cpu_seconds("self")? - before) / calls as f64)
    }
}

/// What one delegation covers.
pub fn scope() -> Scope {
    Scope {
        tools: vec![schema::tool_uid("mail", "list")],
        servers: Vec::new(),
        groups: Vec::new(),
        access: AccessLevel::Read,
        targets: Vec::new(),
    }
}

/// Ana delegates to her agent.
pub fn grant(id: &str, now: SystemTime) -> Delegation {
    Delegation {
        id: id.into(),
        from: schema::entity_uid(&TYPES.user, "ana"),
        to: schema::entity_uid(&TYPES.agent, "one"),
        scope: scope(),
        task: None,
        parent: None,
        max_redelegations: 0,
        not_before: now,
        expires_at: now + DAY,
        revoked_at: None,
        created_at: now,
        owners: Default::default(),
    }
}

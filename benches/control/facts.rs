//! What live facts cost a decision: the same call, once with a session, a task and a stored delegation
//! and with rules that read them and counts, once with none of that.

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

/// Prints `core.with_live_facts_vs_without`.
pub fn measure(runtime: &Runtime) -> Result<(), Fault> {
    let with = Side::with(runtime)?;
    let without = Side::without()?;
    with.decide(runtime, CALLS / 4)?;
    without.decide(runtime, CALLS / 4)?;
    let (mut ratios, mut more, mut less) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let live = with.decide(runtime, CALLS)?;
        let plain = without.decide(runtime, CALLS)?;
        more.push(live * 1e6);
        less.push(plain * 1e6);
        ratios.push(live / plain);
    }
    metric("core.with_live_facts", median(more), "us");
    metric("core.without_live_facts", median(less), "us");
    metric("core.with_live_facts_vs_without", median(ratios), "ratio");
    Ok(())
}

impl Side {
    fn with(runtime: &Runtime) -> Result<Self, Fault> {
        let side = Self::open(true)?;
        let now = side.service.now();
        let task = Task {
            id: "task-1".into(),
            agent: schema::entity_uid(&TYPES.agent, "one"),
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
        let delegation = grant("delegation-1", now);
        side.write(runtime, "OpenTask", Change::Task(Arc::new(task)))?;
        side.write(
            runtime,
            "GrantDelegation",
            Change::Grant(Arc::new(delegation)),
        )?;
        let mut call = side.call;
        call.actor_chain = Some(ActorChain::from_delegation_ids(vec!["delegation-1".into()]));
        call.workflow.task_id = Some("task-1".into());
        call.workflow.session_id = Some("session-1".into());
        Ok(Self { call, ..side })
    }

    fn without() -> Result<Self, Fault> {
        let side = Self::open(false)?;
        let root = schema::entity_uid(&TYPES.user, "ana");
        let mut call = side.call;
        call.actor_chain = Some(ActorChain::verified_from(root));
        Ok(Self { call, ..side })
    }

    fn open(reads_live_facts: bool) -> Result<Self, Fault> {
        let service = Service::in_memory(ServiceSettings::default(), Recorder::default())?;
        service.publish(company::load(reads_live_facts)?)?;
        let by = Subject::verified(schema::entity_uid(&TYPES.agent, "one"), "jwt");
        let operation = Operation::call_tool("mail", "list", Map::new());
        Ok(Self {
            service,
            call: CallContext::new(by, operation),
            caller: Caller::local(),
        })
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

/// Ana lends to her agent.
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
    }
}

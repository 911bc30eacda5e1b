//! Random histories of delegating, narrowing, revoking, tasks and calls, against a model that is too
//! simple to be wrong.

use std::time::Duration;

use callgate::control::delegations::{DelegationNarrowing, NewDelegation};
use callgate::control::tasks::NewTask;
use callgate::domain::ids::{DelegationId, TaskId};
use callgate::domain::schema::AccessLevel;
use proptest::prelude::*;

use crate::live::office::{self, agent, call, from_delegation_ids, person, tools};
use crate::support::direct::Direct;

const AGENTS: [&str; 3] = ["one", "two", "three"];
/// Each tool with its effect.
const TOOLS: [(&str, AccessLevel); 4] = [
    ("mail/list", AccessLevel::Read),
    ("files/read", AccessLevel::Read),
    ("files/write", AccessLevel::Write),
    ("mail/send", AccessLevel::Write),
];
const EFFECTS: [AccessLevel; 2] = [AccessLevel::Read, AccessLevel::Write];

/// One step of a history. Indices are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    /// A person delegates.
    Delegate {
        to: usize,
        power: Power,
        task: Option<usize>,
    },
    /// An agent redelegates.
    Redelegate {
        parent: usize,
        to: usize,
        power: Power,
    },
    Narrow {
        delegation: usize,
        power: Power,
    },
    Revoke {
        delegation: usize,
    },
    Open {
        agent: usize,
        power: Power,
        budget: u64,
    },
    Close {
        task: usize,
    },
    Pass {
        seconds: u64,
    },
    TurnBack {
        seconds: u64,
    },
    Call {
        delegation: usize,
        by: usize,
        tool: usize,
        task: Option<usize>,
    },
}

/// What is delegated.
#[derive(Debug, Clone, Copy)]
struct Power {
    /// A bit for each tool.
    tools: u8,
    access: usize,
    depth: u32,
    seconds: u64,
}

/// The model of a grant: what was said when it was made, and since.
#[derive(Debug, Clone)]
struct Link {
    id: DelegationId,
    to: usize,
    parent: Option<usize>,
    task: Option<usize>,
    tools: u8,
    access: AccessLevel,
    depth: u32,
    ends: u64,
    is_revoked: bool,
}

#[derive(Debug, Clone)]
struct Open {
    id: TaskId,
    agent: usize,
    tools: u8,
    access: AccessLevel,
    left: u64,
    ends: u64,
    is_closed: bool,
}

#[derive(Debug, Default)]
struct Model {
    now: u64,
    links: Vec<Link>,
    tasks: Vec<Open>,
}

impl Model {
    fn is_open(&self, task: usize) -> bool {
        !self.tasks[task].is_closed && self.now < self.tasks[task].ends
    }

    /// Whether one link lets the call pass, looked at by itself.
    fn passes(&self, link: &Link, tool: usize, task: Option<usize>) -> bool {
        let for_task = link
            .task
            .is_none_or(|of| task == Some(of) && self.is_open(of));
        !link.is_revoked
            && self.now < link.ends
            && link.tools & (1 << tool) != 0
            && TOOLS[tool].1 <= link.access
            && for_task
    }

    /// The links from the root to this grant.
    fn chain(&self, delegation: usize) -> Vec<usize> {
        let mut chain = vec![delegation];
        while let Some(parent) = self.links[chain[chain.len() - 1]].parent {
            chain.push(parent);
        }
        chain
    }

    fn allows(&self, delegation: usize, by: usize, tool: usize, task: Option<usize>) -> bool {
        let chain = self.chain(delegation);
        let links = chain
            .iter()
            .all(|link| self.passes(&self.links[*link], tool, task));
        let in_task = task.is_none_or(|task| {
            let open = &self.tasks[task];
            let is_agents = chain.iter().any(|link| self.links[*link].to == open.agent);
            self.is_open(task)
                && is_agents
                && open.left > 0
                && open.tools & (1 << tool) != 0
                && TOOLS[tool].1 <= open.access
        });
        self.links[delegation].to == by && links && in_task
    }
}

fn power() -> impl Strategy<Value = Power> {
    (1..16_u8, 0..2_usize, 0..3_u32, 1..400_u64).prop_map(|(tools, access, depth, seconds)| Power {
        tools,
        access,
        depth,
        seconds,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let some_task = || prop::option::weighted(0.3, 0..8_usize);
    prop_oneof![
        3 => (0..3_usize, power(), some_task()).prop_map(|(to, power, task)| Step::Delegate { to, power, task }),
        3 => (0..16_usize, 0..3_usize, power()).prop_map(|(parent, to, power)| Step::Redelegate { parent, to, power }),
        2 => (0..16_usize, power()).prop_map(|(delegation, power)| Step::Narrow { delegation, power }),
        1 => (0..16_usize).prop_map(|delegation| Step::Revoke { delegation }),
        1 => (0..3_usize, power(), 0..4_u64).prop_map(|(agent, power, budget)| Step::Open { agent, power, budget }),
        1 => (0..8_usize).prop_map(|task| Step::Close { task }),
        2 => (1..120_u64).prop_map(|seconds| Step::Pass { seconds }),
        1 => (1..500_u64).prop_map(|seconds| Step::TurnBack { seconds }),
        12 => (0..16_usize, 0..3_usize, 0..4_usize, some_task())
            .prop_map(|(delegation, by, tool, task)| Step::Call { delegation, by, tool, task }),
    ]
}

fn scope(power: &Power) -> callgate::domain::authority::scope::Scope {
    let named = TOOLS.iter().enumerate();
    let named: Vec<&str> = named
        .filter(|(index, _)| power.tools & (1 << index) != 0)
        .map(|(_, (name, _))| *name)
        .collect();
    tools(&named, EFFECTS[power.access])
}

/// The company and its model, side by side.
struct Both {
    office: Direct,
    model: Model,
    /// How far the clock was turned back and has not caught up yet.
    behind: u64,
    allowed: usize,
}

impl Both {
    async fn take(&mut self, step: &Step) {
        let pick = |index: usize, of: usize| (of > 0).then(|| index % of);
        match step {
            Step::Delegate { to, power, task } => {
                let task = task.and_then(|task| pick(task, self.model.tasks.len()));
                self.delegate(*to, power, None, task).await;
            }
            Step::Redelegate { parent, to, power } => {
                if let Some(parent) = pick(*parent, self.model.links.len()) {
                    let task = self.model.links[parent].task;
                    self.delegate(*to, power, Some(parent), task).await;
                }
            }
            Step::Narrow { delegation, power } => {
                if let Some(delegation) = pick(*delegation, self.model.links.len()) {
                    self.narrow(delegation, power).await;
                }
            }
            Step::Revoke { delegation } => {
                if let Some(delegation) = pick(*delegation, self.model.links.len()) {
                    let id = self.model.links[delegation].id.clone();
                    let author = self.office.author(&person("ana"));
                    self.office
                        .control
                        .revoke_delegation(&author, id)
                        .await
                        .unwrap();
                    self.model.links[delegation].is_revoked = true;
                }
            }
            Step::Open {
                agent,
                power,
                budget,
            } => self.open(*agent, power, *budget).await,
            Step::Close { task } => {
                if let Some(task) = pick(*task, self.model.tasks.len()) {
                    let id = self.model.tasks[task].id.clone();
                    let author = self.office.author(&person("ana"));
                    // Closed or overdue already: there is nothing left to close.
                    let closed = self.office.control.close_task(&author, id).await;
                    self.model.tasks[task].is_closed |= closed.is_ok();
                }
            }
            Step::Pass { seconds } => {
                self.office.pass(Duration::from_secs(*seconds));
                // What nobody saw has not happened: the service's clock moves when it is looked at.
                self.office.service.now();
                // Time goes on only once it is past where it was.
                let caught_up = self.behind.min(*seconds);
                self.behind -= caught_up;
                self.model.now += seconds - caught_up;
            }
            Step::TurnBack { seconds } => {
                self.office.turn_back(Duration::from_secs(*seconds));
                self.behind += seconds;
            }
            Step::Call {
                delegation,
                by,
                tool,
                task,
            } => {
                if let Some(delegation) = pick(*delegation, self.model.links.len()) {
                    let task = task.and_then(|task| pick(task, self.model.tasks.len()));
                    self.call(delegation, *by, *tool, task).await;
                }
            }
        }
    }

    async fn delegate(
        &mut self,
        to: usize,
        power: &Power,
        parent: Option<usize>,
        task: Option<usize>,
    ) {
        let delegator = match parent {
            Some(parent) => agent(AGENTS[self.model.links[parent].to]),
            None => person("ana"),
        };
        let new = NewDelegation {
            to: agent(AGENTS[to]),
            scope: scope(power),
            task: task.map(|task| self.model.tasks[task].id.clone()),
            parent: parent.map(|parent| self.model.links[parent].id.clone()),
            max_redelegations: power.depth,
            not_before: None,
            expires_at: self.office.service.now() + Duration::from_secs(power.seconds),
        };
        let author = self.office.author(&delegator);
        let Ok(done) = self.office.control.grant_delegation(&author, new).await else {
            return;
        };
        let delegated = Link {
            id: done.value.delegation.id.clone(),
            to,
            parent,
            task,
            tools: power.tools,
            access: EFFECTS[power.access],
            depth: power.depth,
            ends: self.model.now + power.seconds,
            is_revoked: false,
        };
        if let Some(parent) = parent.map(|parent| &self.model.links[parent]) {
            assert!(!parent.is_revoked && self.model.now < parent.ends);
            assert_eq!(
                delegated.tools & !parent.tools,
                0,
                "more tools than were delegated"
            );
            assert!(delegated.access <= parent.access && delegated.ends <= parent.ends);
            assert!(delegated.depth < parent.depth, "redelegated too often");
        }
        self.model.links.push(delegated);
    }

    async fn narrow(&mut self, delegation: usize, power: &Power) {
        let known = &self.model.links[delegation];
        let narrowing = DelegationNarrowing {
            id: known.id.clone(),
            scope: Some(scope(power)),
            expires_at: Some(self.office.service.now() + Duration::from_secs(power.seconds)),
            max_redelegations: Some(power.depth),
        };
        let author = self.office.author(&person("ana"));
        if self
            .office
            .control
            .narrow_delegation(&author, narrowing)
            .await
            .is_err()
        {
            return;
        }
        let ends = self.model.now + power.seconds;
        let known = &mut self.model.links[delegation];
        assert_eq!(power.tools & !known.tools, 0, "narrowing widened");
        assert!(EFFECTS[power.access] <= known.access && ends <= known.ends);
        assert!(power.depth <= known.depth);
        known.tools = power.tools;
        known.access = EFFECTS[power.access];
        known.ends = ends;
        known.depth = power.depth;
    }

    async fn open(&mut self, by: usize, power: &Power, budget: u64) {
        let new = NewTask {
            agent: agent(AGENTS[by]),
            person: person("ana"),
            purpose: "to see".into(),
            scope: Some(scope(power)),
            terms: Default::default(),
            call_budget: (budget > 0).then_some(budget),
            steps: Vec::new(),
            deadline: self.office.service.now() + Duration::from_secs(power.seconds),
        };
        let author = self.office.author(&person("ana"));
        let opened = self.office.control.open_task(&author, new).await.unwrap();
        self.model.tasks.push(Open {
            id: opened.value.task.id.clone(),
            agent: by,
            tools: power.tools,
            access: EFFECTS[power.access],
            left: if budget > 0 { budget } else { u64::MAX },
            ends: self.model.now + power.seconds,
            is_closed: false,
        });
    }

    async fn call(&mut self, delegation: usize, by: usize, tool: usize, task: Option<usize>) {
        let made = call(&agent(AGENTS[by]), TOOLS[tool].0);
        let mut made = from_delegation_ids(made, &[self.model.links[delegation].id.clone()]);
        made.workflow.task_id = task.map(|task| self.model.tasks[task].id.clone());
        let decision = self.office.decide(&made).await;
        let expected = self.model.allows(delegation, by, tool, task);
        // A chain that goes on below a narrowed link for longer than that allows is broken.
        let chain = self.model.chain(delegation);
        let is_broken = (0..)
            .zip(&chain)
            .any(|(below, link): (u32, _)| self.model.links[*link].depth < below);
        assert_eq!(
            decision.is_allow(),
            expected && !is_broken,
            "{made:?}\n{:?}\n{:#?}",
            decision.reasons,
            self.model
        );
        if decision.is_allow() {
            self.allowed += 1;
            if let Some(task) = task {
                self.model.tasks[task].left -= 1;
            }
        }
    }
}

#[test]
fn decisions_are_those_of_the_model() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let cases = std::env::var("CALLGATE_PROPERTY_CASES").ok();
    let cases = cases
        .and_then(|text| text.parse().ok())
        .unwrap_or(96_u32)
        .min(2_000);
    let allowed = std::cell::Cell::new(0);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let histories = prop::collection::vec(step(), 1..60);
    let result = runner.run(&histories, |history| {
        let mut both = Both {
            office: office::open(),
            model: Model::default(),
            behind: 0,
            allowed: 0,
        };
        runtime.block_on(async {
            for step in &history {
                both.take(step).await;
            }
        });
        allowed.set(allowed.get() + both.allowed);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(
        allowed.get() > 0,
        "histories in which nothing is allowed show nothing"
    );
}

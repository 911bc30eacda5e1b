//! One row of the tables in `cases/`: who asks for what under which circumstances, and the answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate::authn::caller::Caller;
use callgate::bundle::Bundle;
use callgate::domain::authority::approval::{Approval, ApprovalDecision};
use callgate::domain::authority::chain::DelegationChain;
use callgate::domain::authority::delegation::Delegation;
use callgate::domain::authority::labels::CarriedLabels;
use callgate::domain::authority::scope::Scope;
use callgate::domain::authority::session::{CedarSet, Session};
use callgate::domain::authority::state::Authority;
use callgate::domain::authority::task::Task;
use callgate::domain::authority::terms::{KnownResource, TaskTerms, ToolUse};
use callgate::domain::authority::usage::{Usage, WindowCounts};
use callgate::domain::decide::call::decide;
use callgate::domain::decide::govern::{GovernRequest, approve, govern};
use callgate::domain::decide::inputs::Requester;
use callgate::domain::decide::inputs::{DecisionInputs, History};
use callgate::domain::decide::verdict::Verdict;
use callgate::domain::request::call_context::{
    ActorChain, CallContext, Environment, Identity, Initiator, Operation, OperationKind, Sampling,
    Subject, ToolCall, TraceContext, Workflow,
};
use callgate::domain::request::client_responses::ClientResponses;
use callgate::domain::schema::AccessLevel;
use callgate_engine::cedar::EntityUID;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub case: Vec<Case>,
}

/// One row. Who asks for what, and what the answer must be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    it: String,
    user: Option<String>,
    agent: Option<String>,
    from_server: Option<String>,
    for_user: Option<String>,
    #[serde(default)]
    via: Vec<String>,
    #[serde(default = "yes")]
    identity_verified: bool,
    #[serde(default = "yes")]
    delegation_verified: bool,
    server: Option<String>,
    /// What is asked for; `call` is a call of `tool`, and the actions of `govern` go by their names.
    #[serde(default = "call")]
    kind: String,
    tool: Option<String>,
    #[serde(default)]
    arguments: Map<String, Json>,
    /// What the gateway says the call acts upon.
    target: Option<String>,
    definition_digest: Option<String>,
    #[serde(default)]
    fields: Vec<String>,
    url: Option<String>,
    uri: Option<String>,
    #[serde(default)]
    max_tokens: i64,
    #[serde(default)]
    include_context: String,
    /// The labels of the session it is made in; absent: it is made in none.
    session: Option<Vec<String>>,
    /// The tools that its task names; empty for a task that names none; absent: there is no task.
    task: Option<Vec<String>>,
    /// What the tools of the task may act upon; empty: anything.
    #[serde(default)]
    task_targets: Vec<String>,
    /// Places that the person named in opening it, to read from and to send to.
    #[serde(default)]
    named_to_read: Vec<String>,
    #[serde(default)]
    named_to_send: Vec<String>,
    /// Whether the subject is known by what a program showed for it.
    #[serde(default)]
    relayed: bool,
    /// The results that go back to the server with it.
    #[serde(default)]
    answers: Vec<Map<String, Json>>,
    /// How much the agent has done of late; absent: nobody looked.
    usage: Option<Counts>,
    /// Who approves the call once an approval is asked for.
    approved_by: Option<String>,
    /// The policies that let them approve it.
    #[serde(default)]
    approving: BTreeSet<String>,
    /// The agent that authority is lent to, or for which a task is opened.
    to: Option<String>,
    /// The most that is lent.
    access: Option<AccessLevel>,
    want: String,
    reason: Option<String>,
    #[serde(default)]
    policies: BTreeSet<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Counts {
    /// Calls of this tool.
    last_minute: u64,
    last_hour: u64,
    recent_denials: u64,
    distinct_tools: u64,
    first_use: bool,
}

fn yes() -> bool {
    true
}

fn call() -> String {
    "call".to_owned()
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

/// `Mcp::<kind>::"<id>"`.
pub fn uid(kind: &str, id: &str) -> EntityUID {
    let text = format!("Mcp::{kind}::{}", json!(id));
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A session that has seen this.
pub fn session(labels: &[String]) -> Session {
    let labels = labels.iter().map(|label| label.as_str().into()).collect();
    let mut session = Session::new();
    session.labels = Arc::new(CedarSet::new(labels));
    session
}

/// An open task.
pub fn task(id: &str, agent: EntityUID, person: EntityUID, tools: &[String]) -> Task {
    let listed = Scope {
        tools: tools.iter().map(|tool| uid("Tool", tool)).collect(),
        servers: Vec::new(),
        groups: Vec::new(),
        access: AccessLevel::Admin,
        targets: Vec::new(),
    };
    Task {
        id: id.into(),
        agent,
        person,
        purpose: "what it is about".into(),
        scope: (!tools.is_empty()).then_some(listed),
        terms: Default::default(),
        call_budget: None,
        steps: Vec::new(),
        at_step: 0,
        opened_at: now(),
        deadline: now() + Duration::from_secs(3_600),
        closed_at: None,
    }
}

impl Case {
    /// The policies that it names.
    pub fn policies(&self) -> impl Iterator<Item = &str> {
        self.policies.union(&self.approving).map(String::as_str)
    }

    fn subject(&self) -> EntityUID {
        match (&self.user, &self.agent, &self.from_server) {
            (Some(user), None, None) => uid("User", user),
            (None, Some(agent), None) => uid("Agent", agent),
            (None, None, Some(server)) => uid("Server", server),
            _ => panic!(
                "`{}` names one subject: user, agent or from_server",
                self.it
            ),
        }
    }

    fn operation(&self) -> OperationKind {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        match self.kind.as_str() {
            "call" | "reverse_call" => OperationKind::CallTool(ToolCall {
                tool: text(&self.tool).into(),
                arguments: self.arguments.clone(),
                definition_digest: self.definition_digest.clone().map(Into::into),
                target: self.target.clone().map(Into::into),
            }),
            "list_tools" => OperationKind::ListTools,
            "read_resource" => OperationKind::ReadResource {
                uri: text(&self.uri).into(),
            },
            "form" => {
                let fields = self
                    .fields
                    .iter()
                    .map(|name| (name.clone(), json!({"type": "string"})));
                let fields: Map<String, Json> = fields.collect();
                OperationKind::ElicitForm {
                    message: String::new(),
                    requested_schema: json!({"type": "object", "properties": fields}),
                }
            }
            "url" => OperationKind::ElicitUrl {
                url: text(&self.url),
            },
            "sample" => OperationKind::Sample(Sampling {
                max_tokens: self.max_tokens,
                include_context: self.include_context.as_str().into(),
                ..Sampling::default()
            }),
            "roots" => OperationKind::ListRoots,
            other => panic!("`{}`: no such kind `{other}`", self.it),
        }
    }

    fn who(&self) -> Subject {
        Subject {
            entity: self.subject(),
            identity: Identity {
                method: Some("jwt".into()),
                verified: self.identity_verified,
                is_relayed: self.relayed,
                ..Identity::default()
            },
            claims: Map::new(),
        }
    }

    fn actors(&self) -> Vec<EntityUID> {
        self.via.iter().map(|agent| uid("Agent", agent)).collect()
    }

    fn context(&self) -> CallContext {
        let initiator = if self.from_server.is_some() {
            Initiator::Server
        } else {
            Initiator::Client
        };
        let server = self
            .server
            .clone()
            .or_else(|| self.from_server.clone())
            .unwrap_or_default();
        CallContext {
            subject: self.who(),
            delegation: self.for_user.as_ref().map(|person| ActorChain {
                actors: self.actors(),
                verified: self.delegation_verified,
                ..ActorChain::verified_from(uid("User", person))
            }),
            operation: Operation {
                answers: self.answers(),
                ..Operation::new(initiator, server, self.operation())
            },
            workflow: Workflow {
                task_id: self.task.as_ref().map(|_| "t".into()),
                ..Workflow::default()
            },
            approval_ids: Vec::new(),
            environment: Environment::default(),
            trace: TraceContext::default(),
        }
    }

    fn terms(&self, tools: &[String]) -> TaskTerms {
        let places = |named: &[String], read: bool| {
            let named = named.iter().map(|id| uid("Resource", id));
            let send = !read;
            let named = named.map(|place| KnownResource { place, read, send });
            named.collect::<Vec<_>>()
        };
        let is_bound = !self.task_targets.is_empty();
        let uses = tools.iter().filter(|_| is_bound).map(|tool| ToolUse {
            tool: uid("Tool", tool),
            targets: self
                .task_targets
                .iter()
                .map(|id| uid("Resource", id))
                .collect(),
            arguments: Vec::new(),
            max_calls: None,
        });
        TaskTerms {
            uses: uses.collect(),
            places: [
                places(&self.named_to_read, true),
                places(&self.named_to_send, false),
            ]
            .concat(),
        }
    }

    fn answers(&self) -> Option<Box<ClientResponses>> {
        let mut answers = ClientResponses::default();
        for result in &self.answers {
            answers.add(result).expect("a result of a known kind");
        }
        (!self.answers.is_empty()).then(|| Box::new(answers))
    }

    fn usage(&self) -> Option<Usage> {
        self.usage.as_ref().map(|counts| Usage {
            tool: WindowCounts {
                minute: counts.last_minute,
                hour: counts.last_hour.max(counts.last_minute),
                day: counts.last_hour.max(counts.last_minute),
            },
            recent_denials: counts.recent_denials,
            distinct_tools: counts.distinct_tools,
            is_first_use: counts.first_use,
            ..Usage::default()
        })
    }

    /// What the policies of a bundle say to it.
    pub fn decide(&self, bundle: &Bundle) -> Verdict {
        let caller = Caller::local();
        let asker = Requester {
            caller: &caller,
            claims: &bundle.config.claims,
        };
        let session = self.session.as_deref().map(session);
        let mut authority = Authority::default();
        if let (Some(tools), Some(person)) = (&self.task, &self.for_user) {
            let mut task = task("t", self.subject(), uid("User", person), tools);
            task.terms = self.terms(tools);
            authority.tasks.insert_mut(Arc::new(task));
        }
        let carried = CarriedLabels::default();
        let history = History {
            session: session.as_ref(),
            carried: Some(&carried),
            usage: self.usage(),
            approval_uses: &[0],
            ..History::default()
        };
        let world = DecisionInputs {
            authority: &authority,
            history,
            ..DecisionInputs::from(&bundle.snapshot)
        };
        if is_governing(&self.kind) {
            return self.govern(&world, asker);
        }
        let decision = decide(world, &self.context(), asker, now());
        let Some(approver) = &self.approved_by else {
            return decision;
        };
        let challenge = decision
            .challenge
            .unwrap_or_else(|| panic!("`{}` asks for no approval", self.it));
        let approver = Subject::verified(uid("User", approver), "jwt");
        let approving = approve(&world, &challenge.call, &approver, asker, now());
        if !approving.is_allow() {
            return approving;
        }
        assert_eq!(
            determining_policies(&approving),
            self.approving,
            "{}",
            self.it
        );
        let approval = Approval {
            id: "a".into(),
            digest: challenge.digest.clone(),
            call: challenge.call.clone(),
            circumstances: Default::default(),
            requested_at: now(),
            expires_at: challenge.expires_at,
            word: Some(ApprovalDecision {
                by: approver.entity,
                at: now(),
                uses: 1,
                comment: None,
                claims: approver.claims,
            }),
        };
        let mut approved = authority.clone();
        approved.approvals.insert_mut(Arc::new(approval));
        let again = CallContext {
            approval_ids: vec!["a".into()],
            ..self.context()
        };
        let world = DecisionInputs {
            authority: &approved,
            ..world
        };
        decide(world, &again, asker, now())
    }

    fn govern(&self, world: &DecisionInputs<'_>, asker: Requester<'_>) -> Verdict {
        let actor = self.who();
        let agent = self.to.as_ref().map(|agent| uid("Agent", agent));
        let person = self.for_user.as_ref().map(|person| uid("User", person));
        let is_about_lending = self.kind.ends_with("_delegation");
        let is_about_tasks = self.kind.ends_with("_task");
        let delegation = agent.clone().map(|to| self.grant(to));
        let chain = delegation
            .as_ref()
            .filter(|_| is_about_lending)
            .map(|delegation| self.chain(delegation));
        let work = agent
            .clone()
            .zip(person)
            .filter(|_| is_about_tasks)
            .map(|(agent, person)| task("t", agent, person, &[]));
        let resource = match self.kind.as_str() {
            "advance_task" | "close_task" => uid("Task", "t"),
            "end_session" | "edit_entities" | "repair_clock" => uid("Gateway", &asker.caller.id),
            _ => agent.unwrap_or_else(|| panic!("`{}` has no `to`", self.it)),
        };
        let governing = GovernRequest {
            actor: &actor,
            action: action(&self.kind),
            resource: &resource,
            chain: chain.as_ref(),
            task: work.as_ref(),
        };
        govern(world, &governing, asker, now())
    }

    /// The delegation that is granted or revoked.
    fn grant(&self, to: EntityUID) -> Delegation {
        Delegation {
            id: "g".into(),
            from: self.subject(),
            to,
            scope: Scope {
                tools: Vec::new(),
                servers: Vec::new(),
                groups: Vec::new(),
                access: self.access.unwrap_or(AccessLevel::Write),
                targets: Vec::new(),
            },
            task: None,
            parent: None,
            max_redelegations: 0,
            not_before: now(),
            expires_at: now() + Duration::from_secs(3_600),
            revoked_at: None,
            created_at: now(),
        }
    }

    /// The chain that it makes or made: of the subject's own authority unless `for_user` says whose.
    fn chain<'g>(&self, delegation: &'g Delegation) -> DelegationChain<'g> {
        use std::borrow::Cow;
        let root = self.for_user.as_ref().map(|person| uid("User", person));
        DelegationChain {
            root: Cow::Owned(root.unwrap_or_else(|| self.subject())),
            actors: Cow::Owned(self.actors()),
            scopes: &[],
            is_verified: true,
            delegations: vec![delegation],
        }
    }

    /// What is not as the row says; `None` if all of it is.
    pub fn difference(&self, decision: &Verdict) -> Option<String> {
        let outcome = decision.outcome.as_str();
        let reason = decision
            .reasons
            .first()
            .map(|reason| reason.code.as_str().to_owned());
        let policies = determining_policies(decision);
        let is_as_wanted =
            outcome == self.want && reason == self.reason && policies == self.policies;
        (!is_as_wanted).then(|| {
            let wanted = (&self.want, &self.reason, &self.policies);
            format!(
                "{}\n    wanted {wanted:?}\n    got    {:?}",
                self.it,
                (outcome, reason, policies)
            )
        })
    }
}

fn determining_policies(decision: &Verdict) -> BTreeSet<String> {
    let ids = decision.determining_policies.iter();
    ids.map(|policy| policy.id.to_string()).collect()
}

/// The actions of `govern` that rows ask for; who approves is said in a row of the call itself.
const GOVERNING: [&str; 10] = [
    "grant_delegation",
    "revoke_delegation",
    "open_task",
    "advance_task",
    "close_task",
    "end_session",
    "edit_entities",
    "stop_entity",
    "resume_entity",
    "repair_clock",
];

fn is_governing(kind: &str) -> bool {
    GOVERNING.contains(&kind)
}

fn action(kind: &str) -> &'static str {
    GOVERNING
        .into_iter()
        .find(|name| *name == kind)
        .unwrap_or_else(|| panic!("no such action `{kind}`"))
}

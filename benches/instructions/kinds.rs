//! The kinds of calls that are counted, each over the shipped policies.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate::authn::caller::Caller;
use callgate::bundle;
use callgate::config::claims::ClaimMapping;
use callgate::domain::authority::delegation::Delegation;
use callgate::domain::authority::labels::CarriedLabels;
use callgate::domain::authority::ownership::{self, AgentOwners};
use callgate::domain::authority::scope::Scope;
use callgate::domain::authority::session::{CedarSet, Session};
use callgate::domain::authority::state::Authority;
use callgate::domain::authority::task::Task;
use callgate::domain::authority::usage::Usage;
use callgate::domain::decide::call::decide;
use callgate::domain::decide::inputs::{DecisionInputs, History, Requester};
use callgate::domain::decide::verdict::Verdict;
use callgate::domain::ids::{DelegationId, SessionId, TaskId};
use callgate::domain::registration::RegisteredTools;
use callgate::domain::request::call_context::{ActorChain, Operation, Subject};
use callgate::domain::schema::{self, AccessLevel, TYPES};
use callgate::{CallContext, Snapshot};
use callgate_engine::Query;
use callgate_engine::cedar::{Context, EntityUID, Extensions, Name, PartialValue, Value};
use serde_json::{Value as Json, json};
use smol_str::SmolStr;

/// The id of the task, and of the delegations from the root on.
const TASK: &str = "t1";
const DELEGATIONS: [&str; 2] = ["d1", "d2"];

/// One kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An agent reads for a user: what the others are compared with.
    Read,
    /// A typed tool that sends, in a session that has read what is private and what strangers wrote.
    TypedWrite,
    /// The same once a secret was read: denied, and no approval would help.
    DeniedWrite,
    /// The same with a link to an unknown place: denied with a challenge.
    Challenge,
    /// A read by the last of a chain of three, by stored delegations and in a task.
    Chain,
    /// A file, so that the call has a target.
    File,
    /// A plain Cedar request: principal, action, resource, context.
    Cedar,
}

impl Kind {
    /// All kinds, in the order in which they are measured.
    pub const ALL: [Self; 7] = [
        Self::Read,
        Self::TypedWrite,
        Self::DeniedWrite,
        Self::Challenge,
        Self::Chain,
        Self::File,
        Self::Cedar,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::TypedWrite => "typed_write",
            Self::DeniedWrite => "denied_write",
            Self::Challenge => "challenge",
            Self::Chain => "chain",
            Self::File => "file",
            Self::Cedar => "cedar",
        }
    }

    fn is_allowed(self) -> bool {
        !matches!(self, Self::DeniedWrite | Self::Challenge)
    }
}

/// The shipped policies with some authority, and everything that a decision on them reads.
pub struct World {
    snapshot: Snapshot,
    tools: RegisteredTools,
    authority: Authority,
    named_approvers: Vec<EntityUID>,
    caller: Caller,
    claims: ClaimMapping,
    carried: CarriedLabels,
    now: SystemTime,
}

/// One call that is decided again and again.
pub struct Case {
    kind: Kind,
    call: CallContext,
    session: Session,
    question: Question,
}

/// A plain Cedar request.
struct Question {
    principal: EntityUID,
    action: EntityUID,
    resource: EntityUID,
    context: Context,
}

impl World {
    /// Loads the policies below this directory.
    pub fn load(dir: &Path) -> Self {
        let bundle = bundle::load(dir).expect("the shipped policies are sound");
        let snapshot = bundle.snapshot;
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let approve = schema::action_uid("approve_call");
        Self {
            tools: RegisteredTools::from_snapshot(&snapshot),
            authority: authority(&snapshot, now),
            named_approvers: snapshot.entities_named_where("approval", &approve),
            snapshot,
            caller: Caller::local(),
            claims: bundle.config.claims,
            carried: CarriedLabels::default(),
            now,
        }
    }

    /// Decides once.
    pub fn decide(&self, case: &Case) -> Verdict {
        let history = History {
            session: Some(&case.session),
            carried: Some(&self.carried),
            usage: Some(Usage::default()),
            ..History::default()
        };
        let inputs = DecisionInputs {
            tools: Some(&self.tools),
            authority: &self.authority,
            history,
            named_approvers: &self.named_approvers,
            ..DecisionInputs::from(&self.snapshot)
        };
        let requester = Requester {
            caller: &self.caller,
            claims: &self.claims,
        };
        decide(inputs, &case.call, requester, self.now)
    }

    /// Answers once; whether it is an allow.
    pub fn answer(&self, case: &Case) -> bool {
        if case.kind != Kind::Cedar {
            return self.decide(case).is_allow();
        }
        let Question {
            principal,
            action,
            resource,
            context,
        } = &case.question;
        let is_fit = self
            .snapshot
            .check_scope(principal, action, resource)
            .and_then(|()| self.snapshot.check_context(action, context));
        let query = Query {
            action,
            resource,
            context,
            overlays: &[],
            unknown: &[],
        };
        is_fit.is_ok() && self.snapshot.evaluate(&query, principal).is_allow()
    }
}

impl Case {
    /// The case of a kind; its answer is the one that the kind is about.
    pub fn new(kind: Kind, world: &World) -> Self {
        let case = Self {
            kind,
            call: call(kind),
            session: session(kind),
            question: question(),
        };
        assert_eq!(world.answer(&case), kind.is_allowed(), "{kind:?}");
        let has_challenge = world.decide(&case).challenge.is_some();
        assert_eq!(has_challenge, kind == Kind::Challenge, "{kind:?}");
        case
    }
}

fn user(id: &str) -> EntityUID {
    schema::entity_uid(&TYPES.user, id)
}

fn agent(id: &str) -> EntityUID {
    schema::entity_uid(&TYPES.agent, id)
}

fn call(kind: Kind) -> CallContext {
    let message = |text: &str| json!({ "channel_id": "C04SUPPORT", "text": text });
    let post = |text: &str| {
        (
            "support",
            "sam",
            "slack",
            "slack_post_message",
            message(text),
        )
    };
    let (subject, root, server, tool, arguments): (_, _, _, _, Json) = match kind {
        Kind::TypedWrite | Kind::DeniedWrite => post("We are on it, and will be back at noon."),
        Kind::Challenge => post("Sign in again at www.larkwood-login.example"),
        Kind::File => {
            let path = json!({ "path": "/srv/app/report.txt" });
            ("release", "ravi", "filesystem", "read_text_file", path)
        }
        Kind::Read | Kind::Chain | Kind::Cedar => {
            let issue = json!({ "owner": "larkwood", "repo": "shop", "issue_number": 4711 });
            ("support", "sam", "github", "get_issue", issue)
        }
    };
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    let mut call = CallContext::new(
        Subject::verified(agent(subject), "jwt"),
        Operation::call_tool(server, tool, arguments),
    );
    let mut chain = ActorChain::verified_from(user(root));
    if kind == Kind::Chain {
        chain.root = None;
        chain.delegation_ids = DELEGATIONS.map(DelegationId::new_static).to_vec();
        call.workflow.task_id = Some(TaskId::new_static(TASK));
    }
    call.actor_chain = Some(chain);
    call.workflow.session_id = Some(SessionId::new_static("0197-session"));
    call.workflow.purpose = Some(SmolStr::new_static("customer question"));
    call.environment.source_address = "10.1.2.3".parse().ok();
    call
}

fn session(kind: Kind) -> Session {
    let labels: &[&'static str] = match kind {
        Kind::TypedWrite | Kind::Challenge => &["untrusted", "private"],
        Kind::DeniedWrite => &["secret"],
        Kind::Read | Kind::Chain | Kind::File | Kind::Cedar => &[],
    };
    let labels = labels.iter().map(|label| SmolStr::new_static(label));
    let mut session = Session::new();
    session.labels = Arc::new(CedarSet::new(labels.collect()));
    session
}

/// Sam delegates to the agent `release`, which redelegates to the agent `support`, in a task.
fn authority(snapshot: &Snapshot, now: SystemTime) -> Authority {
    let mut authority = Authority::default();
    let link = |index: usize, from: EntityUID, to: EntityUID| Delegation {
        id: DelegationId::new_static(DELEGATIONS[index]),
        scope: Scope {
            tools: Vec::new(),
            servers: vec![schema::server_uid(&SmolStr::new_static("github"))],
            groups: Vec::new(),
            access: AccessLevel::Write,
            targets: Vec::new(),
        },
        task: Some(TaskId::new_static(TASK)),
        parent: index
            .checked_sub(1)
            .map(|parent| DelegationId::new_static(DELEGATIONS[parent])),
        max_redelegations: 1 - index as u32,
        not_before: now,
        expires_at: now + Duration::from_secs(3_600),
        revoked_at: None,
        created_at: now,
        owners: AgentOwners::of(snapshot, &from, &to),
        from,
        to,
    };
    let links = [
        link(0, user("sam"), agent("release")),
        link(1, agent("release"), agent("support")),
    ];
    for link in links {
        authority.delegations.insert_mut(Arc::new(link));
    }
    authority.tasks.insert_mut(Arc::new(Task {
        id: TaskId::new_static(TASK),
        agent: agent("support"),
        agent_owner: ownership::owner_of_agent(snapshot, &agent("support")),
        person: user("sam"),
        purpose: SmolStr::new_static("answer a customer"),
        scope: Some(Scope {
            tools: vec![schema::tool_uid("github", "get_issue")],
            servers: Vec::new(),
            groups: Vec::new(),
            access: AccessLevel::Read,
            targets: Vec::new(),
        }),
        terms: Default::default(),
        call_budget: Some(1_000_000),
        steps: Vec::new(),
        at_step: 0,
        opened_at: now,
        deadline: now + Duration::from_secs(3_600),
        closed_at: None,
    }));
    authority
}

/// A user reads, and the context is as somebody writes it who asks in Cedar's terms.
fn question() -> Question {
    let no_texts = || Value::empty_set(None);
    let identity = [
        ("verified", Value::new(true, None)),
        ("method", Value::new("jwt", None)),
        ("asserted_groups", no_texts()),
        ("asserted_attributes", no_texts()),
    ];
    let names = ["owner", "repo"].map(|name| Value::new(name, None));
    let arguments = [
        ("names", Value::set(names, None)),
        ("untyped", no_texts()),
        ("undeclared", no_texts()),
    ];
    let gateway = schema::entity_uid(&TYPES.gateway, Caller::LOCAL);
    let environment = [
        ("gateway", Value::new(gateway, None)),
        ("now", moment("2026-09-21T12:00:00Z")),
    ];
    let context = [
        ("identity", Value::record(identity, None)),
        ("arguments", Value::record(arguments, None)),
        ("environment", Value::record(environment, None)),
        ("initiator", Value::new("client", None)),
        ("labels", no_texts()),
    ];
    let context = context.map(|(name, value)| (SmolStr::new_static(name), value));
    Question {
        principal: user("sam"),
        action: schema::action_uid("call_read"),
        resource: schema::tool_uid("github", "get_issue"),
        context: Context::Value(Arc::new(context.into())),
    }
}

/// A Cedar `datetime`.
fn moment(text: &'static str) -> Value {
    let name = Name::parse_unqualified_name("datetime").expect("a name");
    let datetime = Extensions::all_available().func(&name).expect("it exists");
    match datetime.call(&[Value::new(text, None)]) {
        Ok(PartialValue::Value(value)) => value,
        other => panic!("{text} is no datetime: {other:?}"),
    }
}

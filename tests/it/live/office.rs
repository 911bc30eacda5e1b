//! A small company in one process: the service and its write side, over a store in memory, with a clock
//! that is set by hand.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use callgate::authn::caller::Caller;
use callgate::bundle;
use callgate::config::limits::Limits;
use callgate::control::requester::WriteRequester;
use callgate::control::write::Control;
use callgate::domain::authority::scope::Scope;
use callgate::domain::decide::verdict::Verdict;
use callgate::domain::ids::DelegationId;
use callgate::domain::request::call_context::{ActorChain, CallContext, Operation, Subject};
use callgate::domain::schema::{self, AccessLevel, TYPES};
use callgate::service::Service;
use callgate::service::clock::Clock;
use callgate::service::deadline::Deadline;
use callgate::service::generation::LoadedBundle;
use callgate::service::request::RequestMeta;
use callgate::service::settings::ServiceSettings;
use callgate::store::backend::Store;
use callgate::store::sqlite::SqliteStore;
use callgate::telemetry::record::recorder::Recorder;
use callgate_engine::cedar::EntityUID;
use serde_json::Map;

/// What every test of this folder needs of policies; each says more.
const POLICIES: &str = r#"
@id("govern") permit (principal is Mcp::User, action in Mcp::Action::"govern", resource);
@id("redelegate") permit (principal is Mcp::Agent, action == Mcp::Action::"grant_delegation", resource);
@id("left-the-team") forbid (principal in Mcp::Group::"former", action == Mcp::Action::"approve_call", resource);
@id("people") permit (principal is Mcp::User, action in Mcp::Action::"call_tool", resource);
@id("agents") permit (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource)
when { context has delegation };
@id("approve-admin") @reason("administration is approved")
forbid (principal is Mcp::Agent, action in Mcp::Action::"call_admin", resource)
unless { context has approval };
@id("nothing-private-out") @reason("what is private stays")
forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource == Mcp::Tool::"mail/send")
when { context has session && context.session.labels.contains("private") };
@id("nothing-private-after-out") @reason("what was sent is not followed by what is private")
forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource == Mcp::Tool::"files/read")
when { context has session && context.session.labels.contains("sent") };
"#;

const ENTITIES: &str = r#"[
  {"uid": {"type": "Mcp::Group", "id": "former"}, "attrs": {}, "parents": []},
  {"uid": {"type": "Mcp::User", "id": "ana"}, "attrs": {}, "parents": []},
  {"uid": {"type": "Mcp::User", "id": "bob"}, "attrs": {}, "parents": []},
  {"uid": {"type": "Mcp::Agent", "id": "one"}, "attrs": {"owner": {"__entity": {"type": "Mcp::User", "id": "ana"}}, "active": true}, "parents": []},
  {"uid": {"type": "Mcp::Agent", "id": "two"}, "attrs": {"owner": {"__entity": {"type": "Mcp::User", "id": "ana"}}, "active": true}, "parents": []},
  {"uid": {"type": "Mcp::Agent", "id": "three"}, "attrs": {"owner": {"__entity": {"type": "Mcp::User", "id": "ana"}}, "active": true}, "parents": []}
]"#;

const FILES: &str = r#"{
  "server": {"name": "files", "owner": "bob"},
  "tools": {
    "read": {"access": "read", "status": "confirmed", "yields": ["private"], "egress": false, "sensitivity": "internal"},
    "write": {"access": "write", "status": "confirmed", "yields": [], "egress": false, "sensitivity": "internal"},
    "format": {"access": "admin", "status": "confirmed", "yields": [], "egress": false, "sensitivity": "internal"}
  }
}"#;

const MAIL: &str = r#"{
  "server": {"name": "mail", "owner": "bob"},
  "tools": {
    "list": {"access": "read", "status": "confirmed", "yields": [], "egress": false, "sensitivity": "internal"},
    "send": {"access": "write", "status": "confirmed", "yields": ["sent"], "egress": true, "sensitivity": "internal"}
  }
}"#;

/// Compiled once: every company of these tests is the same.
static LOADED: LazyLock<LoadedBundle> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("all.cedar", POLICIES),
        ("entities/all.json", ENTITIES),
        ("tools/files.json", FILES),
        ("tools/mail.json", MAIL),
    ] {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let bundle = bundle::load(dir.path()).unwrap_or_else(|faults| panic!("{faults}"));
    LoadedBundle {
        snapshot: bundle.snapshot,
        claims: bundle.config.claims,
        policy_set_digest: bundle.digest,
    }
});

/// A clock that is set by hand.
pub struct HandClock(Mutex<SystemTime>);

impl Clock for HandClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

/// The company.
pub struct Office {
    pub service: Arc<Service>,
    pub control: Arc<Control>,
    pub caller: Arc<Caller>,
    clock: Arc<HandClock>,
}

impl Office {
    /// Open, with nothing delegated.
    pub fn open() -> Self {
        Self::over(Box::new(SqliteStore::in_memory().unwrap()))
    }

    /// The same over another store.
    pub fn over(store: Box<dyn Store>) -> Self {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let clock = Arc::new(HandClock(Mutex::new(start)));
        let settings = ServiceSettings::default();
        let service = Service::open(settings, Recorder::default(), store, clock.clone()).unwrap();
        let service = Arc::new(service);
        service.publish(LOADED.clone()).unwrap();
        let limits = Arc::new(ArcSwap::from_pointee(Limits::default()));
        Self {
            control: Arc::new(Control::new(Arc::clone(&service), limits)),
            service,
            caller: Arc::new(Caller::local()),
            clock,
        }
    }

    /// Now.
    pub fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Sets the clock on.
    pub fn pass(&self, time: Duration) {
        *self.clock.0.lock().unwrap() += time;
    }

    /// Sets the clock back.
    pub fn turn_back(&self, time: Duration) {
        *self.clock.0.lock().unwrap() -= time;
    }

    /// Who asks for a write.
    pub fn author(&self, actor: &EntityUID) -> WriteRequester {
        WriteRequester {
            caller: Arc::clone(&self.caller),
            adapter: "test",
            actor: Subject::verified(actor.clone(), "test"),
            key: None,
            trace: Default::default(),
        }
    }

    /// Decides a call.
    pub async fn decide(&self, call: &CallContext) -> Verdict {
        let ask = RequestMeta {
            caller: &self.caller,
            adapter: "test",
            at_least_revision: 0,
            is_dry_run: false,
            deadline: Deadline::NONE,
            request_id: None,
        };
        self.service.authorize(ask, call).await.unwrap().value
    }
}

/// `Mcp::User`.
pub fn person(id: &str) -> EntityUID {
    schema::entity_uid(&TYPES.user, id)
}

/// `Mcp::Agent`.
pub fn agent(id: &str) -> EntityUID {
    schema::entity_uid(&TYPES.agent, id)
}

/// These tools, named as `<server>/<tool>`, up to an effect.
pub fn tools(names: &[&str], access: AccessLevel) -> Scope {
    let tool = |name: &&str| {
        let (server, tool) = name.split_once('/').unwrap();
        schema::tool_uid(server, tool)
    };
    Scope {
        tools: names.iter().map(tool).collect(),
        servers: Vec::new(),
        groups: Vec::new(),
        access,
        targets: Vec::new(),
    }
}

/// A call of `<server>/<tool>` by an agent.
pub fn call(by: &EntityUID, tool: &str) -> CallContext {
    let (server, tool) = tool.split_once('/').unwrap();
    let operation = Operation::call_tool(server, tool, Map::new());
    CallContext::new(Subject::verified(by.clone(), "test"), operation)
}

/// The same on what delegations cover.
pub fn from_delegation_ids(call: CallContext, ids: &[DelegationId]) -> CallContext {
    CallContext {
        actor_chain: Some(ActorChain::from_delegation_ids(ids.to_vec())),
        ..call
    }
}

/// The same for a person, as a token says.
pub fn for_person(call: CallContext, root: &EntityUID) -> CallContext {
    CallContext {
        actor_chain: Some(ActorChain::verified_from(root.clone())),
        ..call
    }
}

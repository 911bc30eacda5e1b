//! The office of these tests, asked directly, and how they name what is in it.

use std::sync::LazyLock;

use callgate::domain::authority::scope::Scope;
use callgate::domain::ids::DelegationId;
use callgate::domain::request::call_context::{ActorChain, CallContext, Operation, Subject};
use callgate::domain::schema::{self, AccessLevel, TYPES};
use callgate::service::generation::LoadedBundle;
use callgate::store::backend::Store;
use callgate_engine::cedar::EntityUID;
use serde_json::Map;

use crate::support::direct::Direct;
use crate::support::worlds;

/// Compiled once for all tests.
static LOADED: LazyLock<LoadedBundle> = LazyLock::new(|| worlds::office().load());

/// An office in which nothing is delegated.
pub fn open() -> Direct {
    Direct::in_memory(LOADED.clone())
}

/// The same over another store.
pub fn over(store: Box<dyn Store>) -> Direct {
    Direct::over(LOADED.clone(), store)
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

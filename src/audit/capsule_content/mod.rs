//! Capsules: everything that one decision read besides the bundle, so that it can be made again.
//!
//! `decide` is a pure function of generation, facts, call and time. A capsule holds the call (or Cedar's own request),
//! the caller with its rights, the time, the observed history, the delegations, tasks, approvals and stops that were
//! looked at, and the stored entities that can be reached from them. Of the bundle it holds the digest alone: replay
//! puts another bundle in its place.
//!
//! Start at [`encode::CallCapsule`], which a decision writes, and at [`Capsule::decode`], which replay reads. [`many`] is
//! about lists and searches, which are several decisions on one request.
//! [`entities`] collects the stored entities, [`mod@slice`] the authority; [`mod@reached`] says whether another bundle reaches
//! further. [`binary`] holds the primitives.
//!
//! Invariant: what a capsule leaves out it says ([`MissingFacts`]). Replay counts such a record and does not guess.

mod binary;
mod decode;
pub mod encode;
pub mod entities;
pub mod many;
mod reached;
mod slice;

use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::authn::caller::Caller;
use crate::domain::authority::labels::CarriedLabels;
use crate::domain::authority::session::Session;
use crate::domain::authority::state::Authority;
use crate::domain::authority::usage::Usage;
use crate::domain::decide::inputs::History;
use crate::domain::decide::is_authorized::ParcRequest;
use crate::domain::decide::listing::ListedItem;
use crate::domain::reason::ReasonCode;
use crate::domain::request::call_context::CallContext;
use crate::domain::request::definition::DefinitionDigests;
use crate::domain::schema;

pub use binary::CapsuleContentError;
pub use entities::{AbsentEntities, StoredForms};
use many::{ListedEntry, SearchedCandidate};

/// The version of the encoding. A change of the encoding is a new version.
pub const VERSION: u8 = 6;

/// The oldest version that is read. It had no lists and searches, up to version 2 recent calls were written by name, and up to
/// version 4 it was not said which entities were not stored, and up to version 5 not by which method a connection is kept.
pub const OLDEST_VERSION: u8 = 1;

/// The most bytes of a capsule; a decision that would need more has none.
pub const MAX_BYTES: usize = 4 << 20;

/// A decoded capsule.
#[derive(Debug)]
pub struct Capsule {
    /// The digest of the bundle it was decided with, `sha256:<hex>`.
    pub policy_set_digest: SmolStr,
    /// The time of the decision.
    pub now: SystemTime,
    /// The caller, with the rights it had. Which RPCs it may use is left out: no decision reads that.
    pub caller: Caller,
    /// The delegations, tasks, approvals and stops that concern the request.
    pub authority: Authority,
    /// The stored entities that can be reached from the request.
    pub entities: StoredForms,
    /// The entities that were not stored.
    pub absent: AbsentEntities,
    /// What the decision did not look up, or the capsule had no room for.
    pub missing: MissingFacts,
    /// The request.
    pub request: CapsuleRequest,
}

/// The request of a capsule.
#[derive(Debug)]
pub enum CapsuleRequest {
    /// A call, without its trace and its request id.
    Call(CallContext, CapsuleHistory),
    /// Cedar's own request, without its trace.
    Cedar(ParcRequest),
    /// A filtered list: the call that lists, and the entries.
    List(CallContext, CapsuleHistory, Vec<ListedEntry>),
    /// A search: the candidates that were decided.
    Search(Vec<SearchedCandidate>),
}

/// What a capsule does not hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MissingFacts {
    /// Usage was not looked up, because no policy read it.
    pub usage: bool,
    /// Labels beside those of the session were not looked up, because no policy read them.
    pub labels: bool,
    /// Not all stored entities that can be reached are there.
    pub entities: bool,
    /// By which method a connection is kept: older capsules say nothing of it. It is not written, but follows from the version.
    pub method: bool,
}

/// The history that a decision observed, owned.
#[derive(Debug, Default)]
pub struct CapsuleHistory {
    session: Option<Session>,
    carried: Option<CarriedLabels>,
    usage: Option<Usage>,
    calls_left: Option<u64>,
    tool_calls_left: Option<u64>,
    /// What the entries of a list say.
    spent_tools: Vec<EntityUID>,
    definition: Option<DefinitionDigests>,
    approval_uses: Vec<u32>,
}

impl CapsuleHistory {
    /// The history of a list, as far as its entries say it.
    fn of_list(mut self, call: &CallContext, entries: &[ListedEntry]) -> Self {
        let spent = ReasonCode::TaskBudgetSpent.as_str();
        let spent = entries
            .iter()
            .filter(|it| it.hidden.as_deref() == Some(spent));
        let spent = spent.filter_map(|entry| match &entry.item {
            ListedItem::Tool { name, .. } => Some(schema::tool_uid(&call.operation.server, name)),
            _ => None,
        });
        self.spent_tools = spent.collect();
        self
    }

    /// The history for a decision.
    pub fn history(&self) -> History<'_> {
        History {
            session: self.session.as_ref(),
            carried: self.carried.as_ref(),
            usage: self.usage,
            calls_left: self.calls_left,
            tool_calls_left: self.tool_calls_left,
            spent_tools: &self.spent_tools,
            definition: self.definition.as_ref(),
            approval_uses: &self.approval_uses,
        }
    }
}

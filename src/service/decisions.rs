//! The service every front door asks.

use std::sync::Arc;
use std::time::Duration;

use cedar_policy_core::ast::{Context, EntityUID};
use smol_str::SmolStr;
use uuid::Uuid;

use crate::call::context::{CallContext, TraceContext};
use crate::call::decide::ToolVerdict;
use crate::call::decision::Decision;
use crate::config::claims::ClaimMapping;
use crate::engine::snapshot::Snapshot;
use crate::identity::caller::Caller;
use crate::telemetry::recorder::Recorder;

/// What one load of a bundle brings into service, as one unit.
#[derive(Debug, Clone)]
pub struct Generation {
    /// Policies, entities, schema.
    pub snapshot: Snapshot,
    /// How claims become facts.
    pub claims: ClaimMapping,
    /// `sha256:<hex>` over the bundle's content.
    pub policy_set_digest: Arc<str>,
}

/// How long the service waits, and what it says while it cannot answer.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a demand for a later revision may wait.
    pub stale_wait: Duration,
}

/// Who asks, and how.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The enforcement point.
    pub caller: &'a Caller,
    /// The front door, e.g. `grpc`.
    pub adapter: &'static str,
    /// Answer only from this revision on.
    pub at_least_revision: u64,
    /// Decide without effects.
    pub is_dry_run: bool,
}

/// An answer and where it came from.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    /// The decision, or what a filter kept.
    pub value: T,
    /// Names it in traces and logs.
    pub decision_id: Uuid,
    /// The revision it was made at.
    pub revision: u64,
    /// How many policies there were to choose from.
    pub policies_total: u32,
}

/// Cedar's own question, for anything that is not an MCP call.
#[derive(Debug, Clone)]
pub struct CedarQuestion {
    /// Who.
    pub principal: EntityUID,
    /// Does what.
    pub action: EntityUID,
    /// To what.
    pub resource: EntityUID,
    /// Under which circumstances.
    pub context: Context,
    /// The trace the caller named.
    pub trace: TraceContext,
}

/// Nothing is loaded, so nobody can answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no policies are loaded")]
pub struct NotReady;

/// Decides from the live generation, and puts every answer on record.
pub struct Service {
    _settings: Settings,
    _recorder: Recorder,
}

impl Service {
    /// A service with nothing loaded: it answers [`NotReady`] until the first [`Service::publish`].
    pub fn new(settings: Settings, recorder: Recorder) -> Self {
        Self {
            _settings: settings,
            _recorder: recorder,
        }
    }

    /// Puts a generation into service and returns its revision. Calls under way keep the one they took.
    pub fn publish(&self, generation: Generation) -> u64 {
        let _ = generation;
        todo!()
    }

    /// The generation in service.
    pub fn live(&self) -> Option<Arc<Generation>> {
        todo!()
    }

    /// Decides one call.
    pub async fn authorize(
        &self,
        ask: Ask<'_>,
        call: &CallContext,
    ) -> Result<Answer<Decision>, NotReady> {
        let _ = (ask, call);
        todo!()
    }

    /// Decides several calls against one generation, in order.
    pub async fn authorize_batch(
        &self,
        asks: &[(Ask<'_>, CallContext)],
    ) -> Result<Vec<Answer<Decision>>, NotReady> {
        let _ = asks;
        todo!()
    }

    /// Which tools of a server the subject may call. No names given: all that are registered.
    pub async fn filter_tools(
        &self,
        ask: Ask<'_>,
        call: &CallContext,
        tools: &[SmolStr],
    ) -> Result<Answer<Vec<ToolVerdict>>, NotReady> {
        let _ = (ask, call, tools);
        todo!()
    }

    /// Asks Cedar's own question; any policy error denies.
    pub async fn is_authorized(
        &self,
        ask: Ask<'_>,
        question: CedarQuestion,
    ) -> Result<Answer<Decision>, NotReady> {
        let _ = (ask, question);
        todo!()
    }
}

//! Observe mode: calls that are decided and recorded as ever, and allowed.
//!
//! Start at [`Service::set_observe`]. Which denies hold nevertheless says [`crate::domain::decide::observe`]. Only answers
//! about calls, lists and Cedar's own requests are waived: control writes are enforced always, and searches say what
//! would be allowed.
//!
//! Invariant: whatever is waived is recorded as the deny that it would have been, and counted.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use callgate_engine::cedar::EntityUID;

use crate::audit::capsule_content::MissingFacts;
use crate::audit::capsule_content::encode::{CallCapsule, CedarCapsule, DecidedWith};
use crate::audit::capsule_content::entities::{AddedByBundle, ReachableEntities};
use crate::audit::capsule_content::many::{ListCapsule, SearchCapsule, SearchedCandidate};
use crate::audit::log::AuditLog;
use crate::config::observe::ObserveConfig;
use crate::domain::authority::labels;
use crate::domain::decide::inputs::{DecisionInputs, History, Requester};
use crate::domain::decide::is_authorized::{self, ParcRequest};
use crate::domain::decide::listing::{HiddenReason, ListedItem};
use crate::domain::decide::observe::{self, Hold};
use crate::domain::decide::verdict::{LeftBehind, SideEffects, Verdict};
use crate::domain::request::call_context::CallContext;
use crate::service::Service;
use crate::service::generation::Generation;
use crate::service::in_flight::{Decided, InFlightRequest};
use crate::service::request::RequestMeta;
use crate::service::side_effects::Observed;
use crate::telemetry::record::waived::WaivedCounts;

/// What is only observed.
#[derive(Debug, Default)]
pub(super) struct ObserveState {
    config: ArcSwap<ObserveConfig>,
    /// Whether the decision log has what is only observed.
    is_on_record: AtomicBool,
}

/// What is only observed, as the status tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObserveStatus {
    /// The configuration.
    pub config: Arc<ObserveConfig>,
    /// What was let pass since the start.
    pub waived: WaivedCounts,
}

impl Service {
    /// Sets what is only observed, from the next request on, puts it on record unless it was so before, and warns if that is anything.
    pub fn set_observe(&self, config: &ObserveConfig) {
        let before = self.observe.config.load_full();
        let is_on_record = self.observe.is_on_record.swap(true, Ordering::AcqRel);
        if (!is_on_record || *before != *config)
            && let Some(audit) = self.recorder().audit()
        {
            audit.observed(config.summary(), is_on_record.then(|| before.summary()));
        }
        self.recorder()
            .observe(config.service, config.callers.len(), config.servers.len());
        self.observe.config.store(Arc::new(config.clone()));
        if config.is_off() && !before.is_off() {
            tracing::info!("nothing is only observed any more: every decision is enforced");
        }
        self.warn_of_observing();
    }

    /// What is only observed.
    pub fn observe_status(&self) -> ObserveStatus {
        ObserveStatus {
            config: self.observe.config.load_full(),
            waived: self.recorder().waived(),
        }
    }

    /// Warns if anything is only observed. To be called once a minute.
    pub(super) fn warn_of_observing(&self) {
        let ObserveStatus { config, waived } = self.observe_status();
        if !config.is_off() {
            tracing::warn!(
                observed = config.summary(),
                waived = waived.denies,
                shown = waived.entries,
                "decisions are NOT ENFORCED here: calls are allowed whatever is decided (`[observe]`)"
            );
        }
    }

    /// Whether a request about this server is only observed.
    pub(super) fn observes(&self, ask: &RequestMeta<'_>, server: Option<&str>) -> bool {
        let config = self.observe.config.load();
        !config.is_off() && config.covers(&ask.caller.id, server)
    }

    /// What a call leaves behind if it passes: as decided, or, if it is denied and only observed, as if it were
    /// allowed. `None` if it does not pass.
    pub(super) fn effects_of_passing<'v>(
        &self,
        inputs: &DecisionInputs<'_>,
        call: &CallContext,
        requester: Requester<'_>,
        verdict: &'v Verdict,
        pending: &InFlightRequest<'_>,
        is_observed: bool,
    ) -> Option<Cow<'v, SideEffects>> {
        if verdict.is_allow() {
            return Some(Cow::Borrowed(&verdict.effects));
        }
        if !is_observed {
            return None;
        }
        let waived = observe::waive(inputs, call, requester, verdict, pending.started_at);
        passing(waived).map(Cow::Owned)
    }

    /// Decides Cedar's own request.
    pub(super) fn decide_request(
        &self,
        pending: &InFlightRequest<'_>,
        question: &ParcRequest,
    ) -> Decided {
        let is_observed = self.observes(&pending.ask, question.server_name());
        pending.guarded(Decided::denied, |generation, _| {
            let (snapshot, authority) = (&generation.snapshot, &generation.authority);
            let verdict = is_authorized::decide(snapshot, authority, question);
            let waived = || {
                passing(observe::waive_request(
                    snapshot, authority, question, &verdict,
                ))
            };
            let passes = verdict.is_allow() || (is_observed && waived().is_some());
            Decided {
                is_enforced: !(is_observed && passes),
                left: LeftBehind::default(),
                capsule: self.capsule_of_request(pending, generation, question),
                ..Decided::enforced(verdict)
            }
        })
    }

    /// Whether the decision log keeps what decisions were made from.
    pub(super) fn keeps_capsules(&self) -> bool {
        self.recorder()
            .audit()
            .is_some_and(AuditLog::keeps_capsules)
    }

    /// What a decision on a call was made from, if the decision log keeps that.
    pub(super) fn capsule_of_call(
        &self,
        pending: &InFlightRequest<'_>,
        generation: &Generation,
        call: &CallContext,
        seen: &Observed<'_>,
    ) -> Option<Vec<u8>> {
        if !self.keeps_capsules() {
            return None;
        }
        let history = seen.history();
        let entities = reachable(pending, generation, call, &[]);
        let capsule = CallCapsule {
            with: decided_with(pending, generation, &entities),
            call,
            history,
            missing: self.missing_facts(generation, &history),
        };
        capsule.encode()
    }

    /// The same of a filtered list, with the verdict on each entry.
    pub(super) fn capsule_of_list(
        &self,
        pending: &InFlightRequest<'_>,
        generation: &Generation,
        (call, seen): (&CallContext, &Observed<'_>),
        (items, hidden): (&[ListedItem], &[HiddenReason]),
    ) -> Option<Vec<u8>> {
        if !self.keeps_capsules() {
            return None;
        }
        let history = seen.history();
        let entities = reachable(pending, generation, call, items);
        let capsule = ListCapsule {
            with: decided_with(pending, generation, &entities),
            call,
            history,
            missing: self.missing_facts(generation, &history),
            items,
            hidden,
        };
        capsule.encode()
    }

    /// The same of a search, with the verdict on each candidate.
    pub(super) fn capsule_of_search(
        &self,
        pending: &InFlightRequest<'_>,
        generation: &Generation,
        candidates: &[SearchedCandidate],
    ) -> Option<Vec<u8>> {
        if !self.keeps_capsules() {
            return None;
        }
        let entities = reachable_from(generation, candidates.iter().map(|it| &it.request));
        let capsule = SearchCapsule {
            with: decided_with(pending, generation, &entities),
            candidates,
        };
        capsule.encode()
    }

    fn missing_facts(&self, generation: &Generation, history: &History<'_>) -> MissingFacts {
        let has_labels = !self.facts().carrier_labels.is_empty();
        MissingFacts {
            usage: history.usage.is_none(),
            labels: has_labels && !labels::are_read(&generation.snapshot),
            entities: false,
            method: false,
        }
    }

    fn capsule_of_request(
        &self,
        pending: &InFlightRequest<'_>,
        generation: &Generation,
        question: &ParcRequest,
    ) -> Option<Vec<u8>> {
        if !self.keeps_capsules() {
            return None;
        }
        let entities = reachable_from(generation, [question]);
        let capsule = CedarCapsule {
            with: decided_with(pending, generation, &entities),
            request: question,
        };
        capsule.encode()
    }
}

/// What every capsule of a request says of the generation that decided.
fn decided_with<'d>(
    pending: &'d InFlightRequest<'_>,
    generation: &'d Generation,
    entities: &'d ReachableEntities<'_>,
) -> DecidedWith<'d> {
    DecidedWith {
        policy_set_digest: &generation.policy_set_digest,
        caller: pending.ask.caller,
        now: pending.started_at,
        authority: &generation.authority,
        entities,
    }
}

/// The stored entities that can be reached from Cedar's own requests.
fn reachable_from<'g, 'r>(
    generation: &'g Generation,
    requests: impl IntoIterator<Item = &'r ParcRequest>,
) -> ReachableEntities<'g> {
    if generation.stored.is_empty() {
        return ReachableEntities::default();
    }
    let requests = requests.into_iter();
    let mut named: Vec<EntityUID> = requests.flat_map(ParcRequest::named_entities).collect();
    named.sort();
    named.dedup();
    ReachableEntities::from_request(&generation.stored, &generation.snapshot, &named)
}

/// The stored entities that can be reached from a call, and from what it lists.
fn reachable<'g>(
    pending: &InFlightRequest<'_>,
    generation: &'g Generation,
    call: &CallContext,
    listed: &[ListedItem],
) -> ReachableEntities<'g> {
    if generation.stored.is_empty() {
        return ReachableEntities::default();
    }
    ReachableEntities::from_list(
        &generation.stored,
        &generation.snapshot,
        &generation.authority,
        AddedByBundle {
            approvers: &generation.named_approvers,
            claims: &generation.claims,
        },
        (call, pending.ask.caller),
        listed,
    )
}

/// What passes, or a line that says why a deny holds although it is only observed.
pub(super) fn passing<T>(waived: Result<T, Hold>) -> Option<T> {
    match waived {
        Ok(passing) => Some(passing),
        Err(hold) => {
            tracing::debug!(?hold, "a deny holds in observe mode");
            None
        }
    }
}

#[cfg(test)]
#[path = "observe_tests.rs"]
mod tests;

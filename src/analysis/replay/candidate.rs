//! The bundle that decisions are replayed with.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;

use crate::analysis::replay::context_reads;
use crate::audit::capsule_content::entities::AddedByBundle;
use crate::audit::capsule_content::{
    Capsule, CapsuleContentError, CapsuleHistory, CapsuleRequest, StoredForms,
};
use crate::authn::caller::Caller;
use crate::bundle::Bundle;
use crate::config::Config;
use crate::config::claims::ClaimMapping;
use crate::config::observe::ObserveConfig;
use crate::domain::decide::inputs::{DEFAULT_VALIDITY, DecisionInputs, Requester};
use crate::domain::decide::verdict::Verdict;
use crate::domain::decide::{call, is_authorized, observe};
use crate::domain::entity_json::parse_stored;
use crate::domain::registration::RegisteredTools;
use crate::domain::schema;

/// The most sets of stored entities that a worker remembers.
const MAX_REMEMBERED: usize = 1_024;

/// A bundle, ready for replay.
#[derive(Debug)]
pub struct Candidate {
    bundle: WithStored,
    claims: ClaimMapping,
    named_approvers: Vec<EntityUID>,
    demands: Option<DelegationDemands>,
    /// What is only observed; `None` if the configuration says nothing: it may be kept elsewhere.
    observe: Option<ObserveConfig>,
    digest: Arc<str>,
    reads_usage: bool,
    reads_labels: bool,
}

/// Which callers have to name a user with each call, as a configuration says.
#[derive(Debug)]
struct DelegationDemands {
    of_all: bool,
    of_callers: HashMap<String, bool>,
}

impl DelegationDemands {
    /// `None` for a configuration that says nothing: it may be kept elsewhere.
    fn from_config(config: &Config) -> Option<Self> {
        if *config == Config::default() {
            return None;
        }
        let of_all = config.require_delegation;
        let of_callers = config.callers.iter().map(|entry| {
            let demanded = entry.require_delegation.unwrap_or(of_all);
            (entry.id.clone(), demanded)
        });
        Some(Self {
            of_callers: of_callers.collect(),
            of_all,
        })
    }

    /// What it demands of a caller; `None` if it does not have it.
    fn of_caller(&self, id: &str) -> Option<bool> {
        let own = self.of_callers.get(id).copied();
        own.or_else(|| (id == Caller::LOCAL).then_some(self.of_all))
    }
}

/// What a candidate answers.
#[derive(Debug)]
pub struct ReplayedAnswer {
    /// Its verdict.
    pub verdict: Verdict,
    /// Whether a deny is enforced; `None` if the candidate does not say what is only observed.
    pub is_enforced: Option<bool>,
}

/// The bundle with stored entities put into it.
#[derive(Debug, Clone)]
struct WithStored {
    snapshot: Snapshot,
    tools: RegisteredTools,
}

/// Why a decision cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The capsule cannot be read.
    #[error("the capsule cannot be read: {0}")]
    Capsule(#[from] CapsuleContentError),
    /// The capsule does not open.
    #[error("{0}")]
    Sealed(String),
    /// The capsule was written, and is not there.
    #[error("its capsule was written and is not there: a file of capsules is damaged or missing")]
    Lost,
    /// A policy of the candidate reads usage, which was not looked up.
    #[error("a policy reads `context.usage`, which no policy read when it was decided")]
    NoUsage,
    /// A policy of the candidate reads labels, which were not looked up.
    #[error("a policy reads labels of the workflow, which no policy read when it was decided")]
    NoLabels,
    /// The capsule had no room for all stored entities.
    #[error("more stored entities can be reached than a capsule holds")]
    NotAllEntities,
    /// An older capsule does not say by which method a connection was kept.
    #[error("an older capsule says of no connection by which method it was kept")]
    NoMethod,
    /// The candidate reaches an entity that could not be reached, and may have been stored.
    #[error(
        "an entity can be reached that could not be when it was decided, and may have been stored"
    )]
    NewlyReached,
    /// A stored entity does not fit the candidate's schema.
    #[error("a stored entity does not fit the schema: {0}")]
    EntityMisfit(String),
    /// It is several decisions.
    #[error("it is about a list or a search")]
    Several,
    /// Evaluation failed.
    #[error("the decision could not be made again")]
    Failed,
}

impl Candidate {
    /// A candidate of a compiled bundle.
    pub fn from_bundle(bundle: &Bundle) -> Self {
        let (snapshot, claims) = (bundle.snapshot.clone(), bundle.config.claims.clone());
        Self {
            demands: DelegationDemands::from_config(&bundle.config),
            observe: (bundle.config != Config::default()).then(|| bundle.config.observe.clone()),
            ..Self::new(snapshot, claims, Arc::clone(&bundle.digest))
        }
    }

    /// A candidate of a snapshot, the mapping of claims and the digest of both. Which calls have to name a user, and which
    /// are only observed, is as it was.
    pub fn new(snapshot: Snapshot, claims: ClaimMapping, digest: Arc<str>) -> Self {
        let about = schema::action_uid("approve_call");
        Self {
            named_approvers: snapshot.entities_named_where("approval", &about),
            demands: None,
            observe: None,
            reads_usage: snapshot.reads_context("usage"),
            reads_labels: context_reads::reads_labels(&snapshot),
            bundle: WithStored {
                tools: RegisteredTools::from_snapshot(&snapshot),
                snapshot,
            },
            claims,
            digest,
        }
    }

    /// The digest of the bundle, `sha256:<hex>`.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Policies, entities and schema, without stored entities.
    pub(in crate::analysis::replay) fn snapshot(&self) -> &Snapshot {
        &self.bundle.snapshot
    }

    /// A caller as the candidate knows it: with the rights of then, and with what the candidate demands of it.
    fn caller<'a>(&self, then: &'a Caller) -> Cow<'a, Caller> {
        let demanded = self.demands.as_ref().and_then(|it| it.of_caller(&then.id));
        match demanded {
            Some(demanded) if demanded != then.rights.require_delegation => {
                let mut caller = then.clone();
                caller.rights.require_delegation = demanded;
                Cow::Owned(caller)
            }
            _ => Cow::Borrowed(then),
        }
    }

    /// The bundle with these stored entities. As in the service, an entity of the bundle sets a stored one aside.
    fn with_stored(&self, forms: &StoredForms) -> Result<WithStored, Obstacle> {
        let snapshot = &self.bundle.snapshot;
        let schema = snapshot.schema().map(Arc::as_ref);
        let mut uids = Vec::new();
        let mut entities = Vec::new();
        for (uid, json) in forms.entities()? {
            if !snapshot.contains(&uid) {
                let misfit = |why| Obstacle::EntityMisfit(format!("{uid}: {why}"));
                entities.push(parse_stored(schema, json).map_err(misfit)?);
                uids.push(uid);
            }
        }
        if entities.is_empty() {
            return Ok(self.bundle.clone());
        }
        let misfit = |error: callgate_engine::BuildError| Obstacle::EntityMisfit(error.to_string());
        let snapshot = snapshot.upsert(entities).map_err(misfit)?;
        let mut tools = self.bundle.tools.clone();
        for uid in &uids {
            tools.update(&snapshot, uid);
        }
        Ok(WithStored { snapshot, tools })
    }
}

/// Replays one decision after the other. The same stored entities come again and again, so the bundle with them is
/// remembered.
pub struct Replayer<'c> {
    candidate: &'c Candidate,
    remembered: HashMap<StoredForms, Result<WithStored, Obstacle>>,
}

impl<'c> Replayer<'c> {
    /// A replayer that remembers nothing yet.
    pub fn new(candidate: &'c Candidate) -> Self {
        Self {
            candidate,
            remembered: HashMap::new(),
        }
    }

    /// The answer of the candidate on one call, or on Cedar's own request.
    ///
    /// # Errors
    ///
    /// [`Obstacle`] if the capsule does not hold what the candidate reads, or is about a list or a search.
    pub fn answer(&mut self, capsule: &Capsule) -> Result<ReplayedAnswer, Obstacle> {
        let candidate = self.candidate;
        let observes = |server: Option<&str>| {
            let config = candidate.observe.as_ref();
            config.map(|config| config.covers(&capsule.caller.id, server))
        };
        let answer =
            |verdict: Verdict, is_observed: Option<bool>, holds: &dyn Fn(&Verdict) -> bool| {
                let is_enforced = is_observed.map(|it| !it || holds(&verdict));
                ReplayedAnswer {
                    is_enforced,
                    verdict,
                }
            };
        match &capsule.request {
            CapsuleRequest::Cedar(request) => {
                let snapshot = &self.bundle_for(capsule)?.snapshot;
                let authority = &capsule.authority;
                let verdict = is_authorized::decide(snapshot, authority, request);
                Ok(answer(
                    verdict,
                    observes(request.server_name()),
                    &|verdict| {
                        observe::waive_request(snapshot, authority, request, verdict).is_err()
                    },
                ))
            }
            CapsuleRequest::Call(call, history) => {
                let is_observed = observes(Some(&call.operation.server));
                self.inspect(capsule, history, |inputs, requester| {
                    let verdict = call::decide(*inputs, call, requester, capsule.now);
                    answer(verdict, is_observed, &|verdict| {
                        observe::waive(inputs, call, requester, verdict, capsule.now).is_err()
                    })
                })
            }
            CapsuleRequest::List(..) | CapsuleRequest::Search(_) => Err(Obstacle::Several),
        }
    }

    /// Passes the inputs of the decision on a recorded call to `look`, as the candidate has them.
    ///
    /// # Errors
    ///
    /// As [`Replayer::answer`].
    pub fn inspect<R>(
        &mut self,
        capsule: &Capsule,
        history: &CapsuleHistory,
        look: impl FnOnce(&DecisionInputs<'_>, Requester<'_>) -> R,
    ) -> Result<R, Obstacle> {
        let candidate = self.candidate;
        let bundle = self.bundle_for(capsule)?;
        let inputs = DecisionInputs {
            snapshot: &bundle.snapshot,
            tools: Some(&bundle.tools),
            authority: &capsule.authority,
            history: history.history(),
            named_approvers: &candidate.named_approvers,
            valid_for: DEFAULT_VALIDITY,
            observer: None,
        };
        let caller = candidate.caller(&capsule.caller);
        let requester = Requester {
            caller: &caller,
            claims: &candidate.claims,
        };
        Ok(look(&inputs, requester))
    }

    /// What Cedar's own requests of a capsule are decided from.
    pub(in crate::analysis::replay) fn snapshot_for(
        &mut self,
        capsule: &Capsule,
    ) -> Result<&Snapshot, Obstacle> {
        Ok(&self.bundle_for(capsule)?.snapshot)
    }

    /// The bundle with the stored entities of a capsule, if that holds all that the candidate reads.
    fn bundle_for(&mut self, capsule: &Capsule) -> Result<&WithStored, Obstacle> {
        let candidate = self.candidate;
        let missing = capsule.missing;
        if missing.usage && candidate.reads_usage {
            return Err(Obstacle::NoUsage);
        }
        if missing.labels && candidate.reads_labels {
            return Err(Obstacle::NoLabels);
        }
        if missing.entities {
            return Err(Obstacle::NotAllEntities);
        }
        if missing.method {
            return Err(Obstacle::NoMethod);
        }
        let bundle = self.bundle_with(&capsule.entities)?;
        // What the bundle that decided reaches, the capsule has.
        let is_same = capsule.policy_set_digest == candidate.digest();
        let added = AddedByBundle {
            approvers: &candidate.named_approvers,
            claims: &candidate.claims,
        };
        if !is_same && !capsule.knows_what_is_reached(&bundle.snapshot, added) {
            return Err(Obstacle::NewlyReached);
        }
        Ok(bundle)
    }

    fn bundle_with(&mut self, forms: &StoredForms) -> Result<&WithStored, Obstacle> {
        if !self.remembered.contains_key(forms) {
            if self.remembered.len() == MAX_REMEMBERED {
                self.remembered.clear();
            }
            let made = self.candidate.with_stored(forms);
            self.remembered.insert(forms.clone(), made);
        }
        match self.remembered.get(forms) {
            Some(Ok(bundle)) => Ok(bundle),
            Some(Err(obstacle)) => Err(obstacle.clone()),
            None => Err(Obstacle::Failed),
        }
    }
}

//! The service every front door asks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use cedar_policy_core::ast::{Context, EntityUID};
use smol_str::SmolStr;
use tokio::sync::watch;
use uuid::{NoContext, Timestamp, Uuid};

use crate::audit::record::{DecisionRecord, Question};
use crate::call::context::{CallContext, TraceContext};
use crate::call::decide::{self, Asker, ToolVerdict};
use crate::call::decision::{Decision, Reason, ReasonCode};
use crate::config::claims::ClaimMapping;
use crate::engine::snapshot::Snapshot;
use crate::identity::caller::Caller;
use crate::service::cedar;
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

/// How long the service waits.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a demand for a later revision may wait before it is denied with `STALE`.
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
    live: ArcSwapOption<Generation>,
    revisions: watch::Sender<u64>,
    last_revision: AtomicU64,
    settings: Settings,
    recorder: Recorder,
}

/// One question under way: what is needed to put its answer on record.
struct Pending<'a> {
    ask: Ask<'a>,
    generation: Arc<Generation>,
    started_at: SystemTime,
    clock: Instant,
}

impl Service {
    /// A service with nothing loaded: it answers [`NotReady`] until the first [`Service::publish`].
    pub fn new(settings: Settings, recorder: Recorder) -> Self {
        Self {
            live: ArcSwapOption::empty(),
            revisions: watch::Sender::new(0),
            last_revision: AtomicU64::new(0),
            settings,
            recorder,
        }
    }

    /// Where decisions go on record.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Puts a generation into service and returns its revision. Calls under way keep the one they took.
    pub fn publish(&self, generation: Generation) -> u64 {
        let revision = self.last_revision.fetch_add(1, Ordering::AcqRel) + 1;
        let snapshot = generation.snapshot.at_revision(revision);
        let (policies, entities) = (snapshot.policy_count(), snapshot.entity_count());
        let generation = Arc::new(Generation {
            snapshot,
            ..generation
        });
        self.revisions.send_modify(|newest| {
            // Publishers that overtake each other must not bring an older generation back.
            if revision > *newest {
                self.live.store(Some(generation));
                *newest = revision;
                self.recorder.published(revision, policies, entities);
            }
        });
        revision
    }

    /// Waits for the first generation.
    pub async fn ready(&self) {
        // The sender lives as long as the service, so waiting cannot fail.
        let _ = self
            .revisions
            .subscribe()
            .wait_for(|newest| *newest > 0)
            .await;
    }

    /// The generation in service.
    pub fn live(&self) -> Option<Arc<Generation>> {
        self.live.load_full()
    }

    /// Decides one call at once, unless it has to wait for its revision.
    pub fn authorize_now(
        &self,
        ask: Ask<'_>,
        call: &CallContext,
    ) -> Result<Option<Answer<Decision>>, NotReady> {
        let generation = self.live().ok_or(NotReady)?;
        if generation.snapshot.revision() < ask.at_least_revision {
            return Ok(None);
        }
        Ok(Some(self.decide(
            Pending::start(ask, generation),
            call,
            None,
        )))
    }

    /// Decides one call.
    pub async fn authorize(
        &self,
        ask: Ask<'_>,
        call: &CallContext,
    ) -> Result<Answer<Decision>, NotReady> {
        let (pending, stale) = self.take(ask).await?;
        Ok(self.decide(pending, call, stale))
    }

    /// Decides several calls against one generation, in order.
    pub async fn authorize_batch(
        &self,
        asks: &[(Ask<'_>, CallContext)],
    ) -> Result<Vec<Answer<Decision>>, NotReady> {
        let Some((ask, _)) = asks.iter().max_by_key(|(ask, _)| ask.at_least_revision) else {
            return Ok(Vec::new());
        };
        let (pending, _) = self.take(*ask).await?;
        let revision = pending.generation.snapshot.revision();
        let answers = asks.iter().map(|(ask, call)| {
            let generation = Arc::clone(&pending.generation);
            let stale = stale_reason(ask.at_least_revision, revision);
            self.decide(Pending::start(*ask, generation), call, stale)
        });
        Ok(answers.collect())
    }

    /// Which tools of a server the subject may call.
    pub async fn filter_tools(
        &self,
        ask: Ask<'_>,
        call: &CallContext,
        tools: &[SmolStr],
    ) -> Result<Answer<Vec<ToolVerdict>>, NotReady> {
        let (pending, stale) = self.take(ask).await?;
        let filtered = match stale {
            Some(reason) => Err(reason),
            None => pending.guarded(Err, |generation, asker| {
                decide::filter_tools(&generation.snapshot, call, tools, asker, pending.started_at)
            }),
        };
        let (decision, verdicts) = match filtered {
            Ok(verdicts) => (Decision::allow_unconditionally(), verdicts),
            Err(reason) => {
                let hidden = Some(reason.code);
                let hide = |tool: &SmolStr| ToolVerdict {
                    tool: tool.clone(),
                    hidden,
                };
                (Decision::deny(reason), tools.iter().map(hide).collect())
            }
        };
        let hidden = verdicts
            .iter()
            .filter(|verdict| verdict.hidden.is_some())
            .count();
        let question = Question::Filter {
            call,
            kept: verdicts.len() - hidden,
            hidden,
        };
        let answer = self.record(&pending, question, decision);
        Ok(answer.map(|_| verdicts))
    }

    /// Asks Cedar's own question; any policy error denies.
    pub async fn is_authorized(
        &self,
        ask: Ask<'_>,
        question: CedarQuestion,
    ) -> Result<Answer<Decision>, NotReady> {
        let (pending, stale) = self.take(ask).await?;
        let decision = match stale {
            Some(reason) => Decision::deny(reason),
            None => pending.guarded(Decision::deny, |generation, _| {
                cedar::decide(&generation.snapshot, &question)
            }),
        };
        let question = Question::Cedar {
            principal: &question.principal,
            action: &question.action,
            resource: &question.resource,
            trace: &question.trace,
        };
        Ok(self.record(&pending, question, decision))
    }

    fn decide(
        &self,
        pending: Pending<'_>,
        call: &CallContext,
        stale: Option<Reason>,
    ) -> Answer<Decision> {
        let decision = match stale {
            Some(reason) => Decision::deny(reason),
            None => pending.guarded(Decision::deny, |generation, asker| {
                decide::decide(&generation.snapshot, call, asker, pending.started_at)
            }),
        };
        self.record(&pending, Question::Call(call), decision)
    }

    /// Takes the generation to decide from, after waiting for a demanded revision, and the reason to
    /// deny if it did not come in time.
    async fn take<'a>(&self, ask: Ask<'a>) -> Result<(Pending<'a>, Option<Reason>), NotReady> {
        let mut generation = self.live().ok_or(NotReady)?;
        if generation.snapshot.revision() < ask.at_least_revision {
            let mut revisions = self.revisions.subscribe();
            let arrived = revisions.wait_for(|newest| *newest >= ask.at_least_revision);
            // Too late is as good as not at all; which of the two shows below.
            let _ = tokio::time::timeout(self.settings.stale_wait, arrived).await;
            generation = self.live().ok_or(NotReady)?;
        }
        let stale = stale_reason(ask.at_least_revision, generation.snapshot.revision());
        Ok((Pending::start(ask, generation), stale))
    }

    fn record(
        &self,
        pending: &Pending<'_>,
        question: Question<'_>,
        decision: Decision,
    ) -> Answer<Decision> {
        let decision_id = decision_id(pending.started_at);
        let snapshot = &pending.generation.snapshot;
        self.recorder.record(&DecisionRecord {
            decision_id,
            caller: &pending.ask.caller.id,
            adapter: pending.ask.adapter,
            question,
            decision: &decision,
            revision: snapshot.revision(),
            policy_set_digest: &pending.generation.policy_set_digest,
            is_dry_run: pending.ask.is_dry_run,
            started_at: pending.started_at,
            took: pending.clock.elapsed(),
        });
        Answer {
            value: decision,
            decision_id,
            revision: snapshot.revision(),
            policies_total: snapshot.policy_count() as u32,
        }
    }
}

impl<'a> Pending<'a> {
    fn start(ask: Ask<'a>, generation: Arc<Generation>) -> Self {
        Self {
            ask,
            generation,
            started_at: SystemTime::now(),
            clock: Instant::now(),
        }
    }

    /// Decides, and turns a panic into a deny: whoever asks must hear an answer, and never an allow.
    fn guarded<T>(
        &self,
        deny: impl FnOnce(Reason) -> T,
        decide: impl FnOnce(&Generation, Asker<'_>) -> T,
    ) -> T {
        let asker = Asker {
            caller: self.ask.caller,
            claims: &self.generation.claims,
        };
        // Nothing that a decision reads can be changed by it, so nothing is left half done.
        catch_unwind(AssertUnwindSafe(|| decide(&self.generation, asker))).unwrap_or_else(|_| {
            tracing::error!(
                caller = &*self.ask.caller.id,
                "a decision panicked and was denied"
            );
            deny(Reason::new(
                ReasonCode::Internal,
                "the decision could not be made",
            ))
        })
    }
}

impl<T> Answer<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        Answer {
            value: change(self.value),
            decision_id: self.decision_id,
            revision: self.revision,
            policies_total: self.policies_total,
        }
    }
}

/// A UUID version 7 of that moment. The library's own clock orders ids within a millisecond, behind a
/// lock that all threads would share; nothing here depends on that order.
fn decision_id(at: SystemTime) -> Uuid {
    let since_epoch = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let (seconds, nanoseconds) = (since_epoch.as_secs(), since_epoch.subsec_nanos());
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, nanoseconds))
}

fn stale_reason(wanted: u64, have: u64) -> Option<Reason> {
    (have < wanted).then(|| {
        let message = format!("revision {wanted} has not arrived here, the newest is {have}");
        Reason::new(ReasonCode::Stale, message)
    })
}

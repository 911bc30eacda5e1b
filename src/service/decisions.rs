//! The service every front door asks.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwapOption;
use callgate_engine::AssertedEntity;
use callgate_engine::cedar::{Context, EntityUID};
use smol_str::SmolStr;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::audit::decision_record::{DecisionRecord, RecordedRequest};
use crate::authn::caller::Caller;
use crate::domain::authority::task::Task;
use crate::domain::decide::call;
use crate::domain::decide::inputs::{DecisionInputs, History};
use crate::domain::decide::verdict::{Reason, ReasonCode, Verdict};
use crate::domain::request::call_context::{CallContext, TraceContext};
use crate::service::bundle_status::BundleStatus;
use crate::service::clock::{Clock, MonotonicClock, SystemClock};
use crate::service::deadline::{Deadline, ServiceError};
use crate::service::generation::{Generation, LoadedBundle};
use crate::service::in_flight::{
    CommitReceipt, InFlightRequest, TentativeVerdict, decision_id, settle, stale_reason,
};
use crate::service::is_authorized;
use crate::service::ledger::{Ledger, WriteError};
use crate::service::settings::ServiceSettings;
use crate::service::side_effects::{Commit, LiveFacts};
use crate::store::sqlite::SqliteStore;
use crate::store::store::{Store, StoreError, StoreWrite};
use crate::store::writer::Writer;
use crate::telemetry::record::recorder::Recorder;

/// How often a call is decided again because its session has changed meanwhile. Each time another call
/// of that session has gone through, so this is never near.
const MAX_ATTEMPTS: u32 = 10_000;

/// Who asks, and how.
#[derive(Debug, Clone, Copy)]
pub struct RequestMeta<'a> {
    /// The enforcement point.
    pub caller: &'a Caller,
    /// The front door, e.g. `grpc`.
    pub adapter: &'static str,
    /// Answer only from this revision on.
    pub at_least_revision: u64,
    /// Decide without effects.
    pub is_dry_run: bool,
    /// When the answer has to be there.
    pub deadline: Deadline,
    /// How whoever asks calls the request, for the log.
    pub request_id: Option<&'a str>,
}

impl RequestMeta<'_> {
    /// The gateway that what lists show is remembered for. Where no callers are configured, everybody is one; then each
    /// front door is.
    pub fn gateway(&self) -> SmolStr {
        match &*self.caller.id {
            Caller::LOCAL => smol_str::format_smolstr!("{}/{}", Caller::LOCAL, self.adapter),
            id => SmolStr::new(id),
        }
    }
}

/// An answer and where it came from.
#[derive(Debug, Clone)]
pub struct Response<T> {
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
pub struct ParcRequest {
    /// Who.
    pub principal: EntityUID,
    /// Does what.
    pub action: EntityUID,
    /// To what.
    pub resource: EntityUID,
    /// Under which circumstances.
    pub context: Context,
    /// What the caller says of principal and resource, where nothing stored says otherwise.
    pub asserted: Vec<AssertedEntity>,
    /// Why it is denied whatever the policies say: it is about something that no policy can name.
    pub denied: Option<Reason>,
    /// The trace the caller named.
    pub trace: TraceContext,
}

/// Decides from the live generation, and puts every answer on record.
pub struct Service {
    ledger: Arc<Ledger>,
    facts: Arc<LiveFacts>,
    clock: MonotonicClock,
    settings: ServiceSettings,
    recorder: Recorder,
    pub(super) directory: ArcSwapOption<BundleStatus>,
}

/// What became of a question at first sight.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every question is answered at once"
)]
pub enum Progress<'a> {
    /// It is answered.
    Ready(Response<Verdict>),
    /// The answer has to wait; [`Service::finish`] does.
    Pending(PendingResponse<'a>),
}

/// A question whose answer has to wait.
pub struct PendingResponse<'a>(Box<PendingStage<'a>>);

#[expect(
    clippy::large_enum_variant,
    reason = "boxed where it is kept, and nearly always the larger one"
)]
enum PendingStage<'a> {
    /// For its revision.
    Revision(RequestMeta<'a>),
    /// For what it used up to be written.
    Commit(InFlightRequest<'a>, Verdict, CommitReceipt),
}

impl Service {
    /// A service over a store, with nothing loaded: it answers [`Unanswered::NotReady`] until the first
    /// [`Service::publish`].
    pub fn open(
        settings: ServiceSettings,
        recorder: Recorder,
        mut store: Box<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let mut loaded = store.load()?;
        let clock = MonotonicClock::new(clock, loaded.lease.or(loaded.clock));
        // Before the first moment is told.
        store.commit(&[StoreWrite::Lease(clock.lease())])?;
        let facts = Arc::new(LiveFacts::restore(&settings, &mut loaded)?);
        let sessions = Arc::clone(&facts);
        let writer = Writer::start(store)?;
        let ledger = Ledger::new(
            &mut loaded,
            writer,
            sessions,
            recorder.clone(),
            settings.keys,
        );
        Ok(Self {
            ledger: Arc::new(ledger),
            facts,
            clock,
            settings,
            recorder,
            directory: ArcSwapOption::empty(),
        })
    }

    /// A service that remembers nothing beyond its own end.
    pub fn in_memory(settings: ServiceSettings, recorder: Recorder) -> Result<Self, StoreError> {
        let store = Box::new(SqliteStore::in_memory()?);
        Self::open(settings, recorder, store, Arc::new(SystemClock))
    }

    /// Where decisions go on record.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The write side.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// What has happened so far.
    pub fn facts(&self) -> &Arc<LiveFacts> {
        &self.facts
    }

    /// Now, as decisions see it.
    pub fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// The clock.
    pub fn clock(&self) -> &MonotonicClock {
        &self.clock
    }

    /// The limits it was opened with.
    pub fn settings(&self) -> &ServiceSettings {
        &self.settings
    }

    /// Puts a directory into service and returns its revision. Calls under way keep the one they took.
    /// Waits for the store; never call it on a request.
    pub fn publish(&self, load: LoadedBundle) -> Result<u64, WriteError<()>> {
        self.ledger.publish(load, self.now())
    }

    /// Waits for the first generation.
    pub async fn ready(&self) {
        // The sender lives as long as the service, so waiting cannot fail.
        let _ = self.ledger.revisions().wait_for(|newest| *newest > 0).await;
    }

    /// The generation in service.
    pub fn live(&self) -> Option<Arc<Generation>> {
        self.ledger.live()
    }

    /// What is left of the calls of each tool of which a task's terms say something; `None` where nobody counts.
    pub fn tool_calls_left(&self, task: &Task) -> Vec<Option<u64>> {
        let left = |(counter, most): (SmolStr, u64)| self.facts.meters.calls_left(&counter, most);
        let uses = task.terms.uses.iter();
        uses.map(|it| task.tool_budget(&it.tool).map(left))
            .collect()
    }

    /// Decides one call at once, unless the answer has to wait: for its revision, or for what it uses up
    /// to be written.
    pub fn authorize_now<'a>(
        &self,
        ask: RequestMeta<'a>,
        call: &CallContext,
    ) -> Result<Progress<'a>, ServiceError> {
        let generation = self.live().ok_or(ServiceError::NotReady)?;
        ask.deadline.check()?;
        if generation.revision() < ask.at_least_revision {
            return Ok(Progress::Pending(PendingResponse(Box::new(
                PendingStage::Revision(ask),
            ))));
        }
        Ok(self.begin(self.start(ask, generation), call, None))
    }

    /// Waits for what the answer has to wait for.
    pub async fn finish(
        &self,
        later: PendingResponse<'_>,
        call: &CallContext,
    ) -> Result<Response<Verdict>, ServiceError> {
        let mut waiting = *later.0;
        loop {
            match waiting {
                PendingStage::Commit(pending, decision, writing) => {
                    let decision = settle(decision, writing).await;
                    return Ok(self.record(&pending, RecordedRequest::Call(call), decision));
                }
                PendingStage::Revision(ask) => {
                    let (pending, stale) = self.take(ask).await?;
                    match self.begin(pending, call, stale) {
                        Progress::Ready(answer) => return Ok(answer),
                        Progress::Pending(later) => waiting = *later.0,
                    }
                }
            }
        }
    }

    /// Decides one call.
    pub async fn authorize(
        &self,
        ask: RequestMeta<'_>,
        call: &CallContext,
    ) -> Result<Response<Verdict>, ServiceError> {
        match self.authorize_now(ask, call)? {
            Progress::Ready(answer) => Ok(answer),
            Progress::Pending(later) => self.finish(later, call).await,
        }
    }

    /// Decides several calls against one generation, in order: all of them, or none is answered.
    pub async fn authorize_batch(
        &self,
        asks: &[(RequestMeta<'_>, CallContext)],
    ) -> Result<Vec<Response<Verdict>>, ServiceError> {
        let Some((ask, _)) = asks.iter().max_by_key(|(ask, _)| ask.at_least_revision) else {
            return Ok(Vec::new());
        };
        let (first, _) = self.take(*ask).await?;
        let revision = first.generation.revision();
        // Each is decided with what those before it left behind; then all of them wait together.
        let begun = asks.iter().map(|(ask, call)| {
            ask.deadline.check()?;
            let stale = stale_reason(ask.at_least_revision, revision);
            Ok(self.begin(self.start(*ask, Arc::clone(&first.generation)), call, stale))
        });
        let begun: Vec<Progress<'_>> = begun.collect::<Result<_, ServiceError>>()?;
        let mut answers = Vec::with_capacity(begun.len());
        for (now, (_, call)) in begun.into_iter().zip(asks) {
            answers.push(match now {
                Progress::Ready(answer) => answer,
                Progress::Pending(later) => self.finish(later, call).await?,
            });
        }
        Ok(answers)
    }

    /// Whether a call would be allowed, and the challenge if an approval would make it so. Nothing is
    /// used up and nothing goes on record.
    pub fn decide_dry_run(
        &self,
        caller: &Caller,
        call: &CallContext,
    ) -> Result<Verdict, ServiceError> {
        let ask = RequestMeta {
            caller,
            adapter: "control",
            at_least_revision: 0,
            is_dry_run: true,
            deadline: Deadline::NONE,
            request_id: None,
        };
        let pending = self.start(ask, self.live().ok_or(ServiceError::NotReady)?);
        Ok(self.decide(&pending, call).decision)
    }

    /// Asks Cedar's own question; any policy error denies.
    pub async fn is_authorized(
        &self,
        ask: RequestMeta<'_>,
        question: ParcRequest,
    ) -> Result<Response<Verdict>, ServiceError> {
        let (pending, stale) = self.take(ask).await?;
        let decision = match stale {
            Some(reason) => Verdict::deny(reason),
            None => pending.guarded(Verdict::deny, |generation, _| {
                is_authorized::decide(generation, &question)
            }),
        };
        let question = RecordedRequest::Cedar {
            principal: &question.principal,
            action: &question.action,
            resource: &question.resource,
            trace: &question.trace,
        };
        Ok(self.record(&pending, question, decision))
    }

    /// Decides, and answers unless something has to be written first.
    pub(super) fn begin<'a>(
        &self,
        pending: InFlightRequest<'a>,
        call: &CallContext,
        stale: Option<Reason>,
    ) -> Progress<'a> {
        let made = match stale {
            Some(reason) => TentativeVerdict::denied(reason),
            None => self.decide(&pending, call),
        };
        if made.writes.is_empty() {
            return Progress::Ready(self.record(
                &pending,
                RecordedRequest::Call(call),
                made.decision,
            ));
        }
        let writing = self.write(made.writes);
        let waiting = PendingStage::Commit(pending, made.decision, writing);
        Progress::Pending(PendingResponse(Box::new(waiting)))
    }

    /// Decides, and takes what an allow uses up.
    fn decide(&self, pending: &InFlightRequest<'_>, call: &CallContext) -> TentativeVerdict {
        pending.guarded(TentativeVerdict::denied, |generation, asker| {
            let now = pending.started_at;
            // A clock that leaps forgets nothing of what was read and done.
            let sure = self.sure().min(now);
            let caller = &pending.ask.caller.id;
            generation.mapped.tell(&generation.claims, call, caller);
            for _ in 0..MAX_ATTEMPTS {
                let seen = self.facts.look(&pending.ask, generation, call, sure);
                let world = self.world(generation, seen.history());
                let decision = call::decide(world, call, asker, now);
                if pending.ask.is_dry_run {
                    return TentativeVerdict::unwritten(decision);
                }
                if !decision.is_allow() {
                    self.facts.denied(&seen, call, sure);
                    return TentativeVerdict::unwritten(decision);
                }
                match self.facts.take(&seen, call, &decision.effects, sure) {
                    Commit::Applied => return TentativeVerdict::unwritten(decision),
                    Commit::NeedsWrite(writes) => return TentativeVerdict { decision, writes },
                    Commit::Conflict => {}
                    Commit::Denied(reason) => {
                        self.facts.denied(&seen, call, sure);
                        return TentativeVerdict::denied(reason);
                    }
                }
            }
            let message = "too many calls of this session at once";
            TentativeVerdict::denied(Reason::new(ReasonCode::Overloaded, message))
        })
    }

    /// What a decision is made from, in a generation and with what has happened so far.
    pub fn world<'w>(
        &self,
        generation: &'w Generation,
        history: History<'w>,
    ) -> DecisionInputs<'w> {
        DecisionInputs {
            snapshot: &generation.snapshot,
            tools: Some(&generation.tools),
            authority: &generation.authority,
            history,
            named_approvers: &generation.named_approvers,
            valid_for: self.settings.approval_valid_for,
        }
    }

    /// Hands over what has to be written before an answer.
    fn write(&self, writes: Vec<StoreWrite>) -> CommitReceipt {
        let (done, writing) = oneshot::channel();
        let facts = Arc::clone(&self.facts);
        let written = writes.clone();
        let submitted = self.ledger.writer().submit(writes, move |result| {
            if result.is_ok() {
                facts.settled(&written);
            }
            // Nobody waits any more if the request is gone; what was used up stays so.
            let _ = done.send(result);
        });
        if let Err(error) = submitted {
            tracing::error!(%error, "what a call uses up is not written");
        }
        // What was refused is never told of, which says the same.
        writing
    }

    pub(super) fn start<'a>(
        &self,
        ask: RequestMeta<'a>,
        generation: Arc<Generation>,
    ) -> InFlightRequest<'a> {
        InFlightRequest {
            ask,
            generation,
            started_at: self.now(),
            clock: Instant::now(),
        }
    }

    /// Takes the generation to decide from, after waiting for a demanded revision, and the reason to
    /// deny if it did not come in time.
    pub(super) async fn take<'a>(
        &self,
        ask: RequestMeta<'a>,
    ) -> Result<(InFlightRequest<'a>, Option<Reason>), ServiceError> {
        let mut generation = self.live().ok_or(ServiceError::NotReady)?;
        ask.deadline.check()?;
        if generation.revision() < ask.at_least_revision {
            let mut revisions = self.ledger.revisions();
            let arrived = revisions.wait_for(|newest| *newest >= ask.at_least_revision);
            // Too late is as good as not at all; which of the two shows below.
            let _ = tokio::time::timeout(self.settings.stale_wait, arrived).await;
            generation = self.live().ok_or(ServiceError::NotReady)?;
        }
        let stale = stale_reason(ask.at_least_revision, generation.revision());
        Ok((self.start(ask, generation), stale))
    }

    pub(super) fn record(
        &self,
        pending: &InFlightRequest<'_>,
        question: RecordedRequest<'_>,
        decision: Verdict,
    ) -> Response<Verdict> {
        let decision_id = decision_id(pending.started_at);
        let snapshot = &pending.generation.snapshot;
        self.recorder.record(&DecisionRecord {
            decision_id,
            caller: &pending.ask.caller.id,
            adapter: pending.ask.adapter,
            request_id: pending.ask.request_id,
            question,
            decision: &decision,
            revision: snapshot.revision(),
            policy_set_digest: &pending.generation.policy_set_digest,
            is_dry_run: pending.ask.is_dry_run,
            started_at: pending.started_at,
            took: pending.clock.elapsed(),
        });
        Response {
            value: decision,
            decision_id,
            revision: snapshot.revision(),
            policies_total: snapshot.policy_count() as u32,
        }
    }
}

impl<T> Response<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Response<U> {
        Response {
            value: change(self.value),
            decision_id: self.decision_id,
            revision: self.revision,
            policies_total: self.policies_total,
        }
    }
}

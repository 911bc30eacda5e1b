//! The service every front door asks.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwapOption;
use callgate_engine::cedar::{Context, EntityUID};
use smol_str::SmolStr;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::audit::record::{DecisionRecord, Question};
use crate::call::context::{CallContext, TraceContext};
use crate::call::decide;
use crate::call::decision::{Decision, Reason, ReasonCode};
use crate::call::live::task::Task;
use crate::call::world::{Past, World};
use crate::identity::caller::Caller;
use crate::service::cedar;
use crate::service::clock::{Clock, Forward, SystemClock};
use crate::service::deadline::{Deadline, Unanswered};
use crate::service::directory::Directory;
use crate::service::effects::{LiveFacts, Taken};
use crate::service::generation::{Generation, Load};
use crate::service::ledger::{Ledger, WriteError};
use crate::service::pending::{Made, Pending, Writing, decision_id, settle, stale_reason};
use crate::service::settings::Settings;
use crate::state::sqlite::Sqlite;
use crate::state::store::{Store, StoreError, Write};
use crate::state::writer::Writer;
use crate::telemetry::recorder::Recorder;
use callgate_engine::AssertedEntity;

/// How often a call is decided again because its session has changed meanwhile. Each time another call
/// of that session has gone through, so this is never near.
const MOST_ATTEMPTS: u32 = 10_000;

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
    /// When the answer has to be there.
    pub deadline: Deadline,
    /// How whoever asks calls the request, for the log.
    pub request_id: Option<&'a str>,
}

impl Ask<'_> {
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
    clock: Forward,
    settings: Settings,
    recorder: Recorder,
    pub(super) directory: ArcSwapOption<Directory>,
}

/// What became of a question at first sight.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every question is answered at once"
)]
pub enum Now<'a> {
    /// It is answered.
    Answered(Answer<Decision>),
    /// The answer has to wait; [`Service::finish`] does.
    Later(Later<'a>),
}

/// A question whose answer has to wait.
pub struct Later<'a>(Box<Waiting<'a>>);

#[expect(
    clippy::large_enum_variant,
    reason = "boxed where it is kept, and nearly always the larger one"
)]
enum Waiting<'a> {
    /// For its revision.
    Revision(Ask<'a>),
    /// For what it used up to be written.
    Writing(Pending<'a>, Decision, Writing),
}

impl Service {
    /// A service over a store, with nothing loaded: it answers [`Unanswered::NotReady`] until the first
    /// [`Service::publish`].
    pub fn open(
        settings: Settings,
        recorder: Recorder,
        mut store: Box<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let mut loaded = store.load()?;
        let clock = Forward::new(clock, loaded.lease.or(loaded.clock));
        // Before the first moment is told.
        store.commit(&[Write::Lease(clock.lease())])?;
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
    pub fn in_memory(settings: Settings, recorder: Recorder) -> Result<Self, StoreError> {
        let store = Box::new(Sqlite::in_memory()?);
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
    pub fn clock(&self) -> &Forward {
        &self.clock
    }

    /// The limits it was opened with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Puts a directory into service and returns its revision. Calls under way keep the one they took.
    /// Waits for the store; never call it on a request.
    pub fn publish(&self, load: Load) -> Result<u64, WriteError<()>> {
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
        ask: Ask<'a>,
        call: &CallContext,
    ) -> Result<Now<'a>, Unanswered> {
        let generation = self.live().ok_or(Unanswered::NotReady)?;
        ask.deadline.check()?;
        if generation.revision() < ask.at_least_revision {
            return Ok(Now::Later(Later(Box::new(Waiting::Revision(ask)))));
        }
        Ok(self.begin(self.start(ask, generation), call, None))
    }

    /// Waits for what the answer has to wait for.
    pub async fn finish(
        &self,
        later: Later<'_>,
        call: &CallContext,
    ) -> Result<Answer<Decision>, Unanswered> {
        let mut waiting = *later.0;
        loop {
            match waiting {
                Waiting::Writing(pending, decision, writing) => {
                    let decision = settle(decision, writing).await;
                    return Ok(self.record(&pending, Question::Call(call), decision));
                }
                Waiting::Revision(ask) => {
                    let (pending, stale) = self.take(ask).await?;
                    match self.begin(pending, call, stale) {
                        Now::Answered(answer) => return Ok(answer),
                        Now::Later(later) => waiting = *later.0,
                    }
                }
            }
        }
    }

    /// Decides one call.
    pub async fn authorize(
        &self,
        ask: Ask<'_>,
        call: &CallContext,
    ) -> Result<Answer<Decision>, Unanswered> {
        match self.authorize_now(ask, call)? {
            Now::Answered(answer) => Ok(answer),
            Now::Later(later) => self.finish(later, call).await,
        }
    }

    /// Decides several calls against one generation, in order: all of them, or none is answered.
    pub async fn authorize_batch(
        &self,
        asks: &[(Ask<'_>, CallContext)],
    ) -> Result<Vec<Answer<Decision>>, Unanswered> {
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
        let begun: Vec<Now<'_>> = begun.collect::<Result<_, Unanswered>>()?;
        let mut answers = Vec::with_capacity(begun.len());
        for (now, (_, call)) in begun.into_iter().zip(asks) {
            answers.push(match now {
                Now::Answered(answer) => answer,
                Now::Later(later) => self.finish(later, call).await?,
            });
        }
        Ok(answers)
    }

    /// Whether a call would be allowed, and the challenge if an approval would make it so. Nothing is
    /// used up and nothing goes on record.
    pub fn rehearse(&self, caller: &Caller, call: &CallContext) -> Result<Decision, Unanswered> {
        let ask = Ask {
            caller,
            adapter: "control",
            at_least_revision: 0,
            is_dry_run: true,
            deadline: Deadline::NONE,
            request_id: None,
        };
        let pending = self.start(ask, self.live().ok_or(Unanswered::NotReady)?);
        Ok(self.decide(&pending, call).decision)
    }

    /// Asks Cedar's own question; any policy error denies.
    pub async fn is_authorized(
        &self,
        ask: Ask<'_>,
        question: CedarQuestion,
    ) -> Result<Answer<Decision>, Unanswered> {
        let (pending, stale) = self.take(ask).await?;
        let decision = match stale {
            Some(reason) => Decision::deny(reason),
            None => pending.guarded(Decision::deny, |generation, _| {
                cedar::decide(generation, &question)
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

    /// Decides, and answers unless something has to be written first.
    pub(super) fn begin<'a>(
        &self,
        pending: Pending<'a>,
        call: &CallContext,
        stale: Option<Reason>,
    ) -> Now<'a> {
        let made = match stale {
            Some(reason) => Made::denied(reason),
            None => self.decide(&pending, call),
        };
        if made.writes.is_empty() {
            return Now::Answered(self.record(&pending, Question::Call(call), made.decision));
        }
        let writing = self.write(made.writes);
        let waiting = Waiting::Writing(pending, made.decision, writing);
        Now::Later(Later(Box::new(waiting)))
    }

    /// Decides, and takes what an allow uses up.
    fn decide(&self, pending: &Pending<'_>, call: &CallContext) -> Made {
        pending.guarded(Made::denied, |generation, asker| {
            let now = pending.started_at;
            // A clock that leaps forgets nothing of what was read and done.
            let sure = self.sure().min(now);
            let caller = &pending.ask.caller.id;
            generation.mapped.tell(&generation.claims, call, caller);
            for _ in 0..MOST_ATTEMPTS {
                let seen = self.facts.look(&pending.ask, generation, call, sure);
                let world = self.world(generation, seen.past());
                let decision = decide::decide(world, call, asker, now);
                if pending.ask.is_dry_run {
                    return Made::unwritten(decision);
                }
                if !decision.is_allow() {
                    self.facts.denied(&seen, call, sure);
                    return Made::unwritten(decision);
                }
                match self.facts.take(&seen, call, &decision.effects, sure) {
                    Taken::Done => return Made::unwritten(decision),
                    Taken::Write(writes) => return Made { decision, writes },
                    Taken::Changed => {}
                    Taken::Lost(reason) => {
                        self.facts.denied(&seen, call, sure);
                        return Made::denied(reason);
                    }
                }
            }
            let message = "too many calls of this session at once";
            Made::denied(Reason::new(ReasonCode::Overloaded, message))
        })
    }

    /// What a decision is made from, in a generation and with what has happened so far.
    pub fn world<'w>(&self, generation: &'w Generation, past: Past<'w>) -> World<'w> {
        World {
            snapshot: &generation.snapshot,
            tools: Some(&generation.tools),
            authority: &generation.authority,
            past,
            named_approvers: &generation.named_approvers,
            valid_for: self.settings.approval_valid_for,
        }
    }

    /// Hands over what has to be written before an answer.
    fn write(&self, writes: Vec<Write>) -> Writing {
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

    pub(super) fn start<'a>(&self, ask: Ask<'a>, generation: Arc<Generation>) -> Pending<'a> {
        Pending {
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
        ask: Ask<'a>,
    ) -> Result<(Pending<'a>, Option<Reason>), Unanswered> {
        let mut generation = self.live().ok_or(Unanswered::NotReady)?;
        ask.deadline.check()?;
        if generation.revision() < ask.at_least_revision {
            let mut revisions = self.ledger.revisions();
            let arrived = revisions.wait_for(|newest| *newest >= ask.at_least_revision);
            // Too late is as good as not at all; which of the two shows below.
            let _ = tokio::time::timeout(self.settings.stale_wait, arrived).await;
            generation = self.live().ok_or(Unanswered::NotReady)?;
        }
        let stale = stale_reason(ask.at_least_revision, generation.revision());
        Ok((self.start(ask, generation), stale))
    }

    pub(super) fn record(
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
            request_id: pending.ask.request_id,
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

impl<T> Answer<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        Answer {
            value: change(self.value),
            decision_id: self.decision_id,
            revision: self.revision,
            policies_total: self.policies_total,
        }
    }
}

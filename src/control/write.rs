//! One write, from the request to the record.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use smol_str::SmolStr;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::audit::log::AuditLog;
use crate::config::limits::Limits;
use crate::control::blocking_lane::BlockingLane;
use crate::control::error::ControlError;
use crate::control::id_generator::IdGenerator;
use crate::control::live_view::LiveView;
use crate::control::requester::WriteRequester;
use crate::control::write_attempt::WriteAttempt;
use crate::control::write_context::{WriteContext, WriteNotes};
use crate::domain::decide::verdict::ReasonCode;
use crate::service::Service;
use crate::service::generation::Generation;
use crate::service::ledger::{CommittedChange, PlannedChange, RESTRICTIONS, WriteError};
use crate::service::off_thread::off_thread;
use crate::store::backend::StoreError;
use crate::telemetry::record::recorder::ReservedLine;

/// The use cases of the write side.
pub struct Control {
    pub(super) service: Arc<Service>,
    limits: Arc<ArcSwap<Limits>>,
    ids: Arc<IdGenerator>,
    /// Permits of writes, and as many of restrictions: no other write refuses them.
    places: Arc<Semaphore>,
    restriction_places: Arc<Semaphore>,
    /// Lists and counts.
    reads: BlockingLane,
}

/// The result of a write.
#[derive(Debug, Clone)]
pub struct WriteReceipt<T> {
    /// What it made or changed, with its current status.
    pub value: T,
    /// The revision of the write; of the first one if the request was repeated.
    pub revision: u64,
    /// Whether it survives a crash. If not, it is in force all the same, and written as soon as possible.
    pub is_durable: bool,
    /// Whether the decision log has it. If not, it is in force all the same: it takes something away.
    pub is_recorded: bool,
}

impl Control {
    /// The use cases over a service. A reload may swap the limits.
    pub fn new(service: Arc<Service>, limits: Arc<ArcSwap<Limits>>) -> Self {
        let places = limits.load().writes_under_way as usize;
        Self {
            service,
            limits,
            ids: Arc::default(),
            places: Arc::new(Semaphore::new(places)),
            restriction_places: Arc::new(Semaphore::new(places)),
            reads: BlockingLane::default(),
        }
    }

    pub(super) fn limits(&self) -> Arc<Limits> {
        self.limits.load_full()
    }

    /// Runs a read of many records on a blocking thread, one after the other.
    ///
    /// # Errors
    ///
    /// The errors of the read, and [`ControlError::Internal`] if it panics.
    pub async fn run_blocking<T: Send + 'static>(
        self: &Arc<Self>,
        look: impl FnOnce(&Self) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let control = Arc::clone(self);
        self.reads.run(move || look(&control)).await?
    }

    /// Reads the generation in service, at the current time.
    pub(super) fn view<T>(
        &self,
        look: impl FnOnce(LiveView<'_>) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        let generation = self.service.live().ok_or(ControlError::NotReady)?;
        look(self.view_of(&generation))
    }

    pub(super) fn view_of<'v>(&'v self, generation: &'v Generation) -> LiveView<'v> {
        LiveView {
            service: &self.service,
            generation,
            now: whole_millis(self.service.now()),
        }
    }

    /// Plans a write against the newest state, carries it out, and records the attempt, also if whoever asked does not wait
    /// for the end.
    pub(super) async fn write(
        &self,
        verb: &'static str,
        author: &WriteRequester,
        plan: impl Plan + 'static,
    ) -> Result<CommittedChange, ControlError> {
        self.write_because(verb, author, None, plan).await
    }

    /// The same for a stop, with its reason, which goes on record.
    pub(super) async fn write_because(
        &self,
        verb: &'static str,
        author: &WriteRequester,
        stop_reason: Option<SmolStr>,
        plan: impl Plan + 'static,
    ) -> Result<CommittedChange, ControlError> {
        let write = AdmittedWrite {
            line: self.service.recorder().reserve_line().await,
            place: self.admit(verb, author),
            planner: self.planner(),
            verb,
            author: author.clone(),
            stop_reason,
        };
        let written = self.service.tasks().spawn(write.carry_out(plan));
        let written = off_thread(written).await;
        written.unwrap_or(Err(ControlError::Internal))
    }

    /// Looks at what a write would be planned from, without one.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotReady`] before the first load.
    pub(super) fn planning<T>(
        &self,
        author: &WriteRequester,
        look: impl FnOnce(&WriteContext<'_>) -> T,
    ) -> Result<T, ControlError> {
        let generation = self.service.live().ok_or(ControlError::NotReady)?;
        let planner = self.planner();
        Ok(look(&planner.context(
            &generation,
            self.service.now(),
            author,
        )))
    }

    fn planner(&self) -> Planner {
        Planner {
            service: Arc::clone(&self.service),
            limits: self.limits(),
            ids: Arc::clone(&self.ids),
        }
    }

    fn admit(
        &self,
        verb: &str,
        author: &WriteRequester,
    ) -> Result<OwnedSemaphorePermit, ControlError> {
        check_author(author)?;
        let places = match RESTRICTIONS.contains(&verb) {
            true => &self.restriction_places,
            false => &self.places,
        };
        Arc::clone(places).try_acquire_owned().map_err(|_| {
            let message = "as many writes are under way as `limits.writes_under_way` allows";
            ControlError::LimitExceeded(message.to_owned())
        })
    }
}

/// Plans a change. Beside other servers it may be planned more than once.
pub(super) trait Plan:
    FnOnce(&WriteContext<'_>) -> Result<PlannedChange, ControlError> + Clone + Send
{
}

impl<P> Plan for P where
    P: FnOnce(&WriteContext<'_>) -> Result<PlannedChange, ControlError> + Clone + Send
{
}

/// What a write is planned with, apart from the newest state.
struct Planner {
    service: Arc<Service>,
    limits: Arc<Limits>,
    ids: Arc<IdGenerator>,
}

impl Planner {
    fn context<'s>(
        &'s self,
        generation: &'s Generation,
        now: SystemTime,
        author: &'s WriteRequester,
    ) -> WriteContext<'s> {
        WriteContext {
            generation,
            now: whole_millis(now),
            author,
            limits: &self.limits,
            service: &self.service,
            ids: &self.ids,
            told: WriteNotes::default(),
        }
    }
}

/// A write that is carried out to its end: in a task of its own, so that who asked for it may leave.
struct AdmittedWrite {
    planner: Planner,
    verb: &'static str,
    author: WriteRequester,
    stop_reason: Option<SmolStr>,
    /// Released only after the attempt is on record, whatever its outcome.
    line: Option<ReservedLine>,
    place: Result<OwnedSemaphorePermit, ControlError>,
}

impl AdmittedWrite {
    async fn carry_out(self, plan: impl Plan) -> Result<CommittedChange, ControlError> {
        let Self {
            planner,
            verb,
            author,
            stop_reason,
            line,
            place,
        } = self;
        let service = &planner.service;
        let is_restriction = RESTRICTIONS.contains(&verb);
        // What takes something away takes force whether or not it can be recorded.
        let must_not_write = || service.recorder().audit().is_some_and(AuditLog::must_deny);
        let mut attempt = WriteAttempt::start(service, verb, &author);
        attempt.stop_reason = stop_reason;
        if line.is_none() || !is_restriction && must_not_write() {
            let refused = Err(ControlError::AuditUnavailable);
            // The attempt is told and counted all the same; whether it is on record, its response does not say.
            let _ = attempt.end(&refused).recorded().await;
            return refused;
        }
        let difference = service.clock().difference();
        if let Some(difference) = difference.filter(|_| !is_restriction) {
            // When it would begin and end is not known.
            let refused = Err(ControlError::Precondition(difference));
            let _ = attempt.end(&refused).recorded().await;
            return refused;
        }
        let (decided, object) = (&mut attempt.decided, &mut attempt.object);
        let now = service.now();
        let (planner, author) = (&planner, &author);
        let planned = move |generation: &Generation| {
            let context = planner.context(generation, now, author);
            // Beside other servers it may be planned more than once.
            let plan = plan.clone()(&context);
            let (verdict, name) = context.told.into_parts();
            let made = plan.as_ref().ok().map(|change| change.id.clone());
            (*decided, *object) = (verdict, name.or(made));
            plan
        };
        let written = match place {
            Ok(_place) => {
                let ledger = service.ledger();
                let written = match is_restriction {
                    true => ledger.write_restriction(author.asked(), now, planned).await,
                    false => ledger.write(author.asked(), now, planned).await,
                };
                if let Err(WriteError::Store(error)) = &written {
                    tracing::error!(%error, "a change could not be written");
                }
                written.map_err(control_error)
            }
            Err(error) => Err(error),
        };
        let recorded = attempt.end(&written).recorded().await;
        match written {
            Ok(change) if recorded.is_err() && !is_restriction => {
                Err(ControlError::NotRecorded(change.revision))
            }
            // Who goes on without records is told as well.
            Ok(change) => Ok(CommittedChange {
                is_recorded: recorded.is_ok() && !is_log_failing(service),
                ..change
            }),
            other => other,
        }
    }
}

fn is_log_failing(service: &Service) -> bool {
    let audit = service.recorder().audit();
    audit.is_some_and(AuditLog::is_failing)
}

fn control_error(error: WriteError<ControlError>) -> ControlError {
    match error {
        WriteError::NotReady => ControlError::NotReady,
        WriteError::Rejected(error) => error,
        WriteError::KeyReused => ControlError::KeyReused,
        WriteError::TooManyKeys(message) => ControlError::LimitExceeded(message),
        WriteError::StoredEntity(misfit) => ControlError::Precondition(misfit.to_string()),
        WriteError::Store(StoreError::Busy) => {
            ControlError::LimitExceeded(StoreError::Busy.to_string())
        }
        WriteError::Store(error @ StoreError::Lost(_)) => {
            ControlError::StoreLost(error.to_string())
        }
        WriteError::Store(error) if error.is_outcome_unknown() => ControlError::OutcomeUnknown,
        WriteError::Store(_) => ControlError::Unavailable,
    }
}

/// Checks that the caller may assert the actor. Whether the actor is known is looked up when Cedar is asked.
pub(super) fn check_author(author: &WriteRequester) -> Result<(), ControlError> {
    let (rights, actor) = (&author.caller.rights, &author.actor);
    let untrusted = |what: &str| {
        let message = format!("the caller is not trusted to state {what}");
        Err(ControlError::evidence(
            ReasonCode::CallerNotTrusted,
            message,
        ))
    };
    if !rights.assert_identity {
        return untrusted("who is asking");
    }
    if !actor.claims.is_empty() && !rights.assert_claims {
        return untrusted("claims about the actor");
    }
    Ok(())
}

/// Truncates a moment to milliseconds, as moments are stored.
pub(super) fn whole_millis(at: SystemTime) -> SystemTime {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let beyond = Duration::from_nanos(u64::from(since.subsec_nanos() % 1_000_000));
    at.checked_sub(beyond).unwrap_or(at)
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;

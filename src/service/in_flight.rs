//! A request in flight, from its arrival to its record.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use uuid::{NoContext, Timestamp, Uuid};

use crate::domain::decide::inputs::Requester;
use crate::domain::decide::verdict::{LeftBehind, Reason, ReasonCode, Verdict};
use crate::service::clock::ClockReading;
use crate::service::generation::Generation;
use crate::service::live_facts::UsedUp;
use crate::service::request::RequestMeta;
use crate::store::backend::StoreWrite;

/// A generation, and the reason not to decide from it.
#[derive(Clone)]
pub(super) struct Pinned {
    pub(super) generation: Arc<Generation>,
    pub(super) stale: Option<Box<Reason>>,
    /// When it was taken.
    pub(super) at: ClockReading,
}

/// A request in flight: what is needed to record its response.
pub(super) struct InFlightRequest<'a> {
    pub(super) ask: RequestMeta<'a>,
    pub(super) generation: Arc<Generation>,
    /// The reason to deny without looking: this server has not been confirmed in time.
    pub(super) stale: Option<Box<Reason>>,
    /// When it arrived, by the clock of the service: by which things expire.
    pub(super) started_at: SystemTime,
    /// The same as the clock behind it showed, which may be set back: for what is on record.
    pub(super) arrived_at: SystemTime,
    pub(super) clock: Instant,
}

/// A decision, and what belongs to its record.
pub(super) struct Decided {
    /// The verdict; of a request that is only observed, as it would have been. In a box, as it is large and moved on to the
    /// response.
    pub(super) verdict: Box<Verdict>,
    /// Whether the response is that verdict. Otherwise it is allow.
    pub(super) is_enforced: bool,
    /// What the call has used up and left behind; of a dry run, what it would have.
    pub(super) left: LeftBehind,
    /// What it was made from. `None` if it was not made from facts alone, or the log keeps no capsules.
    pub(super) capsule: Option<Vec<u8>>,
    /// What it has used up.
    pub(super) used_up: UsedUp,
}

/// A verdict, and what has to be written before it is final.
pub(super) struct TentativeVerdict {
    pub(super) decision: Decided,
    pub(super) writes: Vec<StoreWrite>,
    /// The session has left memory or gone to another server meanwhile: nothing is decided.
    pub(super) is_session_lost: bool,
}

impl InFlightRequest<'_> {
    /// Decides, and turns a panic into a deny: the caller must get a response, and never an allow.
    pub(super) fn guarded<T>(
        &self,
        deny: impl FnOnce(Reason) -> T,
        decide: impl FnOnce(&Generation, Requester<'_>) -> T,
    ) -> T {
        if let Some(reason) = &self.stale {
            return deny(Reason::clone(reason));
        }
        let asker = Requester {
            caller: self.ask.caller,
            claims: &self.generation.claims,
        };
        // A decision changes only counters and sessions, each in one step, so they are consistent after a panic.
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

impl Decided {
    /// A verdict that is enforced, without a capsule.
    pub(super) fn enforced(verdict: Verdict) -> Self {
        Self {
            verdict: Box::new(verdict),
            is_enforced: true,
            left: LeftBehind::default(),
            capsule: None,
            used_up: UsedUp::default(),
        }
    }

    /// A deny that was not evaluated.
    pub(super) fn denied(reason: Reason) -> Self {
        Self::enforced(Verdict::deny(reason))
    }
}

impl TentativeVerdict {
    pub(super) fn unwritten(decision: Decided) -> Self {
        Self {
            decision,
            writes: Vec::new(),
            is_session_lost: false,
        }
    }

    pub(super) fn session_not_held() -> Self {
        Self {
            is_session_lost: true,
            ..Self::denied(session_missing())
        }
    }

    pub(super) fn denied(reason: Reason) -> Self {
        Self::unwritten(Decided::denied(reason))
    }
}

/// A UUID version 7 of a moment. The library's own clock orders ids within a millisecond behind a lock that all
/// threads would share; nothing depends on that order.
pub(super) fn decision_id(at: SystemTime) -> Uuid {
    let since_epoch = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let (seconds, nanoseconds) = (since_epoch.as_secs(), since_epoch.subsec_nanos());
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, nanoseconds))
}

/// The reason to deny what was to be decided in a session that is not in memory.
pub(super) fn session_missing() -> Reason {
    let message = "the session has left memory, or gone to another replica: ask again";
    Reason::new(ReasonCode::Stale, message)
}

pub(super) fn stale_reason(wanted: u64, have: u64) -> Option<Reason> {
    (have < wanted).then(|| {
        let message = format!("revision {wanted} has not arrived here, the newest is {have}");
        Reason::new(ReasonCode::Stale, message)
    })
}

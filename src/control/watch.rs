//! Watches: every change in order, and approvals as they change.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::control::approvals::ApprovalFilter;
use crate::control::error::ControlError;
use crate::control::live_view::ApprovalView;
use crate::control::write::Control;
use crate::domain::authority::approval::{Approval, ApprovalStatus};
use crate::domain::authority::change::{Change, ChangeRecord};
use crate::domain::authority::state::Authority;
use crate::domain::ids::ApprovalId;
use crate::service::generation::Generation;
use crate::service::off_thread::off_thread;
use crate::store::backend::StoreError;

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;

/// How many past changes are read at a time.
const PAGE: usize = 256;
/// The interval of polling approvals that change without a change record: they expire and are used.
const LOOK: Duration = Duration::from_secs(1);
/// The most approvals that a watch polls at a time, so that many watches do not occupy the threads that decide.
const LOOKED_AT: usize = 1_024;

/// Why a watch ends.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Changes came faster than the watcher read them.
    #[error("changes came faster than they were taken: go on from the last one that was told")]
    Lagged,
    /// The next changes have been pruned, or are of a history that the store has turned back from.
    #[error(
        "changes before revision {first} are no longer kept, or the store has turned back: read the state anew"
    )]
    Pruned {
        /// The first revision that is kept.
        first: u64,
    },
    /// The revision to go on from is later than all there are.
    #[error(
        "`after_revision` is {revision}, but the newest revision is {newest}: it was never reached, or the store has turned \
         back; read the state anew"
    )]
    TurnedBack {
        /// The revision to go on from.
        revision: u64,
        /// The newest.
        newest: u64,
    },
    /// The revision to go on from has not come from another replica in time.
    #[error("revision {revision} has not arrived here yet: ask again")]
    Ahead {
        /// The revision to go on from.
        revision: u64,
    },
    /// Changes cannot be read, or the service ends.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// Every change after a revision, in order, each once.
pub struct ChangeWatch {
    control: Arc<Control>,
    live: Receiver<Arc<ChangeRecord>>,
    read: VecDeque<Arc<ChangeRecord>>,
    last: u64,
    is_live: bool,
}

/// All approvals that match, as they were at the revision at which the watch began, and then whenever they change, in the
/// order of revisions.
pub struct ApprovalWatch {
    control: Arc<Control>,
    filter: ApprovalFilter,
    live: Receiver<Arc<ChangeRecord>>,
    /// Approvals that can still change, so that they may come to have the wanted status, or leave it.
    followed: BTreeMap<ApprovalId, Followed>,
    waiting: VecDeque<(ApprovalView, u64)>,
    /// The revision up to which changes were taken.
    revision: u64,
    /// What is reported first; `None` once all of it is.
    beginning: Option<Beginning>,
    look: Interval,
    is_look_due: bool,
    /// The newest revision at the last tick.
    newest: u64,
    /// The next poll starts after this one.
    looked_at: ApprovalId,
}

/// The initial approvals, reported in pieces. Changes that come meanwhile wait.
struct Beginning {
    authority: Authority,
    /// They are reported up to this one.
    last: ApprovalId,
}

/// How an approval stood when it was looked at last, and whether that was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Followed {
    status: ApprovalStatus,
    used: u32,
    is_told: bool,
}

impl Control {
    /// Follows the changes after a revision. One that another replica has written may have to come here first.
    ///
    /// # Errors
    ///
    /// [`WatchError::Ahead`] if it does not come in time, [`WatchError::TurnedBack`] if there is none, and
    /// [`ControlError::NotReady`] before the first load.
    pub async fn watch_changes(self: &Arc<Self>, after: u64) -> Result<ChangeWatch, WatchError> {
        self.reach(after).await?;
        // Subscribed before reading, so that no change is missed.
        let live = self.service.ledger().changes();
        Ok(ChangeWatch {
            control: Arc::clone(self),
            live,
            read: VecDeque::new(),
            last: after,
            is_live: false,
        })
    }

    /// Waits until a revision is in service that somebody has heard of.
    async fn reach(&self, revision: u64) -> Result<(), WatchError> {
        let newest = || self.view(|view| Ok(view.generation.snapshot.revision()));
        if revision <= newest()? {
            return Ok(());
        }
        if let Some(fleet) = self.service.fleet() {
            // What is confirmed from now on has applied whatever was written before.
            let refreshed = fleet.state().refreshed(self.service.settings().stale_wait);
            let is_confirmed = off_thread(refreshed).await.is_ok();
            if revision > newest()? && !is_confirmed {
                return Err(WatchError::Ahead { revision });
            }
        }
        match newest()? {
            newest if revision <= newest => Ok(()),
            newest => Err(WatchError::TurnedBack { revision, newest }),
        }
    }

    /// Follows the approvals that match a filter.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotReady`] before the first load.
    pub fn watch_approvals(
        self: &Arc<Self>,
        filter: ApprovalFilter,
    ) -> Result<ApprovalWatch, ControlError> {
        // Subscribed before, so that no change is missed.
        let live = self.service.ledger().changes();
        let generation = self.service.live().ok_or(ControlError::NotReady)?;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(ApprovalWatch {
            control: Arc::clone(self),
            filter,
            live,
            followed: BTreeMap::new(),
            waiting: VecDeque::new(),
            revision: generation.revision(),
            beginning: Some(Beginning {
                authority: generation.authority.clone(),
                last: ApprovalId::default(),
            }),
            look,
            is_look_due: false,
            newest: 0,
            looked_at: ApprovalId::default(),
        })
    }
}

impl ChangeWatch {
    /// Waits for the next change, and returns it with the generation that includes it or a later one.
    ///
    /// # Errors
    ///
    /// [`WatchError`]; the watch has ended then.
    pub async fn next(&mut self) -> Result<(Arc<ChangeRecord>, Arc<Generation>), WatchError> {
        let entry = self.next_entry().await?;
        let generation = self.control.service.live().ok_or(ControlError::NotReady)?;
        self.last = entry.revision;
        Ok((entry, generation))
    }

    async fn next_entry(&mut self) -> Result<Arc<ChangeRecord>, WatchError> {
        loop {
            if let Some(entry) = self.read.pop_front() {
                return Ok(entry);
            }
            if !self.is_live {
                self.read().await?;
                continue;
            }
            match self.live.recv().await {
                Ok(entry) if entry.revision <= self.last => {}
                Ok(entry) if entry.revision == self.last + 1 => return Ok(entry),
                Ok(_) => self.is_live = false,
                Err(RecvError::Lagged(_)) => return Err(WatchError::Lagged),
                Err(RecvError::Closed) => return Err(ControlError::NotReady.into()),
            }
        }
    }

    async fn read(&mut self) -> Result<(), WatchError> {
        let after = self.last;
        // Each of them is in the store before it is in service.
        let newest = self.control.service.live().map_or(0, |it| it.revision());
        let (done, read) = oneshot::channel();
        let asked = self.control.service.ledger().writer().access(move |store| {
            // The receiver is gone if the watcher is.
            let _ = done.send(store.and_then(|store| store.entries_after(after, PAGE)));
        });
        let read = match asked {
            Ok(()) => read.await.unwrap_or(Err(StoreError::Closed)),
            Err(error) => Err(error),
        };
        let entries = read.map_err(|error| {
            tracing::error!(error = %error, "changes could not be read");
            ControlError::Unavailable
        })?;
        // They are dense but where old ones were pruned, or the store has turned back and goes on above.
        let is_next = |(entry, next): &(ChangeRecord, u64)| entry.revision == *next;
        let first = entries.first().map(|first| first.revision);
        let dense = entries.into_iter().zip(after + 1..).take_while(is_next);
        self.read = dense.map(|(entry, _)| Arc::new(entry)).collect();
        match first {
            None if after < newest => Err(WatchError::Pruned { first: newest + 1 }),
            None => {
                self.is_live = true;
                Ok(())
            }
            Some(first) if first != after + 1 => Err(WatchError::Pruned { first }),
            Some(_) => Ok(()),
        }
    }
}

impl ApprovalWatch {
    /// Waits for the next approval that is new or has changed, and returns it with the revision.
    ///
    /// # Errors
    ///
    /// [`WatchError`]; the watch has ended then.
    pub async fn next(&mut self) -> Result<(ApprovalView, u64), WatchError> {
        loop {
            if let Some(told) = self.waiting.pop_front() {
                return Ok(told);
            }
            let generation = self.control.service.live().ok_or(ControlError::NotReady)?;
            if let Some(beginning) = self.beginning.take() {
                self.begin(&generation, beginning);
                // Yield to decisions before the rest.
                tokio::task::yield_now().await;
                continue;
            }
            // Only at the revision of the last change that was taken: a later state would be told ahead of the others.
            if self.is_look_due && generation.revision() == self.revision {
                self.is_look_due = false;
                self.look_again(&generation);
                continue;
            }
            drop(generation);
            tokio::select! {
                entry = self.live.recv() => self.take(entry)?,
                _ = self.look.tick() => self.tick()?,
            }
        }
    }

    /// Reports some of the initial approvals.
    fn begin(&mut self, generation: &Generation, beginning: Beginning) {
        let rest = (Bound::Excluded(&beginning.last), Bound::Unbounded);
        let rest = beginning.authority.approvals.range::<ApprovalId, _>(rest);
        let mut last = None;
        for (looked_at, (id, approval)) in rest.enumerate() {
            self.consider((generation, &beginning.authority), approval);
            if looked_at + 1 == LOOKED_AT {
                last = Some(id.clone());
                break;
            }
        }
        self.beginning = last.map(|last| Beginning { last, ..beginning });
    }

    /// Takes the next change.
    fn take(&mut self, entry: Result<Arc<ChangeRecord>, RecvError>) -> Result<(), WatchError> {
        let entry = match entry {
            Ok(entry) => entry,
            Err(RecvError::Lagged(_)) => return Err(WatchError::Lagged),
            Err(RecvError::Closed) => return Err(ControlError::NotReady.into()),
        };
        if entry.revision <= self.revision {
            // It is part of the beginning.
            return Ok(());
        }
        if entry.revision != self.revision + 1 {
            let first = entry.revision;
            return Err(WatchError::Pruned { first });
        }
        self.revision = entry.revision;
        match &entry.change {
            Change::Approval(approval) => {
                let generation = self.control.service.live().ok_or(ControlError::NotReady)?;
                self.consider((&generation, &generation.authority), approval);
            }
            Change::Task(task) if task.closed_at.is_some() => self.is_look_due = true,
            _ => {}
        }
        Ok(())
    }

    /// Has approvals polled. Changes come right after they are in service; if one has not come since the last tick, the store
    /// has turned back, and everything was loaded again.
    fn tick(&mut self) -> Result<(), WatchError> {
        let generation = self.control.service.live().ok_or(ControlError::NotReady)?;
        let newest = generation.revision();
        let is_ahead = newest > self.revision && newest == self.newest && self.live.is_empty();
        if newest < self.revision || is_ahead {
            let first = newest + 1;
            return Err(WatchError::Pruned { first });
        }
        self.newest = newest;
        self.is_look_due = true;
        Ok(())
    }

    /// Polls some of the approvals that can change, in turns.
    fn look_again(&mut self, generation: &Generation) {
        let from = (Bound::Excluded(&self.looked_at), Bound::Unbounded);
        let some = self.followed.range::<ApprovalId, _>(from).take(LOOKED_AT);
        let mut some: Vec<ApprovalId> = some.map(|(id, _)| id.clone()).collect();
        let left = LOOKED_AT - some.len();
        let others = self.followed.range::<ApprovalId, _>(..=&self.looked_at);
        let others = others.take(left);
        some.extend(others.map(|(id, _)| id.clone()));
        if let Some(last) = some.last() {
            self.looked_at = last.clone();
        }
        for id in some {
            match generation.authority.approvals.get(&id) {
                Some(approval) => self.consider((generation, &generation.authority), approval),
                None => {
                    self.followed.remove(&id);
                }
            }
        }
    }

    /// Reports an approval, if it is wanted and stands otherwise than it did. Its tasks are those of `authority`, and the rest
    /// is as it is now.
    fn consider(
        &mut self,
        (generation, authority): (&Generation, &Authority),
        approval: &Arc<Approval>,
    ) {
        if !self.filter.fits(&approval.call) {
            return;
        }
        let found = self.control.view_of(generation);
        let found = found.approval_in(authority, approval);
        let wanted = self.filter.status;
        let stands = Followed {
            status: found.status,
            used: found.used,
            is_told: wanted.is_none_or(|status| status == found.status),
        };
        let before = self.followed.get(&approval.id);
        if before == Some(&stands) {
            return;
        }
        let was_told = before.is_some_and(|before| before.is_told);
        let can_change = matches!(
            found.status,
            ApprovalStatus::Pending | ApprovalStatus::Approved | ApprovalStatus::AgentGone
        );
        if can_change {
            self.followed.insert(approval.id.clone(), stands);
        } else {
            self.followed.remove(&approval.id);
        }
        if stands.is_told || was_told {
            self.waiting.push_back((found, self.revision));
        }
    }
}

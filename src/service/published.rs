//! Published bundles: compiled before the revision at which they go into service, on every server.
//!
//! Start at [`PublishedBundles`]. An archive is compiled on a thread of its own, once, however often it is asked for.
//!
//! Invariant: a revision that puts a published bundle into service is applied only with what was compiled from its archive.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::domain::authority::published::PublishedBundle;
use crate::domain::ids::BundleId;
use crate::service::generation::LoadedBundle;
use crate::supervision::caught;

/// The most archives whose result is remembered. Those that compile are never dropped.
const REMEMBERED: usize = 4;

/// Opens, verifies and compiles archives of bundles.
pub trait PrepareBundle: Send + Sync {
    /// The id of an archive, which stands for its content; it need not be good otherwise.
    ///
    /// # Errors
    ///
    /// What is wrong with the archive.
    fn id(&self, archive: &[u8]) -> Result<BundleId, String>;

    /// Opens, verifies and compiles an archive. Blocks, within the limits of a load.
    ///
    /// # Errors
    ///
    /// The diagnostics, one line each.
    fn prepare(&self, archive: &[u8]) -> Result<PreparedBundle, String>;
}

/// A compiled bundle that may be published.
#[derive(Debug, Clone)]
pub struct PreparedBundle {
    /// What goes into service.
    pub load: LoadedBundle,
    /// What is stored of it. It is new, and its own version the newest.
    pub published: PublishedBundle,
}

/// How far the compiling of an archive is.
#[derive(Debug, Clone)]
pub enum Preparation {
    /// Nobody has asked for it, or it was forgotten.
    Unknown,
    /// It is being compiled.
    UnderWay,
    /// It is compiled.
    Ready(Arc<PreparedBundle>),
    /// It does not compile.
    Faulty(Arc<str>),
}

/// The archives that this server has compiled, or is compiling.
#[derive(Default)]
pub struct PublishedBundles {
    preparer: OnceLock<Arc<dyn PrepareBundle>>,
    known: Mutex<VecDeque<(BundleId, Preparation)>>,
    changes: watch::Sender<u64>,
}

impl PublishedBundles {
    /// Lets bundles be published, which this compiles. Later calls change nothing.
    pub fn set_preparer(&self, preparer: Arc<dyn PrepareBundle>) {
        // It is set once, at the start.
        let _ = self.preparer.set(preparer);
    }

    /// What compiles them; `None` if no bundles are published here.
    pub fn preparer(&self) -> Option<&Arc<dyn PrepareBundle>> {
        self.preparer.get()
    }

    /// How far an archive is.
    pub fn state(&self, id: &BundleId) -> Preparation {
        let known = self.lock();
        let found = known.iter().find(|(known, _)| known == id);
        found.map_or(Preparation::Unknown, |(_, state)| state.clone())
    }

    /// The bundle of an archive, if it is compiled.
    pub fn ready(&self, id: &BundleId) -> Option<Arc<PreparedBundle>> {
        match self.state(id) {
            Preparation::Ready(prepared) => Some(prepared),
            _ => None,
        }
    }

    /// Compiles an archive on a thread of its own, unless that was done or is under way.
    pub fn begin(self: &Arc<Self>, id: &BundleId, archive: Arc<[u8]>) {
        let Some(preparer) = self.preparer().cloned() else {
            return;
        };
        {
            let mut known = self.lock();
            if known.iter().any(|(known, _)| known == id) {
                return;
            }
            let is_over = |(_, state): &(_, Preparation)| !matches!(state, Preparation::UnderWay);
            while known.len() >= REMEMBERED {
                match known.iter().position(is_over) {
                    Some(oldest) => known.remove(oldest),
                    None => return,
                };
            }
            known.push_back((id.clone(), Preparation::UnderWay));
        }
        let (bundles, named) = (Arc::clone(self), id.clone());
        let started = std::thread::Builder::new()
            .name("publish".to_owned())
            .spawn(move || {
                let prepared = caught("compiling", || preparer.prepare(&archive));
                let prepared =
                    prepared.unwrap_or_else(|panicked| Err(format!("compiling it {panicked}")));
                bundles.end(&named, prepared);
            });
        if let Err(error) = started {
            self.end(
                id,
                Err(format!("the system has no thread to compile it: {error}")),
            );
        }
    }

    /// Takes in what was compiled elsewhere.
    pub fn insert(&self, prepared: PreparedBundle) {
        let id = prepared.published.id.clone();
        self.lock().retain(|(known, _)| *known != id);
        self.lock().push_back((id.clone(), Preparation::UnderWay));
        self.end(&id, Ok(prepared));
    }

    /// Waits until an archive is compiled or is found not to compile, at most so long. Returns how far it is then.
    pub async fn wait(&self, id: &BundleId, limit: Duration) -> Preparation {
        let mut changes = self.changes.subscribe();
        let over = changes.wait_for(|_| !matches!(self.state(id), Preparation::UnderWay));
        // Whichever comes first.
        let _ = tokio::time::timeout(limit, over).await;
        self.state(id)
    }

    /// Forgets an archive that does not compile, so that it is tried again.
    pub fn forget_fault(&self, id: &BundleId) {
        self.lock()
            .retain(|(known, state)| known != id || !matches!(state, Preparation::Faulty(_)));
    }

    fn end(&self, id: &BundleId, prepared: Result<PreparedBundle, String>) {
        let state = match prepared {
            Ok(prepared) => Preparation::Ready(Arc::new(prepared)),
            Err(faults) => Preparation::Faulty(Arc::from(faults)),
        };
        {
            let mut known = self.lock();
            known.retain(|(known, _)| known != id);
            known.push_back((id.clone(), state));
        }
        self.changes.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(BundleId, Preparation)>> {
        // Each change is made in one step, so it is whole also after a panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "published_tests.rs"]
mod tests;

//! The authenticator in force, replaced on reload.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::authn::authenticate::Authenticator;

/// The authenticator in force. A replacement is atomic.
pub struct ReloadableAuthenticator {
    current: ArcSwap<Authenticator>,
}

impl ReloadableAuthenticator {
    /// Starts with an authenticator.
    pub fn new(authenticator: Authenticator) -> Self {
        Self {
            current: ArcSwap::from_pointee(authenticator),
        }
    }

    /// The authenticator in force.
    pub fn current(&self) -> Guard<Arc<Authenticator>> {
        self.current.load()
    }

    /// Replaces the authenticator. Callers of open streams are authenticated again.
    pub fn replace(&self, mut authenticator: Authenticator) {
        authenticator.carry_over(&self.current.load());
        self.current.store(Arc::new(authenticator));
    }
}

//! The authenticator in force, which a reload swaps.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::authn::authenticate::Authenticator;

/// Holds the authenticator in force. Requests see either the old one or the new one, whole.
pub struct ReloadableAuthenticator {
    current: ArcSwap<Authenticator>,
}

impl ReloadableAuthenticator {
    /// Starts with one authenticator.
    pub fn new(authenticator: Authenticator) -> Self {
        Self {
            current: ArcSwap::from_pointee(authenticator),
        }
    }

    /// The authenticator in force.
    pub fn current(&self) -> Guard<Arc<Authenticator>> {
        self.current.load()
    }

    /// Puts another one in force. Open streams are asked for their credentials again.
    pub fn replace(&self, mut authenticator: Authenticator) {
        authenticator.carry_over(&self.current.load());
        self.current.store(Arc::new(authenticator));
    }
}

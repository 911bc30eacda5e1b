//! Authentication of callers, and their rights.
//!
//! A *caller* is an enforcement point: a gateway, a proxy, a sidecar. It is not the agent a request is about. Start at
//! [`authenticate::Authenticator`], which turns [`authenticate::PresentedCredentials`] into a [`caller::Caller`];
//! [`reloadable_authenticator`] replaces it on reload. [`rights`] lists the RPCs and what a caller may do, [`capacity`] counts
//! what callers use, [`connection`] tracks whether a connection has authenticated.
//!
//! Invariant: a leaf. No knowledge of policies, calls or wire formats.

pub mod authenticate;
pub mod caller;
pub mod capacity;
pub mod certificate;
pub mod connection;
pub mod refused;
pub mod reloadable_authenticator;
pub mod rights;

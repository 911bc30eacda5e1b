//! Who is asking, and what that caller may ask about.
//!
//! A *caller* is an enforcement point: a gateway, a proxy, a sidecar. It is not the agent the
//! question is about. Start at [`authenticate::Authenticator`], which turns [`authenticate::Evidence`]
//! into a [`caller::Caller`]; [`reloadable_authenticator::Doorkeeper`] lets it be swapped while requests come in.
//! [`places`] count what callers hold, [`standing`] tells of a connection whether anybody known has asked through it.
//!
//! Invariant: a leaf. Nothing here knows of policies, calls or wire formats.

pub mod authenticate;
pub mod caller;
pub mod capacity;
pub mod certificate;
pub mod connection;
pub mod reloadable_authenticator;

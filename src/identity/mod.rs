//! Who is asking, and what that caller may ask about.
//!
//! A *caller* is an enforcement point: a gateway, a proxy, a sidecar. It is not the agent the
//! question is about. Start at [`caller`].
//!
//! Invariant: a leaf. Nothing here knows of policies, calls or wire formats.

pub mod caller;

//! The native front door of the write side: `callgate.v1.Control` over gRPC.
//!
//! Start at [`rpcs::ControlApi`]: who asks, may it ask this, [`parse`], ask [`crate::control`],
//! [`encode`]. [`shared`] is what all RPCs have in common, [`author`] all writes, [`watch`] the two streams, [`refusal`] the
//! status that each error becomes.
//!
//! Invariant: nothing is decided here. What Cedar denies is PERMISSION_DENIED with its reasons as
//! details; nothing that was not written is answered with OK.

mod author;
mod encode;
mod parse;
pub mod rpcs;
mod state;
mod status;
mod watch;

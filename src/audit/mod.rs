//! The record: what was asked, what was answered, on whose authority.
//!
//! Start at [`record::DecisionRecord`]; [`control::ControlRecord`] is the same for writes.
//!
//! Invariant: no policy logic. A record states what happened; it decides nothing.

pub mod control;
pub mod record;

//! The record: what was asked, what was answered, on whose authority.
//!
//! Start at [`decision_record::DecisionRecord`]; [`control_record::ControlRecord`] is the same for writes.
//!
//! Invariant: no policy logic. A record states what happened; it decides nothing.

pub mod control_record;
pub mod decision_record;

//! Records of decisions and of control writes.
//!
//! Start at [`decision_record::DecisionRecord`]; [`control_record::ControlRecord`] is the same for writes.
//! [`capsule`] holds what a decision was made from.
//!
//! Invariant: no policy logic. A record states what happened; it decides nothing.

pub mod capsule;
pub mod control_record;
pub mod decision_record;

//! Records of decisions and of control writes.
//!
//! Start at [`decision_record::DecisionRecord`]; [`control_record::ControlRecord`] is the same for writes.
//!
//! Invariant: no policy logic. A record states what happened; it decides nothing.

pub mod control_record;
pub mod decision_record;
pub mod tree;

//! Records of decisions and of control writes.
//!
//! Start at [`decision_record::DecisionRecord`]; [`control_record::ControlRecord`] is the same for writes.
//! [`capsule_content`] holds what a decision was made from.
//!
//! Invariant: no policy logic. A record states what happened; it decides nothing.

pub mod capsule_content;
pub mod control_record;
pub mod decision_record;

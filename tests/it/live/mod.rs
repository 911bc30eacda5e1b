//! Live authority: what is delegated, opened, approved and revoked, against decisions that run meanwhile.
//!
//! Start at [`office`], a small company with the real service and the real write side over it.

mod broken_store;
mod model;
pub mod office;
mod order;
mod races;
mod taken_away;
mod unrecorded;
mod who_leaves;

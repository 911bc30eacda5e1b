//! The use case: take one snapshot, decide, record, answer.
//!
//! Start at [`decisions::Service`].
//!
//! Invariant: no wire formats. Adapters parse before and encode after.

mod cedar;
pub mod decisions;

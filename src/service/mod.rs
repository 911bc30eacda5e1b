//! The use case: take one snapshot, decide, record, answer.
//!
//! Start at [`decisions::Service`].
//!
//! Invariant: no wire formats. Adapters parse before and encode after.

#![expect(
    clippy::result_large_err,
    reason = "a reason is made once for a denied call and moves straight into its decision"
)]

mod cedar;
pub mod decisions;

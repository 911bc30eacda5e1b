//! The decision record: what was asked, what was answered, on whose authority.
//!
//! Start at [`record::DecisionRecord`].
//!
//! Invariant: no policy logic. A record states what happened; it decides nothing.

pub mod record;

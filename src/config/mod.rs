//! `callgate.toml`: what the server listens on, whom it trusts, and every limit.
//!
//! Invariant: a leaf. Plain values with their defaults and their checks; it starts nothing.

pub mod claims;
pub mod telemetry;

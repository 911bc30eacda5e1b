//! Tracing and OTLP: the set-up, and the one mapping from a decision record to span, metrics and log line.
//!
//! Start at [`recorder::Recorder`].
//!
//! Invariant: no decisions, and never an argument in the clear.

pub mod recorder;

//! Tracing and OTLP: the set-up, and the one mapping from a decision record to span, metrics and log line.
//!
//! Start at [`recorder::Recorder`], which every decision passes; [`mapping`] says what a record
//! becomes and [`control`] the same for writes, [`redaction`] what of it stays here; [`setup`] starts and stops the exporters, of which
//! [`collector`] sends the spans.
//!
//! [`sink`] takes the log lines. What does not arrive is counted in [`losses`]; [`flow`] sees to that for spans, and
//! [`repeats`] keeps lines that say the same few.
//!
//! Invariant: no decisions, and never an argument in the clear unless the configuration names it.

pub mod error_chain;
pub mod export;
#[cfg(test)]
mod fixtures;
pub mod record;
pub mod redact;
pub mod setup;

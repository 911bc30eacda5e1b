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

mod again;
pub mod causes;
pub mod collector;
pub mod control;
pub mod exporters;
#[cfg(test)]
mod fixtures;
pub mod flow;
pub mod lately;
pub mod left_out;
pub mod losses;
pub mod mapping;
pub mod metrics;
pub mod otlp;
pub mod recorder;
pub mod redaction;
pub mod repeats;
pub mod setup;
pub mod sink;

//! What a decision or a control write leaves behind: span, metrics and log line.
//!
//! Start at [`recorder::Recorder`]. [`decision_mapping`] and [`write_mapping`] have the names and values of all fields.
//! [`repeat_limiter`] bounds log lines that repeat, [`filtered_entries`] those about entries of lists.

mod audit_gauges;
mod bounded_names;
pub mod decision_mapping;
mod directory_metrics;
pub mod filtered_entries;
pub mod line_window;
pub mod metrics;
mod privilege_use;
mod recent_spans;
pub mod recorder;
pub(crate) mod repeat_keys;
pub mod repeat_limiter;
mod spans;
mod top_denied;
pub mod waived;
pub mod write_mapping;

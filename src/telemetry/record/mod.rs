//! What a decision or a control write becomes on its way out: span attributes, metrics and log lines.

pub mod decision_mapping;
pub mod filtered_entries;
pub mod line_window;
pub mod metrics;
pub mod recorder;
pub(crate) mod repeat_keys;
pub mod repeat_limiter;
pub mod write_mapping;

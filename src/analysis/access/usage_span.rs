//! What of a decision log usage was taken from.

use std::time::SystemTime;

use serde::{Serialize, Serializer};

/// What of a log was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UsageSpan {
    /// The records.
    pub records: u64,
    /// Records that are missing, damaged, or of an unknown kind.
    pub unreadable: u64,
    /// When the first record was written.
    #[serde(serialize_with = "moment")]
    pub from: Option<SystemTime>,
    /// When the last record was written.
    #[serde(serialize_with = "moment")]
    pub to: Option<SystemTime>,
}

fn moment<S: Serializer>(at: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(&humantime::format_rfc3339_seconds(*at)),
        None => serializer.serialize_none(),
    }
}

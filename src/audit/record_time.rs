//! The times of records, and how far they may lie from the order of the log.

use uuid::Uuid;

/// How far the time of a record, which is that of the request's arrival, may lie from the order of the log, in
/// nanoseconds: a request may wait, and clocks are set.
pub(super) const SLACK: u64 = 600 * 1_000_000_000;

/// The time in the id of a decision, in nanoseconds since 1970; `None` if the id has none.
pub(super) fn of_id(id: Uuid) -> Option<u64> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    let seconds = seconds.saturating_mul(1_000_000_000);
    Some(seconds.saturating_add(nanos.into()))
}

//! When something ends: at a time, or so long from now.

use std::time::{Duration, SystemTime};

use prost_types::{Duration as WireDuration, Timestamp};

use crate::adapters::callgate_v1::parse::system_time;
use crate::adapters::input::field_error::{FieldError, FieldProblem};

/// The longest `google.protobuf.Duration` in seconds, ten thousand years.
const LONGEST: u64 = 315_576_000_000;

/// A time that has to be there.
pub(super) fn required_time(
    wire: Option<Timestamp>,
    field: &'static str,
) -> Result<SystemTime, FieldError> {
    let wire = wire.ok_or_else(|| FieldError::new(field, FieldProblem::Missing))?;
    system_time(wire, field)
}

/// An end that has to be there: the time `field`, or `lasts` from now.
pub(super) fn required_end(
    wire: (Option<Timestamp>, Option<WireDuration>),
    field: &'static str,
    now: SystemTime,
) -> Result<SystemTime, FieldError> {
    end(wire, field, now)?.ok_or_else(|| FieldError::new(field, FieldProblem::Missing))
}

/// An end, if there is one. One that is so long from now is cut to whole seconds.
pub(super) fn end(
    wire: (Option<Timestamp>, Option<WireDuration>),
    field: &'static str,
    now: SystemTime,
) -> Result<Option<SystemTime>, FieldError> {
    const LASTS: &str = "lasts";
    match wire {
        (None, None) => Ok(None),
        (Some(at), None) => system_time(at, field).map(Some),
        (None, Some(lasts)) => {
            let refuse = |shape| FieldError::new(LASTS, FieldProblem::NotOfShape(shape));
            after(lasts, now).map(Some).map_err(refuse)
        }
        (Some(_), Some(_)) => {
            let said = "is there beside the time of the end: send one of them";
            Err(FieldError::new(LASTS, FieldProblem::Contradiction(said)))
        }
    }
}

/// The whole second so long from now; what a duration has to be, if it is none.
fn after(lasts: WireDuration, now: SystemTime) -> Result<SystemTime, &'static str> {
    const TOO_LONG: &str = "a duration of ten thousand years at most";
    let seconds = u64::try_from(lasts.seconds).unwrap_or_default();
    if seconds == 0 {
        return Err("a duration of a second at least");
    }
    if seconds > LONGEST {
        return Err(TOO_LONG);
    }
    let nanos = u32::try_from(lasts.nanos).ok();
    let nanos = nanos.filter(|nanos| *nanos < 1_000_000_000);
    let nanos = nanos.ok_or("a duration with `nanos` from 0 to 999,999,999")?;
    let end = now.checked_add(Duration::new(seconds, nanos));
    let since = end.and_then(|end| end.duration_since(SystemTime::UNIX_EPOCH).ok());
    let whole = since.map(|since| Duration::from_secs(since.as_secs()));
    whole
        .and_then(|whole| SystemTime::UNIX_EPOCH.checked_add(whole))
        .ok_or(TOO_LONG)
}

#[cfg(test)]
#[path = "times_tests.rs"]
mod tests;

//! What PostgreSQL says, as errors of a store.

use std::error::Error as _;
use std::io::{self, ErrorKind};

use serde::Deserialize;

use crate::store::backend::StoreError;

/// The SQLSTATEs that the functions of the schema raise, see `1.sql` and `3.sql`.
pub(super) const OUT_OF_ORDER: &str = "CG001";
pub(super) const FENCED: &str = "CG002";
pub(super) const TAKEN: &str = "CG003";
pub(super) const OUTDATED: &str = "CG004";
pub(super) const CLOCK: &str = "CG005";
/// PostgreSQL's own for a schema that does not exist.
const NO_SCHEMA: &str = "3F000";

/// The detail of [`OUT_OF_ORDER`] and [`TAKEN`].
#[derive(Debug, Deserialize)]
struct Detail {
    #[serde(default)]
    last: u64,
    #[serde(default)]
    found: u64,
    #[serde(default)]
    id: String,
    #[serde(default)]
    used: u64,
}

/// SQLSTATEs of a server that begins or ends, or has no room for one connection more. Those of class 08 are of the connection.
const AWAY: [&str; 4] = ["57P01", "57P02", "57P03", "53300"];
const OF_CONNECTION: &str = "08";

/// Whether there may be a connection a moment later: nobody answers, or a server that begins or ends. A certificate or a
/// configuration that does not fit stays as it is.
pub(super) fn is_away(error: &tokio_postgres::Error) -> bool {
    if let Some(database) = error.as_db_error() {
        let code = database.code().code();
        return AWAY.contains(&code) || code.starts_with(OF_CONNECTION);
    }
    let mut causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let io = causes.find_map(|cause| cause.downcast_ref::<io::Error>());
    let lasts =
        |it: &io::Error| matches!(it.kind(), ErrorKind::InvalidData | ErrorKind::InvalidInput);
    error.is_closed() || io.is_some_and(|it| !lasts(it))
}

/// An error of reading.
pub(super) fn read(error: &tokio_postgres::Error) -> StoreError {
    StoreError::Read(text(error))
}

/// An error of writing. What the server has refused is not carried out; after another error nobody knows.
pub(super) fn write(error: &tokio_postgres::Error) -> StoreError {
    let Some(database) = error.as_db_error() else {
        return StoreError::OutcomeUnknown(text(error));
    };
    let detail = database
        .detail()
        .and_then(|it| serde_json::from_str::<Detail>(it).ok());
    match (database.code().code(), detail) {
        (OUT_OF_ORDER, Some(it)) => StoreError::OutOfOrder {
            last: it.last,
            found: it.found,
        },
        (TAKEN, Some(it)) => StoreError::Taken {
            id: it.id.into(),
            used: it.used,
        },
        (FENCED, _) => StoreError::Fenced,
        (OUTDATED, _) => StoreError::Outdated,
        (CLOCK, _) => StoreError::ClockDiffers(database.message().to_owned()),
        (NO_SCHEMA, _) => StoreError::Read("no Callgate has used this database yet".to_owned()),
        _ => StoreError::Write(text(error)),
    }
}

/// The error with its causes. The library's own text says only which kind it is.
pub(super) fn text(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(database) => format!("{} ({})", database.message(), database.code().code()),
        None => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(inner) = cause {
                text = format!("{text}: {inner}");
                cause = inner.source();
            }
            text
        }
    }
}

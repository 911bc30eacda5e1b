//! The fleet, as the database knows it: for people, also when no server answers.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::ids::MemberId;
use crate::store::backend::StoreError;
use crate::store::postgres::MAX_DIFFERENCE;
use crate::store::postgres::connection::{Address, PgConnection};

/// Time limit of the question.
const LIMIT: Duration = Duration::from_secs(10);

/// All servers on one database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetStatus {
    /// Names the store, the PostgreSQL system and its timeline.
    pub history: String,
    /// The last revision.
    pub revision: u64,
    /// The number of the last fact.
    pub facts: u64,
    /// The digest of the bundle that was put into service last.
    pub bundle_digest: Option<String>,
    /// The servers, by name.
    pub replicas: Vec<ReplicaStatus>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// The id of its membership.
    pub id: MemberId,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// When it joined, in milliseconds since the epoch, by the database's clock.
    pub started_at: f64,
    /// How long it decides without a confirmation, in milliseconds.
    pub max_staleness_ms: u64,
    /// How long ago it last said what it has applied, in milliseconds, by the database's clock.
    pub confirmed_ms_ago: f64,
    /// The revision that it decides from.
    pub revision: u64,
    /// The number of the last fact that it decides from.
    pub facts: u64,
    /// The digest of its bundle.
    pub bundle_digest: String,
    /// How far its clock was ahead of the database's then, in milliseconds; less than 0 if it was behind.
    #[serde(default)]
    pub clock_ahead_ms: i64,
}

impl ReplicaStatus {
    /// Whether its clock and the database's are too far apart for either to be believed: it decides nothing.
    pub fn clock_differs(&self) -> bool {
        u128::from(self.clock_ahead_ms.unsigned_abs()) > MAX_DIFFERENCE.as_millis()
    }

    /// Whether its lease runs: it may decide, as far as the database can tell.
    pub fn is_live(&self) -> bool {
        !self.clock_differs() && self.confirmed_ms_ago <= self.max_staleness_ms as f64
    }
}

/// What a server would find in a database, in words. Changes nothing.
///
/// # Errors
///
/// Any error of connecting and reading.
pub async fn look(address: Address) -> Result<String, StoreError> {
    let sql = "SELECT 'PostgreSQL ' || current_setting('server_version') || CASE
        WHEN to_regclass('callgate.head') IS NULL THEN ', without a store: the first start begins one'
        ELSE ', with a store' END";
    PgConnection::new(address).call(sql, &[], LIMIT).await
}

/// Asks the database. Changes nothing.
///
/// # Errors
///
/// [`StoreError::Open`] for an unusable URL, any error of reading, e.g. if there is no store of Callgate.
pub async fn fleet(
    url: &str,
    base: &Path,
    password_file: Option<&Path>,
) -> Result<FleetStatus, StoreError> {
    let connection = PgConnection::new(Address::parse(url, base, password_file)?);
    let answer = connection
        .call("SELECT callgate.fleet()", &[], LIMIT)
        .await?;
    serde_json::from_str(&answer).map_err(|error| StoreError::Read(format!("the fleet: {error}")))
}

//! Opens the store that a server keeps live authority in: a file of its own, or a database that it shares.

use std::path::Path;
use std::time::Duration;

use crate::config::store::StoreConfig;
use crate::service::fleet::confirm::default_name;
use crate::store::backend::Store;
use crate::store::postgres::PostgresStore;
use crate::store::postgres::membership::{Membership, ReplicaName};
use crate::store::sqlite::{OnLoss, SqliteStore};

/// An open store, and this server's place among those that share it.
pub struct OpenedStore {
    /// The store.
    pub store: Box<dyn Store>,
    /// The membership; `None` for a store that no other server has.
    pub member: Option<(Membership, ReplicaName)>,
}

/// The URL of the database that several servers share, if the command line or else the configuration names one.
pub fn shared_url(given: Option<&Path>, config: &StoreConfig) -> Option<String> {
    match given.map(Path::to_str) {
        Some(Some(url)) if is_url(url) => Some(url.to_owned()),
        Some(_) => None,
        None => config.url.clone(),
    }
}

/// Whether a store is named by the URL of a database.
pub fn is_url(text: &str) -> bool {
    text.starts_with("postgres") && text.contains("://")
}

/// Opens a file.
///
/// # Errors
///
/// As [`SqliteStore::open_or`].
pub fn open_file(file: &Path, on_loss: OnLoss) -> anyhow::Result<OpenedStore> {
    let store = SqliteStore::open_or(file, on_loss)?;
    tracing::info!(file = %file.display(), "the store is open");
    Ok(OpenedStore {
        store: Box::new(store),
        member: None,
    })
}

/// Opens a database, and joins the servers that share it.
///
/// # Errors
///
/// As [`PostgresStore::open`], and if the command line says what to do about a file that is lost.
pub fn open_shared(
    url: &str,
    base: &Path,
    config: &StoreConfig,
    on_loss: OnLoss,
) -> anyhow::Result<OpenedStore> {
    if on_loss != OnLoss::Refuse {
        anyhow::bail!("`--new-store` and `--store-as-it-is` are for a store in a file");
    }
    let mut store = PostgresStore::open(url, base, config.password_file.as_deref())?;
    let name = ReplicaName {
        name: match &config.replica {
            Some(name) => name.clone(),
            None => default_name().to_string(),
        },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        max_staleness: Duration::from_millis(config.max_staleness_ms.into()),
    };
    tracing::info!(
        database = store.place(),
        replica = name.name,
        "the store is open"
    );
    // Before it is loaded: whoever takes something away that it has not loaded waits for it.
    let membership = store.join(&name)?;
    Ok(OpenedStore {
        store: Box::new(store),
        member: Some((membership, name)),
    })
}

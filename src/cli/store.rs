//! Opens the store that a server keeps live authority in: a file of its own, or a database that it shares.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::config::store::StoreConfig;
use crate::service::fleet::confirm::default_name;
use crate::store::backend::Store;
use crate::store::postgres::membership::{Membership, ReplicaName};
use crate::store::postgres::{PostgresStore, marker};
use crate::store::sqlite::{OnLoss, SqliteStore};

/// Time limit of leaving the others after a start that has failed.
const LEAVE: Duration = Duration::from_secs(1);

/// An open store.
pub enum OpenedStore {
    /// A file, which no other server has.
    File(Box<SqliteStore>),
    /// A database, and how this server appears to the others that share it.
    Shared(Box<PostgresStore>, ReplicaName),
}

/// A store, and this server's place among those that share it; `None` for a store that no other server has.
pub type JoinedStore = (Box<dyn Store>, Option<(Membership, ReplicaName)>);

impl OpenedStore {
    /// Joins the servers that share the store, and starts with it. The last thing before it is loaded: whoever takes
    /// something away waits for every member. So a start that fails leaves again.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::join`], and the errors of the start.
    pub async fn join_to<T>(
        self,
        start: impl AsyncFnOnce(JoinedStore) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let (mut store, name) = match self {
            Self::File(store) => return start((store, None)).await,
            Self::Shared(store, name) => (store, name),
        };
        let membership = tokio::task::block_in_place(|| store.join(&name))?;
        let leaving = membership.clone();
        let started = start((store, Some((membership, name)))).await;
        if started.is_err()
            && let Err(error) = tokio::task::block_in_place(|| leaving.leave_now(LEAVE))
        {
            tracing::warn!(%error, "the other replicas will take this one for dead");
        }
        started
    }
}

/// The URL of the database that several servers share, if the command line or else the configuration names one.
///
/// # Errors
///
/// If the command line names a file and the configuration a database: a server with a file of its own would hear nothing of
/// what the others take away.
pub fn shared_url(given: Option<&Path>, config: &StoreConfig) -> anyhow::Result<Option<String>> {
    let Some(given) = given else {
        return Ok(config.url.clone());
    };
    match given.to_str() {
        Some(url) if is_url(url) => Ok(Some(url.to_owned())),
        _ if config.url.is_some() => anyhow::bail!(
            "`--state {}` names a file, and `[state] url` a database that several servers share. Leave `--state` out to share \
             it; or take `url` out of the configuration",
            given.display()
        ),
        _ => Ok(None),
    }
}

/// Whether a store is named by the URL of a database, usable or not.
pub fn is_url(text: &str) -> bool {
    text.contains("://") || text.starts_with("postgres:") || text.starts_with("postgresql:")
}

/// Opens a file.
///
/// # Errors
///
/// As [`SqliteStore::open_or`].
pub fn open_file(file: &Path, on_loss: OnLoss) -> anyhow::Result<OpenedStore> {
    let store = SqliteStore::open_or(file, on_loss)?;
    tracing::info!(file = %file.display(), "the store is open");
    Ok(OpenedStore::File(Box::new(store)))
}

/// Opens a database. `file` is where the store would be if it were a file: the marker is beside it.
///
/// # Errors
///
/// As [`PostgresStore::open_known`], and if the command line says what to do about a file that is lost.
pub fn open_shared(
    url: &str,
    base: &Path,
    config: &StoreConfig,
    (file, on_loss): (&Path, OnLoss),
) -> anyhow::Result<OpenedStore> {
    if on_loss == OnLoss::Continue {
        anyhow::bail!("`--store-as-it-is` is for a store in a file");
    }
    let mut marker = file.as_os_str().to_owned();
    marker.push(".shared");
    let marker = Path::new(&marker);
    let known = match on_loss {
        OnLoss::StartFresh => None,
        _ => marker::read(marker).with_context(|| format!("`{}`", marker.display()))?,
    };
    let password = config.password_file.as_deref();
    let opened = PostgresStore::open_known(url, base, password, known.as_deref());
    let store = match &known {
        Some(_) => opened.with_context(|| {
            let file = marker.display();
            format!("the store that this replica knows (`{file}`) is not used")
        })?,
        None => opened?,
    };
    if known.as_deref() != Some(store.store_id())
        && let Err(error) = marker::write(marker, store.store_id())
    {
        tracing::warn!(
            file = %marker.display(),
            %error,
            "the marker of the store cannot be written: a database that is emptied is taken for a new one"
        );
    }
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
    Ok(OpenedStore::Shared(Box::new(store), name))
}

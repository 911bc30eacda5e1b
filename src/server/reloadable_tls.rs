//! The certificates in service, and their reload when the files change.
//!
//! The files are read and compared every [`INTERVAL`]. That also sees what a watch of a file does not: a renamed folder
//! behind a symbolic link, as Kubernetes replaces a mounted secret, and file systems without notifications. A new set is
//! taken into service as a whole, for new connections; open ones keep what they have. A set that cannot be used changes
//! nothing, is logged once and shown by `/statusz`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::time::MissedTickBehavior;
use tokio_rustls::rustls::ServerConfig;

use crate::config::listen::TlsConfig;
use crate::domain::error_chain::with_causes;
use crate::server::tls::{self, ServerTls, TlsError};

/// How often the files are read.
pub const INTERVAL: Duration = Duration::from_secs(2);

/// The certificates of a server. Clones share them.
#[derive(Debug, Clone)]
pub struct ReloadableTls(Arc<TlsState>);

#[derive(Debug)]
struct TlsState {
    files: TlsConfig,
    base: PathBuf,
    handshake: Duration,
    current: ArcSwap<ServerTls>,
    fault: ArcSwapOption<TlsFault>,
}

/// A set of files that cannot be used; the one before it stays in service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFault {
    /// What is wrong, with the file.
    pub error: String,
    /// When it was found.
    pub at: SystemTime,
}

/// What one look at the files found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsReload {
    /// The files are as before.
    Unchanged,
    /// New certificates are in service.
    Applied,
    /// The files cannot be used; what was in service stays.
    Faulty,
}

impl ReloadableTls {
    /// Reads the files of `[tls]`. Relative paths start at `base`; a handshake may take as long as `handshake`. A certificate
    /// that has expired, or is not valid yet, is an error in the log: there is none before it to go on with.
    ///
    /// # Errors
    ///
    /// As [`tls::load`].
    pub fn load(files: &TlsConfig, base: &Path, handshake: Duration) -> Result<Self, TlsError> {
        let current = tls::load(files, base)?;
        if let Err(error) = current.check_validity(SystemTime::now(), &base.join(&files.cert)) {
            tracing::error!(%error, "clients will refuse the connection");
        }
        Ok(Self(Arc::new(TlsState {
            files: files.clone(),
            base: base.to_owned(),
            handshake,
            current: ArcSwap::from_pointee(current),
            fault: ArcSwapOption::empty(),
        })))
    }

    /// The timeout of a handshake.
    pub fn handshake(&self) -> Duration {
        self.0.handshake
    }

    /// What is in service.
    pub fn current(&self) -> Arc<ServerTls> {
        self.0.current.load_full()
    }

    /// The configuration for a new connection: HTTP/2 only for gRPC, HTTP/1.1 too for plain HTTP.
    pub(super) fn config(&self, is_http: bool) -> Arc<ServerConfig> {
        let current = self.0.current.load();
        Arc::clone(if is_http {
            &current.http
        } else {
            &current.grpc
        })
    }

    /// Why the files on disk are not in service; `None` if they are.
    pub fn fault(&self) -> Option<Arc<TlsFault>> {
        self.0.fault.load_full()
    }

    /// Reads the files, and takes them into service if they changed and can be used. Blocks on the disk.
    pub fn reload(&self) -> TlsReload {
        let inner = &*self.0;
        match self.read_usable() {
            Ok(loaded) if loaded.digest == inner.current.load().digest => {
                if inner.fault.swap(None).is_some() {
                    tracing::info!("the certificates on disk are those in service again");
                }
                TlsReload::Unchanged
            }
            Ok(loaded) => {
                let expires = loaded.expires_at.map(humantime::format_rfc3339_seconds);
                inner.current.store(Arc::new(loaded));
                inner.fault.store(None);
                tracing::info!(
                    expires = expires.map(tracing::field::display),
                    "new certificates are in service for new connections"
                );
                TlsReload::Applied
            }
            Err(error) => {
                let error = with_causes(&error);
                let is_known = inner
                    .fault
                    .load()
                    .as_ref()
                    .is_some_and(|it| it.error == error);
                if !is_known {
                    tracing::error!(
                        error,
                        "the certificates on disk cannot be used; those in service stay"
                    );
                    let at = SystemTime::now();
                    inner.fault.store(Some(Arc::new(TlsFault { error, at })));
                }
                TlsReload::Faulty
            }
        }
    }

    /// Reads the files. Another certificate than the one in service has to be valid now.
    fn read_usable(&self) -> Result<ServerTls, TlsError> {
        let inner = &*self.0;
        let loaded = tls::load(&inner.files, &inner.base)?;
        if loaded.digest != inner.current.load().digest {
            let path = inner.base.join(&inner.files.cert);
            loaded.check_validity(SystemTime::now(), &path)?;
        }
        Ok(loaded)
    }

    /// Reloads every [`INTERVAL`], for ever.
    pub(super) async fn follow(&self) -> std::convert::Infallible {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let this = self.clone();
            // A panic there is one look lost.
            let _ = tokio::task::spawn_blocking(move || this.reload()).await;
        }
    }
}

#[cfg(test)]
#[path = "reloadable_tls_tests.rs"]
mod tests;

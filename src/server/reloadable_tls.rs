//! The certificates in service, and their reload when the files change.
//!
//! The files are read and compared every [`INTERVAL`]. That also sees what a watch of a file does not: a renamed folder
//! behind a symbolic link, as Kubernetes replaces a mounted secret, and file systems without notifications. A new set is
//! taken into service as a whole, for new connections; open ones keep what they have. A set that cannot be used changes
//! nothing, is logged once and shown by `/statusz` and a metric. So is the one in service once its time is over.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::time::MissedTickBehavior;
use tokio_rustls::rustls::ServerConfig;

use crate::config::listen::TlsConfig;
use crate::domain::error_chain::with_causes;
use crate::server::tls::{self, ServerTls, TlsError};
use crate::supervision::caught;
use crate::telemetry::export::condition_gauges::CertificateCondition;
use crate::telemetry::record::recorder::Recorder;

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

/// A set of files that cannot be used, in which case the one before it stays in service, or whose time is not now.
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
    /// The files cannot be used, or not now; what was in service stays.
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
        let valid = current.check_validity(SystemTime::now(), &base.join(&files.cert));
        let fault = valid.err().map(|error| {
            tracing::error!(%error, "clients will refuse the connection");
            Arc::new(TlsFault {
                error: with_causes(&error),
                at: SystemTime::now(),
            })
        });
        Ok(Self(Arc::new(TlsState {
            files: files.clone(),
            base: base.to_owned(),
            handshake,
            current: ArcSwap::from_pointee(current),
            fault: ArcSwapOption::new(fault),
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

    /// Why the files on disk are not in service, or of no use there; `None` if all is well.
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
                self.set_fault(with_causes(&error));
                TlsReload::Faulty
            }
        }
    }

    fn set_fault(&self, error: String) {
        let fault = &self.0.fault;
        let is_known = fault.load().as_ref().is_some_and(|it| it.error == error);
        if !is_known {
            tracing::error!(
                error,
                "the certificates on disk cannot be used; those in service stay"
            );
            let at = SystemTime::now();
            fault.store(Some(Arc::new(TlsFault { error, at })));
        }
    }

    /// Reads the files. The certificate has to be valid now, whether it is in service or not.
    fn read_usable(&self) -> Result<ServerTls, TlsError> {
        let inner = &*self.0;
        let loaded = tls::load(&inner.files, &inner.base)?;
        let path = inner.base.join(&inner.files.cert);
        loaded.check_validity(SystemTime::now(), &path)?;
        Ok(loaded)
    }

    fn condition(&self) -> CertificateCondition {
        let current = self.current();
        CertificateCondition {
            expires_at: current.expires_at,
            client_ca_expires_at: current.client_ca_expires_at,
            is_faulty: self.fault().is_some(),
        }
    }

    /// Reloads every [`INTERVAL`], for ever.
    pub(super) async fn follow(&self, recorder: &Recorder) -> std::convert::Infallible {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let this = self.clone();
            let looked = tokio::task::spawn_blocking(move || {
                if let Err(panicked) = caught("certificates", || this.reload()) {
                    this.set_fault(panicked.to_string());
                }
            });
            // It has caught its panic, and is not cancelled before the server ends.
            let _ = looked.await;
            recorder.certificates(self.condition());
        }
    }
}

#[cfg(test)]
#[path = "reloadable_tls_tests.rs"]
mod tests;

//! The values behind the gauges that tell what is wrong with a server while it goes on: store, clock and certificates, and what
//! it does not enforce.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

/// Values that the gauges read at each export.
#[derive(Debug)]
pub(crate) struct Condition {
    is_store_failing: AtomicBool,
    unwritten: AtomicU64,
    is_clock_faulty: AtomicBool,
    /// Each with how many it names that are only observed.
    observed: [(&'static str, AtomicU64); 3],
    /// `None` without TLS.
    certificates: ArcSwapOption<CertificateCondition>,
}

/// The state of the store and of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreCondition {
    /// Whether it does not write, or, of a replica, its database does not confirm it.
    pub is_failing: bool,
    /// Changes that are in force and not written.
    pub unwritten: usize,
    /// Whether the clock has a fault.
    pub is_clock_faulty: bool,
}

/// The certificates of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateCondition {
    /// When the first of those in service expires.
    pub expires_at: Option<SystemTime>,
    /// When the first authority of client certificates expires.
    pub client_ca_expires_at: Option<SystemTime>,
    /// Whether those on disk cannot be used, or not now.
    pub is_faulty: bool,
}

impl Default for Condition {
    fn default() -> Self {
        Self {
            is_store_failing: AtomicBool::default(),
            unwritten: AtomicU64::default(),
            is_clock_faulty: AtomicBool::default(),
            observed: ["service", "callers", "servers"].map(|kind| (kind, AtomicU64::new(0))),
            certificates: ArcSwapOption::default(),
        }
    }
}

impl Condition {
    /// Stores whether the whole service is only observed, and how many callers and servers are.
    pub(crate) fn set_observed(&self, is_service: bool, callers: usize, servers: usize) {
        let counts = [u64::from(is_service), callers as u64, servers as u64];
        for ((_, known), count) in self.observed.iter().zip(counts) {
            known.store(count, Ordering::Relaxed);
        }
    }

    /// Stores the state of store and clock.
    pub(crate) fn set_store(&self, store: StoreCondition) {
        let flag = |flag: &AtomicBool, is_set| flag.store(is_set, Ordering::Relaxed);
        flag(&self.is_store_failing, store.is_failing);
        flag(&self.is_clock_faulty, store.is_clock_faulty);
        let unwritten = store.unwritten as u64;
        self.unwritten.store(unwritten, Ordering::Relaxed);
    }

    /// Stores the state of the certificates.
    pub(crate) fn set_certificates(&self, certificates: CertificateCondition) {
        self.certificates.store(Some(Arc::new(certificates)));
    }

    /// Builds the gauges.
    pub(crate) fn observe(self: &Arc<Self>, meter: &Meter) {
        type Read = fn(&Condition) -> u64;
        let gauges: [(&str, &str, &str, Read); 3] = [
            (
                "callgate.store.failing",
                "1",
                "1 while the store does not write, or a replica is not confirmed by its database",
                |it| u64::from(it.is_store_failing.load(Ordering::Relaxed)),
            ),
            (
                "callgate.store.unwritten",
                "{change}",
                "Changes that are in force and not written yet",
                |it| it.unwritten.load(Ordering::Relaxed),
            ),
            (
                "callgate.clock.faulty",
                "1",
                "1 while the clock has a fault: it was set back, is far ahead, or not that of the database",
                |it| u64::from(it.is_clock_faulty.load(Ordering::Relaxed)),
            ),
        ];
        for (name, unit, description, read) in gauges {
            let condition = Arc::clone(self);
            meter
                .u64_observable_gauge(name)
                .with_unit(unit)
                .with_description(description)
                .with_callback(move |observer| observer.observe(read(&condition), &[]))
                .build();
        }
        self.observe_unenforced(meter);
        self.observe_certificates(meter);
    }

    fn observe_unenforced(self: &Arc<Self>, meter: &Meter) {
        let condition = Arc::clone(self);
        meter
            .u64_observable_gauge("callgate.observe.scopes")
            .with_unit("{scope}")
            .with_description(
                "What is only observed and not enforced: 1 for the whole service, and the callers and servers that are named",
            )
            .with_callback(move |observer| {
                for (kind, count) in &condition.observed {
                    let kind = KeyValue::new("callgate.observe.kind", *kind);
                    observer.observe(count.load(Ordering::Relaxed), &[kind]);
                }
            })
            .build();
    }

    fn observe_certificates(self: &Arc<Self>, meter: &Meter) {
        let condition = Arc::clone(self);
        meter
            .u64_observable_gauge("callgate.certificate.expires")
            .with_unit("s")
            .with_description(
                "When the certificates in service expire, in seconds since 1970; none without TLS",
            )
            .with_callback(move |observer| {
                let Some(certificates) = condition.certificates.load_full() else {
                    return;
                };
                for (kind, at) in [
                    ("server", certificates.expires_at),
                    ("client_ca", certificates.client_ca_expires_at),
                ] {
                    let since = at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
                    if let Some(since) = since {
                        let kind = KeyValue::new("callgate.certificate.kind", kind);
                        observer.observe(since.as_secs(), &[kind]);
                    }
                }
            })
            .build();
        let condition = Arc::clone(self);
        meter
            .u64_observable_gauge("callgate.certificate.faulty")
            .with_unit("1")
            .with_description(
                "1 while the certificates on disk cannot be used, or not now; none without TLS",
            )
            .with_callback(move |observer| {
                if let Some(certificates) = condition.certificates.load_full() {
                    observer.observe(u64::from(certificates.is_faulty), &[]);
                }
            })
            .build();
    }
}

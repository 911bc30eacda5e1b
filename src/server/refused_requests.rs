//! Puts on record what callers asked for without the right to it: a notice a minute for each caller and right.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::audit::log::AuditLog;
use crate::authn::reloadable_authenticator::ReloadableAuthenticator;

/// How often.
const INTERVAL: Duration = Duration::from_secs(60);

/// Puts counts on record once a minute, until it is aborted.
pub async fn keep_on_record(authenticator: Arc<ReloadableAuthenticator>, audit: AuditLog) {
    let mut minute = tokio::time::interval(INTERVAL);
    minute.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        minute.tick().await;
        put_on_record(&authenticator, &audit);
    }
}

/// Puts what was counted since the last time on record.
pub fn put_on_record(authenticator: &ReloadableAuthenticator, audit: &AuditLog) {
    for caller in authenticator.current().callers() {
        for (right, refused) in caller.held.refused.take() {
            audit.refused(&caller.id, right, refused.count, refused.since);
        }
    }
}

#[cfg(test)]
#[path = "refused_requests_tests.rs"]
mod tests;

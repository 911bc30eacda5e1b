//! Where revisions go on if the store holds an older state than before.

use crate::audit::log::AuditLog;
use crate::store::backend::{Store, StoreError, StoredState};
use crate::store::turned_back::TurnedBack;
use crate::telemetry::record::recorder::Recorder;

/// Before anything is decided: goes on above every revision that the decision log has, and puts on record that the store has
/// turned back, unless the log has that.
pub(super) fn go_on(
    store: &mut dyn Store,
    loaded: &mut StoredState,
    recorder: &Recorder,
) -> Result<(), StoreError> {
    let told = recorder.audit().map(AuditLog::newest_revision);
    if let Some(last) = told.filter(|last| *last > loaded.revision) {
        let turned = TurnedBack::known_later(loaded.turned_back.as_ref(), loaded.revision, last);
        store.go_on_above(&turned)?;
        // Another replica may have changed something since it was loaded.
        *loaded = store.load()?;
        let of_store = loaded.turned_back.take();
        let of_store = of_store.filter(|it| it.revision() >= turned.revision());
        loaded.turned_back = of_store.or(Some(turned));
    }
    // Without a log, and for one that has just begun, as long as nothing was changed since.
    let told = told.filter(|last| *last > 0);
    let told = told.unwrap_or(loaded.revision.saturating_sub(1));
    if let Some(turned) = &loaded.turned_back
        && turned.revision() > told
    {
        note(recorder, turned);
    }
    Ok(())
}

/// Logs that the store has turned back, and puts it on record.
pub(super) fn note(recorder: &Recorder, turned: &TurnedBack) {
    tracing::warn!(
        how = turned.how.as_str(),
        from = turned.from,
        last = turned.last,
        revision = turned.revision(),
        "the store holds an older state than before: what was taken away since may be allowed again"
    );
    if let Some(audit) = recorder.audit() {
        audit.turned_back(turned.how.as_str(), turned.from, turned.last);
    }
}

#[cfg(test)]
#[path = "turned_back_tests.rs"]
mod tests;

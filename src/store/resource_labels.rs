//! What was written where, by labels: a file that was written after reading what strangers wrote is what strangers wrote.
//!
//! Start at [`Places::of`]. A place has the labels of every call that wrote to it, to what contains it or to what lies
//! within it, for a bounded time after the last of them. Nothing takes them away earlier: a call that writes to a part of
//! a file says nothing of the rest.
//!
//! Nothing is forgotten to make room. Where there is none for one more, what it would have kept counts for every place.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use smol_str::SmolStr;

use crate::domain::authority::labels::{LabelCarrier, LabelCarrierRef, Labels, union};
use crate::domain::request::target::Target;
use crate::store::carrier_labels::{CarrierLabels, LabelCapacityError, LabelWindow};
use crate::store::store::{LabelTimes, StoreWrite, StoredLabel};

#[cfg(test)]
#[path = "resource_labels_tests.rs"]
mod tests;

/// Labels by place.
#[derive(Debug)]
pub struct ResourceLabels(CarrierLabels);

impl ResourceLabels {
    /// Room for about this many places. A label counts for `kept_for` after it was brought.
    pub fn new(capacity: usize, kept_for: Duration) -> Self {
        Self(CarrierLabels::new(capacity, kept_for))
    }

    /// The labels of everything that these contain, are or lie in.
    pub fn of<'t>(
        &self,
        targets: impl IntoIterator<Item = &'t Target>,
        now: SystemTime,
    ) -> Option<Arc<Labels>> {
        if self.0.is_empty() {
            return None;
        }
        let of = |carrier| self.0.counted(carrier, LabelWindow::All, now);
        let mut found = Vec::new();
        for target in targets {
            let uid = target.uid();
            found.extend(of(LabelCarrierRef::Resource(uid)));
            found.extend(of(LabelCarrierRef::WithinResource(uid)));
            let containing = target.overlay.parents.iter();
            found.extend(containing.filter_map(|place| of(LabelCarrierRef::Resource(place))));
        }
        found.extend(of(LabelCarrierRef::AnyResource));
        union(&found)
    }

    /// Something with these labels was written there. Returns what has to be written before the answer.
    pub fn mark(
        &self,
        target: &Target,
        labels: &[SmolStr],
        now: SystemTime,
    ) -> Result<Vec<StoreWrite>, LabelCapacityError> {
        let within = target
            .overlay
            .parents
            .iter()
            .map(LabelCarrierRef::WithinResource);
        let mut writes = Vec::new();
        for carrier in std::iter::once(LabelCarrierRef::Resource(target.uid())).chain(within) {
            let brought = self.0.bring(carrier, labels, false, now);
            let brought = brought.or_else(|LabelCapacityError| {
                self.0
                    .bring(LabelCarrierRef::AnyResource, labels, false, now)
            });
            writes.extend(brought?);
        }
        Ok(writes)
    }

    /// As [`Memory::settled`].
    pub fn settled(&self, carrier: &LabelCarrier, written: &[LabelTimes]) {
        self.0.settled(carrier, written);
    }

    /// Takes over what a store holds. For the start, before anything else.
    pub fn restore(&self, stored: Vec<StoredLabel>) {
        self.0.restore(stored);
    }

    /// Forgets labels whose time is over.
    pub fn sweep(&self, now: SystemTime) {
        self.0.sweep(now);
    }

    /// How many places have labels, what contains them included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there was no room for one, so that every place has labels.
    pub fn is_saturated(&self, now: SystemTime) -> bool {
        let everywhere = LabelCarrierRef::AnyResource;
        self.0.counted(everywhere, LabelWindow::All, now).is_some()
    }
}

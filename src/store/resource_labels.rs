//! Labels of resources that calls have written to: a file written after reading untrusted text is untrusted itself.
//!
//! Start at [`ResourceLabels::labels_of`]. A resource has the labels of every call that wrote to it, to what contains
//! it or to anything within it, for a bounded time after the last of them. No call removes them earlier: writing a
//! part of a file says nothing about the rest.
//!
//! Nothing is evicted. Without room for one more resource, its labels count for every resource.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::domain::authority::labels::{LabelCarrier, LabelCarrierRef, Labels, union};
use crate::domain::request::target::Target;
use crate::store::backend::{LabelTimes, StoreWrite, StoredLabel};
use crate::store::carrier_labels::{CarrierLabels, LabelCapacityError, LabelWindow};

#[cfg(test)]
#[path = "resource_labels_tests.rs"]
mod tests;

/// Labels by resource.
#[derive(Debug)]
pub struct ResourceLabels(CarrierLabels);

impl ResourceLabels {
    /// Capacity for about `capacity` resources. A label counts for `kept_for` after it was last added.
    pub fn new(capacity: usize, kept_for: Duration) -> Self {
        Self(CarrierLabels::new(capacity, kept_for))
    }

    /// The labels of the targets, of what they contain and of what contains them, and of what lies within `unnamed`.
    pub fn labels_of<'t>(
        &self,
        targets: impl IntoIterator<Item = &'t Target>,
        unnamed: Option<&EntityUID>,
        now: SystemTime,
    ) -> Option<Arc<Labels>> {
        if self.0.is_empty() {
            return None;
        }
        let of = |carrier| self.0.recent(carrier, LabelWindow::All, now);
        let mut found = Vec::new();
        for target in targets {
            let uid = target.uid();
            found.extend(of(LabelCarrierRef::Resource(uid)));
            found.extend(of(LabelCarrierRef::WithinResource(uid)));
            let containing = target.overlay.parents.iter();
            found.extend(containing.filter_map(|place| of(LabelCarrierRef::Resource(place))));
        }
        found.extend(unnamed.and_then(|place| of(LabelCarrierRef::WithinResource(place))));
        found.extend(of(LabelCarrierRef::AnyResource));
        union(&found)
    }

    /// Adds the labels of a call that writes to the target. Returns what must be written before the response.
    ///
    /// # Errors
    ///
    /// [`LabelCapacityError`] if there is no room for the resource nor for the carrier that stands for all.
    pub fn add(
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
            writes.extend(self.add_to(carrier, labels, now)?);
        }
        Ok(writes)
    }

    /// Adds the labels of a call that writes to something within a place. Returns what must be written before the response.
    ///
    /// # Errors
    ///
    /// As [`ResourceLabels::add`].
    pub fn add_within(
        &self,
        place: &EntityUID,
        labels: &[SmolStr],
        now: SystemTime,
    ) -> Result<Option<StoreWrite>, LabelCapacityError> {
        self.add_to(LabelCarrierRef::WithinResource(place), labels, now)
    }

    fn add_to(
        &self,
        carrier: LabelCarrierRef<'_>,
        labels: &[SmolStr],
        now: SystemTime,
    ) -> Result<Option<StoreWrite>, LabelCapacityError> {
        let brought = self.0.add(carrier, labels, false, now);
        brought.or_else(|LabelCapacityError| {
            self.0.add(LabelCarrierRef::AnyResource, labels, false, now)
        })
    }

    /// As [`CarrierLabels::mark_written`].
    pub fn mark_written(&self, carrier: &LabelCarrier, written: &[LabelTimes]) {
        self.0.mark_written(carrier, written);
    }

    /// Restores what a store holds. Only at the start.
    pub fn restore(&self, stored: Vec<StoredLabel>) {
        self.0.restore(stored);
    }

    /// As [`CarrierLabels::unsettle`].
    pub fn unsettle(&self) {
        self.0.unsettle();
    }

    /// As [`CarrierLabels::merge`].
    pub fn merge(&self, stored: impl IntoIterator<Item = (StoredLabel, bool)>) {
        self.0.merge(stored);
    }

    /// Forgets everything, to be restored.
    pub fn clear(&self) {
        self.0.clear();
    }

    /// Drops expired labels.
    pub fn sweep(&self, now: SystemTime) {
        self.0.sweep(now);
    }

    /// The number of resources with labels, those that contain them included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no resource has labels.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

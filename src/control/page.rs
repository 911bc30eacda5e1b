//! One page of a list.

use std::fmt::Display;
use std::sync::Arc;

use smol_str::{SmolStr, ToSmolStr as _};

use crate::config::limits::Limits;
use crate::control::error::ControlError;
use crate::domain::authority::indexed::{HasParts, Indexed, Part};

/// Items on a page if the request does not say how many.
const DEFAULT_SIZE: u32 = 100;

/// Which page of a list is requested.
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    /// At most this many items; 0 for [the default](DEFAULT_SIZE).
    pub size: u32,
    /// The token that came with the page before.
    pub after: Option<SmolStr>,
}

/// A page, and the revision it was read at.
#[derive(Debug, Clone)]
pub struct ListPage<T> {
    /// The items.
    pub items: Vec<T>,
    /// The token of the next page; `None` on the last.
    pub next: Option<SmolStr>,
    /// The revision of all items.
    pub revision: u64,
}

impl PageRequest {
    /// The number of items to return.
    ///
    /// # Errors
    ///
    /// [`ControlError::Invalid`] if more are requested than `limits.page_size`.
    fn size(&self, limits: &Limits) -> Result<usize, ControlError> {
        let limit = limits.page_size;
        if self.size > limit {
            let message = format!("is {}, but at most {limit} are allowed", self.size);
            return Err(ControlError::invalid("page_size", message));
        }
        let size = match self.size {
            0 => DEFAULT_SIZE.min(limit),
            size => size,
        };
        Ok(size as usize)
    }

    /// The items that `keep` makes of stored things, behind the id that this page starts after; only of those that
    /// have this part, if one is given.
    ///
    /// # Errors
    ///
    /// As [`PageRequest::collect`].
    pub(super) fn collect_indexed<T: HasParts, V>(
        &self,
        all: &Indexed<T>,
        part: Option<&Part>,
        limits: &Limits,
        revision: u64,
        mut keep: impl FnMut(&Arc<T>) -> Option<V>,
    ) -> Result<ListPage<V>, ControlError> {
        let entries = all.with(part, self.after.as_deref());
        let entries = entries.map(|thing| (thing.id(), thing));
        self.collect(entries, limits, revision, |_, value| keep(value))
    }

    /// The items that `keep` makes of entries, which start where the page before ended and are in the order of their
    /// keys. A page is full with as many items as were requested. It ends as well after `limits.list_candidates`
    /// entries, so that a filter that matches nothing costs no more than that. The token of the next page is the key of
    /// the last entry that was examined.
    ///
    /// # Errors
    ///
    /// [`ControlError::Invalid`] if more items are requested than `limits.page_size`.
    pub(super) fn collect<'m, K: Display + 'm, T: 'm, V>(
        &self,
        entries: impl Iterator<Item = (&'m K, &'m T)>,
        limits: &Limits,
        revision: u64,
        mut keep: impl FnMut(&K, &T) -> Option<V>,
    ) -> Result<ListPage<V>, ControlError> {
        let size = self.size(limits)?;
        let mut items = Vec::new();
        let mut last: Option<&K> = None;
        let page = |items, last: Option<&K>| ListPage {
            items,
            next: last.map(|key| key.to_smolstr()),
            revision,
        };
        for (examined, (key, value)) in entries.enumerate() {
            if examined == limits.list_candidates as usize {
                return Ok(page(items, last));
            }
            if let Some(item) = keep(key, value) {
                if items.len() == size {
                    return Ok(page(items, last));
                }
                items.push(item);
            }
            last = Some(key);
        }
        Ok(page(items, None))
    }
}

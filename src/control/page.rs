//! One page of a list.

use std::fmt::Display;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use smol_str::{SmolStr, ToSmolStr as _, format_smolstr};

use crate::config::limits::Limits;
use crate::control::error::ControlError;
use crate::domain::authority::indexed::{HasParts, Indexed, Part};
use crate::domain::request::canonical::hex;

/// Items on a page if the request does not say how many.
const DEFAULT_SIZE: u32 = 100;

/// Which list a page is of: a digest of the kind of list and of its filter.
pub type ListDigest = [u8; 32];

/// The length of what a token begins with: a digest of its list and of its key.
const PREFIX: usize = 16;

/// Which page of a list is requested.
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    /// At most this many items; 0 for [the default](DEFAULT_SIZE).
    size: u32,
    /// The key of the item after which it begins.
    after: Option<SmolStr>,
    /// The list.
    list: ListDigest,
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
    /// The page of a list that begins where the one that gave this token ended; the first one if the token is empty.
    /// `None` if no page of this list gave the token.
    pub fn new(size: u32, token: &str, list: ListDigest) -> Option<Self> {
        let first = Self {
            size,
            after: None,
            list,
        };
        if token.is_empty() {
            return Some(first);
        }
        let key = token.get(PREFIX..)?;
        (first.token(key) == token).then(|| Self {
            after: Some(key.into()),
            ..first
        })
    }

    /// The key of the item after which the page begins.
    pub(super) fn after(&self) -> Option<&SmolStr> {
        self.after.as_ref()
    }

    /// The token of the page that begins after a key. A token of another list, or of the same with another filter, would
    /// name a place where there is none: such a page would be empty, and be taken for the last.
    fn token(&self, key: &str) -> SmolStr {
        let mut digest = Sha256::new();
        digest.update(self.list);
        digest.update(key);
        let digest = hex(&digest.finalize());
        format_smolstr!("{}{key}", &digest[..PREFIX])
    }

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
    /// entries, so that a filter that matches nothing costs no more than that. The next page begins after the key of the
    /// last entry that was examined.
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
            next: last.map(|key| self.token(&key.to_smolstr())),
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

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;

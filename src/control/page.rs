//! One page of a list.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::config::limits::Limits;
use crate::control::error::ControlError;
use crate::domain::authority::indexed::{HasParts, Indexed, Part};

/// Items on a page where nobody says how many.
const USUAL_SIZE: u32 = 100;

/// Which page of a list is wanted.
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    /// At most this many items; 0 for [the usual number](USUAL_SIZE).
    pub size: u32,
    /// The token that came with the page before.
    pub after: Option<SmolStr>,
}

/// A page, and the revision it was read at.
#[derive(Debug, Clone)]
pub struct ListPage<T> {
    /// The items.
    pub items: Vec<T>,
    /// Leads to the next page; `None` on the last.
    pub next: Option<SmolStr>,
    /// The revision of all items.
    pub revision: u64,
}

impl PageRequest {
    /// How many items to give.
    pub(super) fn size(&self, limits: &Limits) -> Result<usize, ControlError> {
        let limit = limits.page_size;
        if self.size > limit {
            let message = format!("is {}, but at most {limit} are allowed", self.size);
            return Err(ControlError::invalid("page_size", message));
        }
        let size = match self.size {
            0 => USUAL_SIZE.min(limit),
            size => size,
        };
        Ok(size as usize)
    }

    /// The items that `keep` makes something of, of those that a part is named of, from where the page before ended. A page ends as well where
    /// `limits.list_candidates` things were looked at: what fits nothing costs no more than that.
    pub(super) fn of<T: HasParts, V>(
        &self,
        all: &Indexed<T>,
        part: Option<Part>,
        limits: &Limits,
        revision: u64,
        mut keep: impl FnMut(&Arc<T>) -> Option<V>,
    ) -> Result<ListPage<V>, ControlError> {
        let size = self.size(limits)?;
        let mut items = Vec::new();
        // Where the next page goes on: behind the last thing that was looked at.
        let mut last: Option<&SmolStr> = None;
        let things = all.with(part.as_ref(), self.after.as_deref());
        let page = |items, last: Option<&SmolStr>| ListPage {
            items,
            next: last.cloned(),
            revision,
        };
        for (looked_at, thing) in things.enumerate() {
            if looked_at == limits.list_candidates as usize {
                return Ok(page(items, last));
            }
            if let Some(item) = keep(thing) {
                if items.len() == size {
                    return Ok(page(items, last));
                }
                items.push(item);
            }
            last = Some(thing.id());
        }
        Ok(page(items, None))
    }
}

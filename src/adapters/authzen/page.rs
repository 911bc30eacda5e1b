//! Page tokens of searches.

use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use crate::adapters::input::field_error::{FieldError, FieldProblem};
use crate::adapters::input::json_fields::{optional_object, optional_text};
use crate::adapters::transport::http::rejection::HttpRejection;
use crate::domain::request::canonical;
use callgate_engine::Cursor;

const FIELD: &str = "page";

/// A digest of the search and its caller, truncated to 8 bytes. A token is valid for the same search only.
pub(super) type Fingerprint = [u8; 8];

/// The requested page. A page size of 0 only checks that the caller may search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SearchPage {
    /// The position after which the page begins.
    pub(super) after: Option<Cursor>,
    /// The largest number of results.
    pub(super) most: usize,
}

/// Computes the fingerprint of a search by one caller.
pub(super) fn fingerprint(caller: &str, path: &str, request: &Map<String, Json>) -> Fingerprint {
    let mut digest = Sha256::new();
    for part in [caller, path] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let mut asked = request.clone();
    asked.remove(FIELD);
    digest.update(canonical::object_text(&asked));
    let digest: [u8; 32] = digest.finalize().into();
    let mut short = Fingerprint::default();
    short.copy_from_slice(&digest[..8]);
    short
}

/// Reads the requested page.
pub(super) fn of(
    request: &Map<String, Json>,
    fingerprint: Fingerprint,
    page_size: u32,
) -> Result<SearchPage, HttpRejection> {
    let Some(page) = optional_object(request, FIELD)? else {
        let most = page_size as usize;
        return Ok(SearchPage { after: None, most });
    };
    let most = match page.get("limit") {
        None | Some(Json::Null) => page_size,
        Some(limit) => match limit.as_u64() {
            Some(limit) => u32::try_from(limit).unwrap_or(u32::MAX).min(page_size),
            None => {
                let problem = FieldProblem::NotOfShape("a whole number from 0 on");
                return Err(FieldError::new("limit", problem).inside(FIELD).into());
            }
        },
    };
    let token = optional_text(page, "token").map_err(|inner| inner.inside(FIELD))?;
    let after = match token {
        None | Some("") => None,
        Some(token) if token == again(None, fingerprint) => None,
        Some(token) => Some(place(token, fingerprint).ok_or(HttpRejection::OtherPage)?),
    };
    let most = most as usize;
    Ok(SearchPage { after, most })
}

/// The token of the page that begins here; without a position, of the first page.
pub(super) fn again(after: Option<Cursor>, fingerprint: Fingerprint) -> String {
    match after {
        None => format!("{:016x}", u64::from_be_bytes(fingerprint)),
        after => token(after, fingerprint),
    }
}

/// The token of the page after a position; empty if there is none.
pub(super) fn token(next: Option<Cursor>, fingerprint: Fingerprint) -> String {
    let Some(Cursor { order, shard, done }) = next else {
        return String::new();
    };
    let fingerprint = u64::from_be_bytes(fingerprint);
    format!("{fingerprint:016x}{order:016x}{shard:08x}{done:016x}")
}

fn place(token: &str, fingerprint: Fingerprint) -> Option<Cursor> {
    if token.len() != 56 || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = |from: usize, to: usize| u64::from_str_radix(&token[from..to], 16).ok();
    if number(0, 16)? != u64::from_be_bytes(fingerprint) {
        return None;
    }
    Some(Cursor {
        order: number(16, 32)?,
        shard: u32::try_from(number(32, 40)?).ok()?,
        done: number(40, 56)?,
    })
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;

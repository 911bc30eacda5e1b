//! Where a link leads: the resource that it names, and those that contain it.
//!
//! Start at [`places`]. Readers do not agree on where a link in a text ends, so a place counts only if it contains what
//! the one that stops first reads, and what the one that goes on reads.

use callgate_engine::cedar::EntityUID;

use crate::domain::request::links::characters::{MAX_URL, is_of_url};
use crate::domain::request::target::{self, TargetKind};

/// Punctuation that no reader takes for the end of a link.
const PUNCTUATION: [char; 8] = ['.', ',', ';', ':', '!', '?', ')', ']'];

/// A link in a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct WrittenLink<'t> {
    /// The character before the link.
    pub(super) before: Option<char>,
    pub(super) scheme: &'t str,
    /// The text from the host on.
    pub(super) rest: &'t str,
}

/// The resources that contain all that readers may take for the link; `None` if one of them is no canonical URL.
pub(super) fn places(link: &WrittenLink<'_>) -> Option<Vec<EntityUID>> {
    let WrittenLink { scheme, rest, .. } = *link;
    let shortest = until(rest, |c| !is_of_url(c))?.trim_end_matches(|c| ends(c, &['*', '_']));
    let mut places = resources(scheme, shortest)?;
    if !is_closed(link, &rest[shortest.len()..]) {
        let longest = until(rest, |c| c.is_whitespace() || matches!(c, '<' | '>'))?;
        let longest = longest.trim_end_matches(|c| ends(c, &['"', '}']));
        if longest.len() != shortest.len() {
            let others = resources(scheme, longest)?;
            places.retain(|place| others.contains(place));
        }
    }
    Some(places)
}

/// The resource that a URL names, and those that contain it.
fn resources(scheme: &str, rest: &str) -> Option<Vec<EntityUID>> {
    let target = target::parse_one_as("", TargetKind::Url, &format!("{scheme}://{rest}")).ok()?;
    let own = std::iter::once(target.uid().clone());
    Some(own.chain(target.overlay.parents).collect())
}

/// The text up to where it ends; `None` if that is too long for a URL.
fn until(text: &str, is_end: impl Fn(char) -> bool) -> Option<&str> {
    let mut chars = text.char_indices().take_while(|(at, _)| *at <= MAX_URL);
    match chars.find(|(_, c)| is_end(*c)) {
        Some((end, _)) => Some(&text[..end]),
        None => (text.len() <= MAX_URL).then_some(text),
    }
}

/// Whether a sign before the link is closed right after it, and nothing follows that may continue the link:
/// `"https://…", `, `**https://…**`.
fn is_closed(link: &WrittenLink<'_>, after: &str) -> bool {
    let close = match link.before {
        Some(open @ ('"' | '\'' | '`' | '|' | '*')) => open,
        Some('{') => '}',
        _ => return false,
    };
    let after = after.trim_start_matches(PUNCTUATION);
    let behind = after.trim_start_matches(close);
    let next = behind
        .trim_start_matches(|c| ends(c, &['}']))
        .chars()
        .next();
    let is_over = next.is_none_or(|c| c.is_whitespace() || matches!(c, '<' | '>') || c == close);
    behind.len() < after.len() && is_over
}

fn ends(c: char, others: &[char]) -> bool {
    PUNCTUATION.contains(&c) || others.contains(&c)
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;

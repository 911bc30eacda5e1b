//! One reading in every adapter: the same bytes are the same call everywhere, or are refused everywhere, and no server
//! or client behind an adapter reads another one in them.
//!
//! [`names`], [`requests`], [`contents`], [`results`] and [`pinned`] are tables, one a kind; [`property`] and
//! [`property_results`] make texts up and hold all adapters and the lenient readers of [`panel`] against each other.

mod contents;
mod hostile;
mod names;
pub mod panel;
mod pinned;
mod property;
mod property_results;
mod requests;
mod results;
mod world;

/// How many cases a property test has: `CALLGATE_PROPERTY_CASES` counts cheaper ones.
fn cases(usual: u32) -> u32 {
    let cases = std::env::var("CALLGATE_PROPERTY_CASES").ok();
    let cases: Option<u32> = cases.and_then(|text| text.parse().ok());
    cases.map_or(usual, |cases| (cases / 50).clamp(16, 5_000))
}

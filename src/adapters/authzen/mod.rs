//! OpenID AuthZEN, Authorization API 1.0: access evaluation, evaluations, search and discovery.
//!
//! Start at [`endpoints::Authzen`]. `parse` makes Cedar's own question of what AuthZEN asks: types and actions
//! as they are, `action.properties` as part of the context. `declared` leaves out what no policy can
//! read. `search` goes through stored entities and actions, `page` is where it has got to, `encode` says
//! the answer.
//!
//! Invariant: nothing that a caller says of a subject or a resource replaces what is stored, and it counts
//! only from callers with the right `assert_properties`.

mod coaz;
mod declared;
mod encode;
pub mod endpoints;
mod page;
mod parse;
mod search;

//! OpenID AuthZEN, Authorization API 1.0: access evaluation, evaluations, search and discovery.
//!
//! Start at [`endpoints::Authzen`]. `parse` turns a request into a Cedar request: types and actions as given,
//! `action.properties` merged into the context. `coaz` parses requests of the binding COAZ-MCP as MCP calls.
//! `declared` drops members that no policy can read. `search` enumerates stored entities and actions, `page`
//! encodes its position, `encode` writes responses.
//!
//! Invariant: properties that a caller asserts about a subject or a resource never replace stored attributes,
//! and count only from callers with the right `assert_properties`.

mod coaz;
mod declared;
mod encode;
pub mod endpoints;
mod page;
mod parse;
mod search;

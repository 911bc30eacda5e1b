//! The Model Context Protocol, for every door whose caller passes it on as it is.
//!
//! Start at [`message::read`]: bytes become one JSON-RPC message or a fault. [`methods`] is the table of all
//! methods of both eras, the stateless one (2026-07-28) and the one with sessions (2025-11-25).
//! [`operations::from_request`] turns a method and its parameters into what is decided, [`conversation`] adds who
//! talks to whom, [`answers`] reads what goes back to a server that asked. [`judge`] is the way back: lists are
//! filtered, and what a server asks for is decided. [`denial`] writes the JSON-RPC error that a client sees
//! instead of an answer, [`header`] and `repeated` read the headers that repeat the body.
//!
//! Invariant: nothing of any gateway, and nothing is guessed. What two readers could read differently (a key
//! twice, a key in other letters, a method nobody knows) is a fault, because the server is the other reader.

pub(in crate::adapters) mod member_spelling;
pub mod message;
pub mod methods;
pub mod request;
pub mod response;
pub mod server_set;

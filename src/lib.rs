//! Callgate decides, for every single call an AI agent or an MCP server wants to make, whether it may
//! happen: now, for this person, with these arguments.
//!
//! Most people run it as a server: `callgate serve`. The same decision in process needs three types:
//! [`Snapshot`], compiled policies and entities; [`CallContext`], the question; [`Verdict`], the
//! answer. [`bundle::load`] compiles a directory, [`domain::decide::call::decide`] decides:
//!
//! ```
//! use std::path::Path;
//! use std::time::SystemTime;
//!
//! use callgate::authn::caller::Caller;
//! use callgate::config::claims::ClaimMapping;
//! use callgate::domain::decide::call::decide;
//! use callgate::domain::decide::inputs::Requester;
//! use callgate::domain::request::call_context::{ActorChain, Operation, Subject};
//! use callgate::domain::schema::{TYPES, entity_uid};
//! use callgate::{CallContext, Snapshot, Verdict, bundle};
//!
//! let snapshot: Snapshot = bundle::load(Path::new("policies")).expect("no faults").snapshot;
//!
//! let arguments = serde_json::json!({"owner": "acme", "repo": "shop", "issue_number": 7});
//! let arguments = arguments.as_object().cloned().unwrap_or_default();
//! let mut call = CallContext::new(
//!     Subject::verified(entity_uid(&TYPES.agent, "support"), "jwt"),
//!     Operation::call_tool("github", "get_issue", arguments),
//! );
//! call.actor_chain = Some(ActorChain::verified_from(entity_uid(&TYPES.user, "sam")));
//!
//! let caller = Caller::local();
//! let requester = Requester { caller: &caller, claims: &ClaimMapping::default() };
//! let verdict: Verdict = decide(&snapshot, &call, requester, SystemTime::now());
//! assert!(verdict.is_allow(), "{:?}", verdict.reasons);
//! ```
//!
//! Deciding is pure: nothing is counted, consumed or put on record. That is what the server adds.
//! `examples/decide.rs` shows more of an answer.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

// Unit tests share fixtures with integration tests, which name the library.
#[cfg(test)]
extern crate self as callgate;

pub mod authn;
pub mod bundle;
pub mod config;
pub mod domain;

// What the server is made of. Public for the binary, the tests and the benchmarks; not an interface.
#[doc(hidden)]
pub mod adapters;
#[doc(hidden)]
pub mod analysis;
#[doc(hidden)]
pub mod audit;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod control;
#[doc(hidden)]
pub mod proto;
#[doc(hidden)]
pub mod reload;
#[doc(hidden)]
pub mod server;
#[doc(hidden)]
pub mod service;
#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub mod supervision;
#[doc(hidden)]
pub mod telemetry;

pub use crate::domain::decide::verdict::Verdict;
pub use crate::domain::request::call_context::CallContext;
pub use callgate_engine::Snapshot;

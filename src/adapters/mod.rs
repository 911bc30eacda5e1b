//! The front doors, one folder per protocol: parse a question, ask the service, encode its answer.
//!
//! Start at [`grpc`], the native one. [`envoy`] is for Envoy's filters, [`ext_mcp`] for agentgateway. [`http`] is
//! what those over plain HTTP share: [`authzen`] and [`toolhive`]. [`mcp`] reads the Model Context Protocol for
//! the doors whose callers pass it on as it is. `token` reads who acts out of a verified token, `told` is what
//! gateways hear beside yes or no; `json`, `media` and [`invalid`] are how every door reads JSON and names a fault. What
//! an id is, how addresses are written and what counts as absent is the same at every door: `ids`, `address` and `absent`.
//! [`headers`] refuses those that come twice.
//!
//! Invariant: no decisions and no storage. An adapter that cannot read a question refuses it and names
//! the field; it never guesses.

pub mod agentgateway;
pub mod authzen;
pub mod callgate_v1;
pub(in crate::adapters) mod decision_metadata;
pub mod envoy;
pub mod http_routes;
pub mod input;
pub mod mcp;
pub mod subject;
pub mod toolhive;
pub mod transport;

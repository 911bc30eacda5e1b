//! The adapters, one folder per protocol: each parses a request, calls the service and encodes its response.
//!
//! Start at [`callgate_v1`], the native one. [`envoy`] serves Envoy's filters, [`agentgateway`] agentgateway,
//! [`authzen`] and [`toolhive`] protocols over plain HTTP. They share four rooms: `input` parses what
//! strangers send (strict JSON, ids, limits, field errors), [`transport`] admits callers (authentication,
//! rights, headers, rejections), `subject` resolves whose request it is, and [`mcp`] maps MCP messages to
//! operations and filters what servers send. `http_routes` maps plain HTTP to tool calls; `decision_metadata`
//! is what gateways receive beside the decision, `outcome` records what became of a call.
//!
//! Invariant: no decisions and no storage. An adapter that cannot parse a request rejects it and names the
//! field; it never guesses.

pub mod agentgateway;
pub mod authzen;
pub mod callgate_v1;
pub(in crate::adapters) mod decision_metadata;
pub mod envoy;
pub mod http_routes;
pub mod input;
pub mod mcp;
pub(in crate::adapters) mod outcome;
pub mod subject;
pub mod toolhive;
pub mod transport;

#[cfg(test)]
mod future_sizes_tests;

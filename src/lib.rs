//! Callgate decides, for every single call an AI agent or an MCP server wants to make, whether it may
//! happen: now, for this person, with these arguments.
//!
//! The server is [`cli`] and [`server`]; the same decision in process is three types:
//! [`Snapshot`] (compiled policies and entities), [`CallContext`] (the question) and [`Decision`].

pub mod adapters;
pub mod audit;
pub mod authoring;
pub mod bundle;
pub mod call;
pub mod cli;
pub mod config;
pub mod engine;
pub mod identity;
pub mod proto;
pub mod reload;
pub mod server;
pub mod service;
pub mod telemetry;

pub use call::context::CallContext;
pub use call::decision::Decision;
pub use engine::snapshot::Snapshot;

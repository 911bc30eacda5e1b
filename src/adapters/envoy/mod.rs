//! Envoy's external authorization ([`ext_authz`], `Check`), which asks about requests, and external
//! processing ([`ext_proc`], `Process`), which passes responses too.
//!
//! Start at [`ext_authz::ExtAuthz`]: it converts Envoy's message to an [`request::HttpRequest`] and encodes
//! the result of [`check`]. Both filters share [`reader`], which parses a request into a query,
//! [`consistency`], which compares headers, body and the MCP filter's metadata, and [`identity`], the
//! attributes that identify the caller's subject.
//!
//! [`ext_proc::ExtProc`] drives an [`exchange`]; [`processor_codec`] converts its messages. [`content`]
//! classifies a response, [`body_filter`] filters it as it arrives: [`sse`] splits event streams,
//! [`error_text`] finds what reads as a message in the text of an error, [`messages`] filters one message.
//!
//! Invariant: a request that cannot be parsed, is incomplete or is ambiguous is denied; only an allow of the
//! service lets it through. A server's message passes only once it has been filtered.

mod adapter;
mod body_filter;
mod check;
mod consistency;
mod content;
mod error_text;
mod exchange;
mod exchange_error;
pub mod ext_authz;
pub mod ext_proc;
mod identity;
mod messages;
mod processor_codec;
mod reader;
mod rejection;
pub(crate) mod request;
mod sse;

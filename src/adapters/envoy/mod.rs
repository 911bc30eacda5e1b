//! Envoy, by two of its filters: external authorization ([`ext_authz`], `Check`), which asks about requests, and
//! external processing ([`ext_proc`], `Process`), which shows responses, too.
//!
//! Start at [`ext_authz::ExtAuthz`], the thin one: it makes an [`request::HttpRequest`] of Envoy's message and
//! encodes the [`verdict`]. In between, which both share, [`reading`] finds what a request asks for and of which
//! server, [`agreement`] holds headers, body and the MCP filter's metadata against each other, [`plain`] knows
//! what plain HTTP stands for, and [`identity`] says whose call it is.
//!
//! [`ext_proc::ExtProc`] leads an [`exchange`] step by step; [`processing`] is its wire. [`content`] says what a
//! response carries, [`response`] judges it as it comes: [`events`] cuts streams, [`messages`] judges one message.
//!
//! Invariant: what cannot be read, is cut, or is read in two ways is denied; only an allow of the service
//! lets a request through. What a server sends passes only once it is judged.

mod adapter;
mod body_filter;
mod check;
mod consistency;
mod content;
mod exchange;
pub mod ext_authz;
pub mod ext_proc;
mod identity;
mod messages;
mod processor_codec;
mod reader;
mod rejection;
pub(crate) mod request;
mod sse;

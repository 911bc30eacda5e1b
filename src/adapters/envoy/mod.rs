//! Envoy, by two of its filters: external authorization (`envoy.service.auth.v3.Authorization/Check`), which
//! asks about requests.
//!
//! Start at [`ext_authz::ExtAuthz`], which is thin: it makes an [`request::HttpRequest`] of Envoy's message and
//! encodes the [`verdict`]. In between, [`reading`] finds what a request asks for and of which server,
//! [`agreement`] holds headers, body and the MCP filter's metadata against each other, and [`identity`] says
//! whose call it is.
//!
//! Invariant: what cannot be read, is cut, or is read in two ways is denied; only an allow of the service
//! lets a request through.

mod agreement;
mod content;
mod door;
mod events;
mod exchange;
pub mod ext_authz;
pub mod ext_proc;
mod identity;
mod messages;
mod plain;
mod problem;
mod processing;
mod reading;
mod refused;
mod request;
mod verdict;

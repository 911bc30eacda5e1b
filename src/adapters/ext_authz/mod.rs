//! Envoy's external authorization: `envoy.service.auth.v3.Authorization/Check`.
//!
//! Start at [`check::Check`]: who asks, [`wire`] takes the request apart, [`agreement`] holds headers, body
//! and the MCP filter's metadata against each other, [`identity`] says whose call it is, the service decides,
//! [`reply`] encodes.
//!
//! Invariant: what cannot be read, is cut, or is read in two ways is denied; only an allow of the service
//! becomes `OK`.

mod agreement;
pub mod check;
mod identity;
mod reply;
mod wire;

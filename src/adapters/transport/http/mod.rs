//! What the adapters over plain HTTP share: admission, the JSON body, and rejections.
//!
//! Start at [`admission::HttpAdapter`]. An adapter first admits a request by its head, so that a stranger's
//! body is not read, and then answers it.
//!
//! Routing is a comparison of a handful of exact paths. A router such as `axum` is not used: the server has
//! to admit a request by its head before it takes a slot for it, and the path decides the adapter, the right
//! and the form of a rejection by then.
//!
//! Invariant: a rejection is never a decision. It has a status of its own, and an enforcement point treats
//! every one as a deny.

pub mod admission;
pub mod rejection;
pub mod reply;

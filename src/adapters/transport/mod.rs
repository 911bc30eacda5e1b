//! Admission of callers and rejection of requests, over gRPC and plain HTTP.
//!
//! `admission` checks what does not depend on the transport; [`grpc_admission`] and [`http`] authenticate by the head of
//! a request. [`request`] is what they are given, and what comes of it. [`grpc_rejection`] and `http::rejection` are the
//! tables from what can go wrong to a status. `grpc_rpc` is an admitted RPC. [`grpc_unary`] answers one with one message on
//! either side, [`grpc_generated`] any other, with a [`response_body`]. [`headers`], `address` and `trace` read headers.
//!
//! Invariant: before a caller is admitted, nothing of the body is read and nothing is held for it.

pub(in crate::adapters) mod address;
pub(in crate::adapters) mod admission;
pub mod grpc_admission;
pub mod grpc_generated;
pub mod grpc_rejection;
pub(in crate::adapters) mod grpc_rpc;
pub mod grpc_unary;
pub mod headers;
pub mod http;
pub mod request;
pub mod response_body;
pub(in crate::adapters) mod trace;

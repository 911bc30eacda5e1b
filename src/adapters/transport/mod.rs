//! Admission of requests over gRPC and HTTP: peer addresses, headers, and rejections in each protocol's form.

pub(in crate::adapters) mod address;
pub(in crate::adapters) mod admission;
pub mod grpc_admission;
pub mod grpc_rejection;
pub(in crate::adapters) mod grpc_rpc;
pub mod headers;
pub mod http;
pub(in crate::adapters) mod trace;

//! Admission of requests over gRPC and HTTP: peer addresses, headers, and rejections in each protocol's form.

pub(in crate::adapters) mod address;
pub mod grpc_admission;
pub mod grpc_rejection;
pub mod headers;
pub mod http;

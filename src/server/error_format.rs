//! How rejections are encoded, and recognized in a response: as gRPC statuses, or as another adapter says.

use http::{HeaderMap, Response};
use tonic::{Code, Status};

use crate::adapters::callgate_v1::authorization::ADAPTER;
use crate::adapters::transport::grpc_rejection::{self, GrpcRejection, NEVER, PUSHBACK};
use crate::adapters::transport::response_body::ResponseBody;
use crate::telemetry::record::metrics::RejectionKind;

/// How a protocol encodes rejections, and how to recognize one in a response.
#[derive(Clone, Copy)]
pub struct ErrorFormat {
    /// Encodes a rejection by load shedding.
    pub encode: fn(GrpcRejection) -> Response<ResponseBody>,
    /// The adapter and the kind of rejection, if the response is one.
    pub kind: fn(&Response<ResponseBody>) -> Option<(&'static str, RejectionKind)>,
    /// The message of a rejection.
    pub message: fn(&Response<ResponseBody>) -> String,
    /// The request id that the response carries.
    pub request_id: fn(&Response<ResponseBody>) -> Option<&str>,
    /// The adapter, where the response does not tell it.
    pub adapter: Option<&'static str>,
}

impl ErrorFormat {
    /// The adapter and the kind of rejection, if the response is one.
    pub(super) fn rejection(
        &self,
        response: &Response<ResponseBody>,
    ) -> Option<(&'static str, RejectionKind)> {
        let (protocol, why) = (self.kind)(response)?;
        Some((self.adapter.unwrap_or(protocol), why))
    }
}

/// Rejections as gRPC statuses.
pub(super) const GRPC: ErrorFormat = ErrorFormat {
    encode: |rejection| Status::from(rejection).into_http(),
    kind: |response| grpc_rejection(response.headers()),
    message: |response| {
        let status = Status::from_header_map(response.headers());
        status.map_or_else(String::new, |status| status.message().to_owned())
    },
    request_id: |_| None,
    adapter: None,
};

/// The rejection in a response. An error has its status among the headers, an answer in the trailers.
fn grpc_rejection(headers: &HeaderMap) -> Option<(&'static str, RejectionKind)> {
    let status = headers.get(Status::GRPC_STATUS)?;
    // A status with details answers a write, which is recorded already.
    if headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return None;
    }
    let is_never_sent_again = headers.get(PUSHBACK).is_some_and(|it| it == NEVER);
    let why = grpc_rejection::kind_of(Code::from_bytes(status.as_bytes()), is_never_sent_again)?;
    Some((ADAPTER, why))
}

//! The W3C trace context in the headers of a request.

use http::{HeaderMap, HeaderName};

use crate::domain::request::call_context::TraceContext;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Reads the trace context. A repeated header is ignored, as W3C Trace Context says: a trace is not evidence.
pub fn trace_context(headers: &HeaderMap) -> TraceContext {
    let header = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(only), None) => only.to_str().ok().map(str::to_owned),
            _ => None,
        }
    };
    match header(&TRACEPARENT) {
        None => TraceContext::default(),
        traceparent => TraceContext {
            traceparent,
            tracestate: header(&TRACESTATE),
        },
    }
}

//! The W3C trace context in the headers of a request.

use http::{HeaderMap, HeaderName};

use crate::domain::request::trace_context::TraceContext;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Reads the trace context. A repeated `traceparent` is ignored, as W3C Trace Context says, and several `tracestate` are one:
/// a trace is not evidence.
pub fn trace_context(headers: &HeaderMap) -> TraceContext {
    let mut parents = headers.get_all(&TRACEPARENT).iter();
    let (Some(only), None) = (parents.next(), parents.next()) else {
        return TraceContext::default();
    };
    let states = headers.get_all(&TRACESTATE).iter();
    // What is no text is no list either.
    let states = states.map(|state| state.to_str().unwrap_or("\u{fffd}"));
    TraceContext::read(only.to_str().ok(), states)
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;

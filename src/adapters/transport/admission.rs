//! What admission checks whatever the transport: the caller's right, and headers that may occur once.

use http::HeaderMap;

use crate::adapters::transport::headers;
use crate::authn::caller::{Caller, Rpc};

/// Why an authenticated caller is not admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::adapters) enum AdmissionError {
    /// The caller lacks the right.
    NotAllowed {
        /// The caller's id.
        caller: String,
        /// The right.
        rpc: Rpc,
    },
    /// A header that may occur once is repeated.
    RepeatedHeader {
        /// The header's name.
        name: &'static str,
    },
}

/// Checks that a caller has the right to an RPC. That it has not is counted, to be put on record.
pub(in crate::adapters) fn require_right(caller: &Caller, rpc: Rpc) -> Result<(), AdmissionError> {
    if caller.rights.rpcs.contains(rpc) {
        return Ok(());
    }
    caller.held.refused.add(rpc.name());
    let caller = caller.id.to_string();
    Err(AdmissionError::NotAllowed { caller, rpc })
}

/// Checks that no header is repeated that may occur once.
pub(in crate::adapters) fn check_headers(headers: &HeaderMap) -> Result<(), AdmissionError> {
    match headers::repeated(headers) {
        Some(name) => Err(AdmissionError::RepeatedHeader { name }),
        None => Ok(()),
    }
}

//! Rejections of requests before a decision.

use crate::adapters::envoy::consistency::BodyMismatchError;
use crate::adapters::envoy::request::RequestError;
use crate::adapters::mcp::message::{INVALID_PARAMS, JsonRpcId, MessageRejection};
use crate::adapters::mcp::request::intent::OperationError;
use crate::adapters::mcp::request::mirrored_headers::RepeatedHeaderError;
use crate::adapters::mcp::response::json_rpc_error;
use crate::adapters::subject::resolver::{SubjectError, UNIDENTIFIED};
use crate::telemetry::record::metrics;

/// A reply to a server whose request was not seen.
pub(super) const REPLIES: &str = "replies to servers are not let through";
/// Neither the route nor the settings name a server.
pub(super) const NO_SERVER: &str = "no server is configured for this host and path";

/// A rejection before a decision.
#[derive(Debug, Clone)]
pub(super) struct EnvoyRejection {
    /// The HTTP status.
    pub(super) status: u16,
    /// The JSON-RPC error code.
    pub(super) code: i64,
    /// The message, safe to send.
    pub(super) message: String,
    /// The value of `Allow`, which a 405 must have.
    pub(super) allowed_methods: Option<&'static str>,
}

/// A rejection with what its reply needs.
#[derive(Debug)]
pub(super) struct RejectedRequest {
    pub(super) id: Option<JsonRpcId>,
    /// Whether the request was plain HTTP rather than MCP.
    pub(super) is_plain: bool,
    pub(super) rejection: EnvoyRejection,
}

impl RejectedRequest {
    /// Rejects a request of plain HTTP.
    pub(super) fn plainly(rejection: EnvoyRejection) -> Self {
        Self {
            id: None,
            is_plain: true,
            rejection,
        }
    }

    /// Rejects a message that is none. Where only the parameters of a request are of no use, the status is `usual`, as
    /// for parameters that cannot be decided about.
    pub(super) fn unreadable(rejection: MessageRejection, usual: u16) -> Self {
        let MessageRejection { id, fault } = rejection;
        let status = match fault.code() {
            INVALID_PARAMS if id.is_some() => usual,
            _ => 400,
        };
        let rejection = EnvoyRejection::with_code(status, fault.code(), &fault.to_string());
        Self::with_id(id, rejection)
    }

    /// Rejects a JSON-RPC message.
    pub(super) fn with_id(id: Option<JsonRpcId>, rejection: EnvoyRejection) -> Self {
        Self {
            id,
            is_plain: false,
            rejection,
        }
    }
}

impl EnvoyRejection {
    pub(super) fn new(status: u16, message: &str) -> Self {
        Self {
            status,
            code: json_rpc_error::DENIED,
            message: message.to_owned(),
            allowed_methods: None,
        }
    }

    /// Rejects a method of HTTP. `allowed` are the others.
    pub(super) fn method_not_allowed(message: &str, allowed: &'static str) -> Self {
        Self {
            allowed_methods: Some(allowed),
            ..Self::new(405, message)
        }
    }

    /// Rejects with a code of JSON-RPC.
    fn with_code(status: u16, code: i64, message: &str) -> Self {
        Self {
            code,
            ..Self::new(status, message)
        }
    }

    /// The text for the log, which adds the likely cause in the configuration.
    pub(super) fn logged(&self) -> String {
        let advice = match self.message.as_str() {
            UNIDENTIFIED => "nothing that `[[envoy.identity]]` names came from Envoy",
            NO_SERVER => "neither Envoy's route nor `envoy.servers` nor `envoy.routes` does",
            REPLIES => {
                "`ext_authz` never sees what a server asks of a client, and the server now waits for an answer; \
                 use `ext_proc`, which decides about it, or set `envoy.pass_replies`"
            }
            _ => return self.message.clone(),
        };
        format!("{}: {advice}", self.message)
    }

    /// The kind under which it is counted.
    pub(super) fn kind(&self) -> metrics::RejectionKind {
        match self.status {
            401 => metrics::RejectionKind::NotEntitled,
            _ => metrics::RejectionKind::Malformed,
        }
    }

    /// Rejects an operation that cannot be decided, with this HTTP status.
    pub(super) fn from_operation_error(status: u16, undecided: &OperationError) -> Self {
        Self::with_code(status, undecided.code(), &undecided.to_string())
    }
}

impl From<EnvoyRejection> for RejectedRequest {
    fn from(refused: EnvoyRejection) -> Self {
        Self::with_id(None, refused)
    }
}

impl From<SubjectError> for EnvoyRejection {
    fn from(error: SubjectError) -> Self {
        let status = match error {
            SubjectError::Unidentified => 401,
            SubjectError::Identity(_) => 403,
            SubjectError::Attribute(_) => 400,
        };
        Self::new(status, &error.to_string())
    }
}

impl From<RequestError> for EnvoyRejection {
    fn from(unfit: RequestError) -> Self {
        let status = match unfit {
            RequestError::NotJson | RequestError::Compressed => 415,
            _ => 400,
        };
        Self::new(status, &unfit.to_string())
    }
}

impl From<RepeatedHeaderError> for EnvoyRejection {
    fn from(twice: RepeatedHeaderError) -> Self {
        RequestError::from(twice).into()
    }
}

impl From<BodyMismatchError> for EnvoyRejection {
    fn from(disagreement: BodyMismatchError) -> Self {
        let code = json_rpc_error::HEADER_MISMATCH;
        Self::with_code(400, code, &disagreement.to_string())
    }
}

#[cfg(test)]
#[path = "rejection_tests.rs"]
mod tests;

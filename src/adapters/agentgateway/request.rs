//! Parses what a client asks for and of which servers.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::mcp::message;
use crate::adapters::mcp::methods::{self, Method, Routing, Sender};
use crate::adapters::mcp::request::intent::{MessageIntent, OperationError};
use crate::adapters::mcp::request::mirrored_headers::{
    self, HeaderFields, HeaderMismatchError, MirroredFields,
};
use crate::adapters::mcp::request::operations;
use crate::adapters::mcp::server_set::{ServerSet, prefixed};
use crate::adapters::subject::resolver::{SubjectError, UNIDENTIFIED};
use crate::adapters::subject::token_claims;
use crate::config::agentgateway::PrefixMode;
use crate::config::limits::Limits;
use crate::domain::request::call_context::{Operation, Told};
use crate::proto::agentgateway::ext_mcp::authorization_error::Code;
use crate::proto::agentgateway::ext_mcp::{McpHeader, McpRequest};
use crate::telemetry::record::metrics;

/// A completion, about which agentgateway asked only after the server had answered.
pub(super) const COMPLETED_LATE: &str =
    "completions are not let through: nobody was asked before the server was";

/// A subscription, about which agentgateway may have asked only after the server had answered.
pub(super) const SUBSCRIBED_LATE: &str =
    "subscriptions are not let through: nobody was asked before the server was";

/// A rejection before a decision.
#[derive(Debug)]
pub(super) struct AgentgatewayRejection {
    pub(super) code: Code,
    /// The message, safe to send.
    pub(super) reason: String,
}

impl AgentgatewayRejection {
    pub(super) fn denied(reason: &str) -> Self {
        Self {
            code: Code::PermissionDenied,
            reason: reason.to_owned(),
        }
    }

    /// The text for the log, which adds the likely cause in the configuration.
    pub(super) fn logged(&self) -> String {
        match self.reason.as_str() {
            UNIDENTIFIED => format!(
                "{UNIDENTIFIED}: nothing that `[[ext_mcp.identity]]` names is in the gateway's metadata"
            ),
            COMPLETED_LATE => format!("{COMPLETED_LATE}: see `ext_mcp.pass_completions`"),
            SUBSCRIBED_LATE => format!(
                "{SUBSCRIBED_LATE}: see `ext_mcp.pass_subscriptions`; the server has subscribed the client all the same"
            ),
            reason => reason.to_owned(),
        }
    }

    /// The kind under which it is counted.
    pub(super) fn kind(&self) -> metrics::RejectionKind {
        match self.reason == UNIDENTIFIED {
            true => metrics::RejectionKind::NotEntitled,
            false => metrics::RejectionKind::Malformed,
        }
    }

    pub(super) fn invalid(reason: &str) -> Self {
        Self {
            code: Code::Invalid,
            reason: reason.to_owned(),
        }
    }
}

impl From<OperationError> for AgentgatewayRejection {
    fn from(error: OperationError) -> Self {
        let code = match error {
            OperationError::Unsupported { .. } => Code::PermissionDenied,
            OperationError::UnknownMethod(_)
            | OperationError::NoId(_)
            | OperationError::Invalid(_) => Code::Invalid,
        };
        Self {
            code,
            reason: error.to_string(),
        }
    }
}

impl From<SubjectError> for AgentgatewayRejection {
    fn from(error: SubjectError) -> Self {
        let reason = error.to_string();
        match error {
            SubjectError::Unidentified | SubjectError::Identity(_) => Self::denied(&reason),
            SubjectError::Attribute(_) => Self::invalid(&reason),
        }
    }
}

impl From<HeaderMismatchError> for AgentgatewayRejection {
    fn from(mismatch: HeaderMismatchError) -> Self {
        Self::invalid(&mismatch.to_string())
    }
}

/// Parses the operations of a request, for each server that receives it.
pub(super) fn asked(
    request: &McpRequest,
    servers: &[SmolStr],
    limits: &Limits,
) -> Result<Vec<Vec<Operation>>, AgentgatewayRejection> {
    let method = request.method.as_str();
    let known = methods::request(Sender::Client, method);
    let is_merged = known.is_some_and(|known| known.routing == Routing::FanOut);
    let params = match &request.mcp_request {
        None if known.is_some_and(Method::may_lack_params) => Map::new(),
        None => {
            return Err(AgentgatewayRejection::invalid(
                "`mcp_request` is required for this method",
            ));
        }
        Some(text) => {
            message::members(text, limits, "mcp_request").map_err(OperationError::Invalid)?
        }
    };
    if servers.len() > 1 && !is_merged {
        return Err(AgentgatewayRejection::invalid(
            "a request of this method goes to one server",
        ));
    }
    // The gateway may send an `initialize` of its own first, with the headers of the client's request.
    if method != "initialize" {
        let body = MirroredFields {
            method: Some(method),
            names: names(known, &params, servers),
            version: mirrored_headers::version(&params),
            arguments: mirrored_headers::arguments(method, &params),
        };
        mirrored_headers::agree(&headers(&request.headers), &body)?;
    }
    let mut all = Vec::with_capacity(servers.len());
    for server in servers {
        let params = params.clone();
        let told = Told::All;
        match operations::from_request(Sender::Client, server, method, params, told, limits)? {
            MessageIntent::Authorize(operations) => all.push(operations),
            MessageIntent::Exempt => {
                return Err(AgentgatewayRejection::denied("only servers send this"));
            }
        }
    }
    Ok(all)
}

/// Parses the targets: the gateway's target names are server names here.
pub(super) fn servers(
    names: &[String],
    limits: &Limits,
) -> Result<Vec<SmolStr>, AgentgatewayRejection> {
    let mut servers: Vec<SmolStr> = Vec::with_capacity(names.len());
    if names.is_empty() || names.len() > limits.list_items as usize {
        return Err(AgentgatewayRejection::invalid(
            "`service_names` is empty or too long",
        ));
    }
    for name in names {
        let name = token_claims::parse_name(name, limits).map_err(|_| {
            AgentgatewayRejection::invalid(
                "`service_names` has a name that is empty, too long or holds a control character or one that nobody sees",
            )
        })?;
        if servers.contains(&name) {
            return Err(AgentgatewayRejection::invalid(
                "`service_names` names a server twice",
            ));
        }
        servers.push(name);
    }
    Ok(servers)
}

/// Which servers the names in a response belong to.
pub(super) fn origins(servers: Vec<SmolStr>, mode: PrefixMode) -> ServerSet {
    match mode {
        PrefixMode::Conditional => ServerSet::merged(servers),
        PrefixMode::Always => ServerSet::prefixed(servers),
        PrefixMode::Never => ServerSet::plain(servers),
    }
}

/// The names that the `Mcp-Name` header may have: the server's own, and with the server's name in front, as
/// the client may know it.
fn names<'a>(
    method: Option<&Method>,
    params: &'a Map<String, Json>,
    servers: &[SmolStr],
) -> Vec<Cow<'a, str>> {
    let parameter = method.and_then(|method| method.name_parameter);
    let own = parameter.and_then(|parameter| Some((parameter, params.get(parameter.member)?)));
    let Some((parameter, Json::String(own))) = own else {
        return Vec::new();
    };
    let prefixed = servers
        .iter()
        .map(|server| Cow::Owned(prefixed(server, own, parameter.identifier)));
    std::iter::once(Cow::Borrowed(own.as_str()))
        .chain(prefixed)
        .collect()
}

/// Values that are not UTF-8 are replaced, so that they match no expected value.
fn headers(all: &[McpHeader]) -> HeaderFields {
    let pair = |header: &McpHeader| {
        let value = String::from_utf8_lossy(&header.value);
        (SmolStr::new(&header.key), SmolStr::new(value))
    };
    all.iter().map(pair).collect()
}

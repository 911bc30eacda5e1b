//! Checks that headers, body and the metadata of Envoy's MCP filter agree. The server acts on the body; Envoy
//! may have routed by the others.

use std::borrow::Cow;

use prost_types::value::Kind;
use prost_types::{Struct, Value as WireValue};
use serde_json::{Map, Value as Json};

use crate::adapters::mcp::message::{ClientMessage, JsonRpcId};
use crate::adapters::mcp::request::mirrored_headers::{self, HeaderFields, MirroredFields};
use crate::adapters::mcp::request::operations;

/// The method under which the MCP filter reports a JSON-RPC response.
const REPLY: &str = "__jsonrpc_response";

/// Which sources disagree. The text is safe to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyMismatchError {
    #[error(transparent)]
    Repeated(#[from] mirrored_headers::HeaderMismatchError),
    #[error("what the MCP filter has read and the body disagree in `{0}`")]
    Metadata(&'static str),
}

/// Checks the headers that mirror the body.
pub(super) fn with_headers(
    message: &ClientMessage,
    headers: &HeaderFields,
) -> Result<(), BodyMismatchError> {
    let (method, params) = match message {
        ClientMessage::Request { method, params, .. }
        | ClientMessage::Notification { method, params } => (Some(method.as_str()), Some(params)),
        ClientMessage::Reply { .. } => (None, None),
    };
    let name = method.and_then(|method| operations::mirrored_name(method, params?));
    let body = MirroredFields {
        method,
        names: name.into_iter().map(Cow::Borrowed).collect(),
        version: params.and_then(mirrored_headers::version),
        arguments: method.and_then(|method| mirrored_headers::arguments(method, params?)),
    };
    Ok(mirrored_headers::agree(headers, &body)?)
}

/// Checks the metadata of the MCP filter, which contains a subset of the body.
pub(super) fn with_metadata(
    message: &ClientMessage,
    found: &Struct,
) -> Result<(), BodyMismatchError> {
    let differ = |what| Err(BodyMismatchError::Metadata(what));
    let empty = Map::new();
    let (id, method, params) = match message {
        ClientMessage::Request { id, method, params } => {
            (Some(id.to_json()), method.as_str(), params)
        }
        ClientMessage::Notification { method, params } => (None, method.as_str(), params),
        ClientMessage::Reply { id, .. } => (Some(id.to_json()), REPLY, &empty),
    };
    let is = |name: &str, expected: Option<&Json>| match found.fields.get(name) {
        None => true,
        Some(value) => expected.is_some_and(|expected| covers(expected, value)),
    };
    if found
        .fields
        .get("is_mcp_request")
        .is_some_and(|it| it.kind != Some(Kind::BoolValue(true)))
    {
        return differ("is_mcp_request");
    }
    if !is("method", Some(&Json::from(method))) {
        return differ("method");
    }
    if !is("id", id.as_ref()) {
        return differ("id");
    }
    if !matches!(message, ClientMessage::Reply { .. })
        && !is("params", Some(&Json::Object(params.clone())))
    {
        return differ("params");
    }
    Ok(())
}

/// Whether the body contains everything in `found`. The filter keeps numbers as doubles and leaves lists out.
fn covers(body: &Json, found: &WireValue) -> bool {
    match (&found.kind, body) {
        (Some(Kind::NullValue(_)), Json::Null) => true,
        (Some(Kind::BoolValue(found)), Json::Bool(body)) => found == body,
        (Some(Kind::StringValue(found)), Json::String(body)) => found == body,
        (Some(Kind::NumberValue(found)), Json::Number(body)) => body.as_f64() == Some(*found),
        (Some(Kind::StructValue(found)), Json::Object(body)) => found
            .fields
            .iter()
            .all(|(name, value)| body.get(name).is_some_and(|member| covers(member, value))),
        (Some(Kind::ListValue(found)), Json::Array(body)) => {
            found.values.len() == body.len()
                && body
                    .iter()
                    .zip(&found.values)
                    .all(|(body, found)| covers(body, found))
        }
        _ => false,
    }
}

/// Builds a message from the filter's metadata, where the configuration accepts it in place of the body.
pub(super) fn message_of(mut found: Map<String, Json>) -> Option<ClientMessage> {
    let Json::String(method) = found.remove("method")? else {
        return None;
    };
    let id = match found.remove("id") {
        None => None,
        Some(Json::String(text)) => Some(JsonRpcId::Text(text)),
        Some(Json::Number(number)) => Some(JsonRpcId::Number(number.as_i64()?)),
        Some(_) => return None,
    };
    let params = match found.remove("params") {
        None => Map::new(),
        Some(Json::Object(params)) => params,
        Some(_) => return None,
    };
    let is_mcp = found.get("is_mcp_request") == Some(&Json::Bool(true));
    match id {
        // The metadata does not contain the result of a JSON-RPC response.
        Some(id) if is_mcp && method == REPLY => Some(ClientMessage::Reply { id, content: None }),
        Some(id) if is_mcp => Some(ClientMessage::Request { id, method, params }),
        None if is_mcp => Some(ClientMessage::Notification { method, params }),
        _ => None,
    }
}

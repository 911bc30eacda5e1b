//! Protobuf messages in their JSON form (ProtoJSON): reads camelCase and snake_case, writes camelCase, and rejects unknown
//! fields and those given twice.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};

use crate::proto::{json_keys, v1};

/// JSON that is not the message, or a message that cannot be written as JSON.
#[derive(Debug, thiserror::Error)]
pub enum ProtoJsonError {
    /// Not JSON, or not this message.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// The descriptors do not know the message.
    #[error("`{0}` is not a message of this protocol")]
    Unknown(String),
    /// The message does not fit its own descriptor.
    #[error("{0}")]
    Protobuf(#[from] prost::DecodeError),
}

static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(v1::DESCRIPTOR).ok());

fn descriptor(name: &str) -> Result<MessageDescriptor, ProtoJsonError> {
    let found = POOL
        .as_ref()
        .and_then(|pool| pool.get_message_by_name(&format!("callgate.v1.{name}")));
    found.ok_or_else(|| ProtoJsonError::Unknown(name.to_owned()))
}

/// Reads the message with this name in `callgate.v1`, e.g. `CallContext`.
///
/// # Errors
///
/// [`ProtoJsonError`] if the text is not JSON, not this message, followed by more, or has a key twice.
pub fn read<T: Message + Default>(name: &str, text: &str) -> Result<T, ProtoJsonError> {
    let descriptor = descriptor(name)?;
    json_keys::check(descriptor.clone(), text)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let message = DynamicMessage::deserialize(descriptor, &mut reader)?;
    reader.end()?;
    Ok(message.transcode_to()?)
}

/// Writes the message with this name in `callgate.v1`. Fields with default values are left out.
///
/// # Errors
///
/// [`ProtoJsonError`] if the message does not match its descriptor.
pub fn write<T: Message>(name: &str, message: &T) -> Result<serde_json::Value, ProtoJsonError> {
    let mut dynamic = DynamicMessage::new(descriptor(name)?);
    dynamic.transcode_from(message)?;
    let options = SerializeOptions::new();
    Ok(dynamic.serialize_with_options(serde_json::value::Serializer, &options)?)
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;

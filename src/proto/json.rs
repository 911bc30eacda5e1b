//! The messages in protobuf's JSON form: camelCase or snake_case is read, camelCase is written, and
//! fields that a message does not have are refused.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};

use crate::proto::v1;

/// Why a text is not a message, or a message cannot become text.
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

/// Reads the message of this name, e.g. `CallContext`.
pub fn read<T: Message + Default>(name: &str, text: &str) -> Result<T, ProtoJsonError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let message = DynamicMessage::deserialize(descriptor(name)?, &mut reader)?;
    reader.end()?;
    Ok(message.transcode_to()?)
}

/// The message of this name as JSON; fields with default values are left out.
pub fn write<T: Message>(name: &str, message: &T) -> Result<serde_json::Value, ProtoJsonError> {
    let mut dynamic = DynamicMessage::new(descriptor(name)?);
    dynamic.transcode_from(message)?;
    let options = SerializeOptions::new();
    Ok(dynamic.serialize_with_options(serde_json::value::Serializer, &options)?)
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;

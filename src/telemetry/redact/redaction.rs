//! Replaces sensitive values in traces and logs by keyed digests (HMAC-SHA-256).
//!
//! Start at [`Redaction`]. Equal values have equal digests under one key, so traces can be correlated. Only the holder of the
//! key can test a guess.
//!
//! Invariant: without a key, a sensitive value is left out.

use std::net::IpAddr;
use std::sync::Arc;

use callgate_engine::cedar::EntityUID;
use hmac::{KeyInit, Mac};
use opentelemetry::{Key, KeyValue, Value};
use serde_json::{Map, Value as Json};
use sha2::Sha256;
use smol_str::format_smolstr;

use crate::audit::envelope::{Hmac, KeyedDigest};
use crate::config::telemetry::{CleartextFields, TelemetryConfig};
use crate::domain::request::canonical;
use crate::telemetry::redact::digest_cache::DigestCache;

/// Shortest key, in bytes.
pub const MIN_KEY_BYTES: usize = 32;

/// Longest exported argument, in bytes.
const MAX_ARGUMENT_BYTES: usize = 256;

/// Entity types in the namespace `Mcp` that name programs and tools, not users.
const CLEAR_TYPES: [&str; 6] = ["Agent", "Server", "Gateway", "Tool", "Prompt", "Group"];

/// Longest cached text, in bytes. Longer ones seldom recur.
const MAX_REMEMBERED_BYTES: usize = 256;

/// The state of HMAC-SHA-256 under a key.
type HmacKey = hmac::Hmac<Sha256>;

/// Replaces sensitive values, as the configuration says.
#[derive(Default)]
pub struct Redaction {
    key: Option<HmacKey>,
    clear: CleartextFields,
    arguments: Vec<ArgumentRule>,
    digests: DigestCache<String, Hmac>,
    addresses: DigestCache<IpAddr, Hmac>,
    entities: DigestCache<EntityUID, Arc<str>>,
}

/// An argument that may be exported in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ArgumentRule {
    /// Server and tool; `None` for every tool.
    tool: Option<(Box<str>, Box<str>)>,
    /// The argument's name.
    name: Box<str>,
    /// The span attribute.
    attribute: Key,
}

/// The key has too few bytes.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the key of the telemetry digests has {0} bytes, but needs at least {MIN_KEY_BYTES}")]
pub struct KeyTooShortError(pub usize);

impl Redaction {
    /// A redaction with a key.
    ///
    /// # Errors
    ///
    /// [`KeyTooShortError`] for a key of fewer than [`MIN_KEY_BYTES`].
    pub fn new(key: &[u8], config: &TelemetryConfig) -> Result<Self, KeyTooShortError> {
        if key.len() < MIN_KEY_BYTES {
            return Err(KeyTooShortError(key.len()));
        }
        Ok(Self {
            key: HmacKey::new_from_slice(key).ok(),
            clear: config.clear,
            arguments: config
                .arguments
                .allow
                .iter()
                .map(|text| ArgumentRule::parse(text))
                .collect(),
            digests: DigestCache::default(),
            addresses: DigestCache::default(),
            entities: DigestCache::default(),
        })
    }

    /// The kinds of values that the configuration allows in the clear.
    pub fn clear(&self) -> CleartextFields {
        self.clear
    }

    /// The keyed digest of a text.
    pub fn digest(&self, text: &str) -> Option<Hmac> {
        let key = self.key.as_ref()?;
        let make = || keyed_digest(key, text.as_bytes());
        Some(if text.len() <= MAX_REMEMBERED_BYTES {
            self.digests.get_or_insert_with(text, make)
        } else {
            make()
        })
    }

    /// The keyed digest of an address as it is written.
    pub fn address_digest(&self, address: IpAddr) -> Option<Hmac> {
        let key = self.key.as_ref()?;
        let make = || keyed_digest(key, format_smolstr!("{address}").as_bytes());
        Some(self.addresses.get_or_insert_with(&address, make))
    }

    /// The keyed digest of a call's arguments in canonical form, in hexadecimal.
    pub fn arguments_digest(&self, arguments: &Map<String, Json>) -> Option<HexDigest> {
        let key = self.key.as_ref()?;
        let digest = |text: &str| hex(&hmac_of(key, text.as_bytes()));
        Some(canonical::with_object_text(arguments, digest))
    }

    /// Passes the arguments that the configuration allows in the clear to `each`.
    pub fn clear_arguments(
        &self,
        server: &str,
        tool: &str,
        arguments: &Map<String, Json>,
        mut each: impl FnMut(KeyValue),
    ) {
        for rule in &self.arguments {
            let applies = match &rule.tool {
                None => true,
                Some((of_server, name)) => &**of_server == server && &**name == tool,
            };
            if let Some(value) = arguments.get(&*rule.name).filter(|_| applies) {
                each(KeyValue::new(rule.attribute.clone(), exported(value)));
            }
        }
    }

    /// An entity's name, with the id replaced if it may identify a user or is a URI.
    pub fn entity(&self, uid: &EntityUID) -> Arc<str> {
        let id: &str = uid.eid().as_ref();
        if id.len() > MAX_REMEMBERED_BYTES {
            return self.name(uid).into();
        }
        self.entities
            .get_or_insert_with(uid, || self.name(uid).into())
    }

    fn name(&self, uid: &EntityUID) -> String {
        let id: &str = uid.eid().as_ref();
        let of_type = uid.entity_type().to_string();
        if self.is_clear(&of_type) {
            return [&of_type, "::\"", id, "\""].concat();
        }
        match &self.key {
            Some(key) => [&of_type, "::hmac:", &hex(&hmac_of(key, id.as_bytes()))].concat(),
            None => [&of_type, "::redacted"].concat(),
        }
    }

    fn is_clear(&self, of_type: &str) -> bool {
        match of_type.strip_prefix("Mcp::") {
            Some("Resource") => self.clear.uris,
            Some(name) if CLEAR_TYPES.contains(&name) => true,
            // A type of another schema may name users.
            Some(_) | None => self.clear.users,
        }
    }
}

impl KeyedDigest for Redaction {
    fn digest(&self, text: &str) -> Option<Hmac> {
        Self::digest(self, text)
    }

    fn address_digest(&self, address: IpAddr) -> Option<Hmac> {
        Self::address_digest(self, address)
    }
}

impl std::fmt::Debug for Redaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key must not reach a log through a debug print.
        f.debug_struct("Redaction")
            .field("clear", &self.clear)
            .field("arguments", &self.arguments)
            .finish_non_exhaustive()
    }
}

impl ArgumentRule {
    fn parse(text: &str) -> Self {
        // A tool's name may contain slashes, a server's may not. Text without the long form is an argument's name.
        let scoped = text.split_once(':').and_then(|(tool, name)| {
            let (server, tool) = tool.split_once('/')?;
            Some(((server.into(), tool.into()), name))
        });
        let (tool, name) = match scoped {
            Some((tool, name)) => (Some(tool), name),
            None => (None, text),
        };
        let attribute = Key::from(format!("callgate.argument.{name}"));
        Self {
            tool,
            name: name.into(),
            attribute,
        }
    }
}

fn exported(value: &Json) -> Value {
    match value {
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Value::I64(value),
            (None, Some(value)) => Value::F64(value),
            (None, None) => cut(number.to_string()).into(),
        },
        Json::String(text) => cut(text.clone()).into(),
        Json::Null | Json::Array(_) | Json::Object(_) => cut(value.to_string()).into(),
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_ARGUMENT_BYTES {
        let fits = |end: &usize| text.is_char_boundary(*end);
        let end = (0..=MAX_ARGUMENT_BYTES).rev().find(fits).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The keyed digest of some bytes.
fn keyed_digest(key: &HmacKey, bytes: &[u8]) -> Hmac {
    let bytes = hmac_of(key, bytes);
    Hmac {
        bytes,
        hex: hex(&bytes).as_ref().into(),
    }
}

fn hmac_of(key: &HmacKey, bytes: &[u8]) -> [u8; 32] {
    let mut mac = key.clone();
    mac.update(bytes);
    mac.finalize().into_bytes().into()
}

fn hex(digest: &[u8; 32]) -> HexDigest {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(digest) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    HexDigest(text)
}

/// A digest in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HexDigest([u8; 64]);

impl std::ops::Deref for HexDigest {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_ref()
    }
}

impl AsRef<str> for HexDigest {
    fn as_ref(&self) -> &str {
        // Hexadecimal digits are valid UTF-8.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "redaction_tests.rs"]
mod tests;

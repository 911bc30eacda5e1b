//! Replaces sensitive values in traces and logs by keyed digests (HMAC-SHA-256).
//!
//! Start at [`Redaction`]. Equal values have equal digests under one key, so traces can be correlated. Only the holder of the
//! key can test a guess.
//!
//! Invariant: without a key, a sensitive value is left out.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use callgate_engine::cedar::EntityUID;
use hmac::{KeyInit, Mac};
use opentelemetry::{Key, KeyValue, Value};
use serde_json::{Map, Value as Json};
use sha2::Sha256;
use smol_str::format_smolstr;

use crate::audit::keyed_digest::{HexDigest, Hmac, KeyedDigest};
use crate::config::telemetry::{CleartextFields, TelemetryConfig};
use crate::domain::request::canonical;
use crate::domain::schema::mcp_name;
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
        })
    }

    /// The kinds of values that the configuration allows in the clear.
    pub fn clear(&self) -> CleartextFields {
        self.clear
    }

    /// The keyed digest of a text.
    pub fn digest(&self, text: &str) -> Option<Hmac> {
        let key = self.key.as_ref()?;
        let make = || hmac_of(key, text.as_bytes());
        Some(if text.len() <= MAX_REMEMBERED_BYTES {
            self.digests.get_or_insert_with(text, make)
        } else {
            make()
        })
    }

    /// The keyed digest of an address as it is written.
    pub fn address_digest(&self, address: IpAddr) -> Option<Hmac> {
        let key = self.key.as_ref()?;
        let make = || hmac_of(key, format_smolstr!("{address}").as_bytes());
        Some(self.addresses.get_or_insert_with(&address, make))
    }

    /// The keyed digest of a call's arguments in canonical form.
    pub fn arguments_digest(&self, arguments: &Map<String, Json>) -> Option<Hmac> {
        let key = self.key.as_ref()?;
        let digest = |text: &str| hmac_of(key, text.as_bytes());
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
    pub fn entity<'u>(&self, uid: &'u EntityUID) -> EntityName<'u> {
        let known = mcp_name(uid.entity_type());
        let of_type = match known {
            Some(name) => ("Mcp::", Cow::from(name)),
            None => ("", Cow::from(uid.entity_type().to_string())),
        };
        let id: &str = uid.eid().as_ref();
        let id = match self.is_clear(known) {
            true => ShownId::Clear(id),
            false => match self.digest(id) {
                Some(digest) => ShownId::Digest(digest.hex()),
                None => ShownId::Redacted,
            },
        };
        EntityName { of_type, id }
    }

    /// Whether ids of a type are shown: one of the namespace `Mcp`, or `None` for any other.
    fn is_clear(&self, of_type: Option<&str>) -> bool {
        match of_type {
            Some("Resource") => self.clear.uris,
            Some(name) if CLEAR_TYPES.contains(&name) => true,
            // A type of another schema may name users.
            Some(_) | None => self.clear.users,
        }
    }
}

/// The name of an entity as it is shown.
#[derive(Debug, Clone)]
pub struct EntityName<'u> {
    /// The namespace, if it is that of Callgate, and the rest of the type's name.
    of_type: (&'static str, Cow<'u, str>),
    id: ShownId<'u>,
}

/// What is shown of an id.
#[derive(Debug, Clone)]
enum ShownId<'u> {
    Clear(&'u str),
    Digest(HexDigest),
    Redacted,
}

impl EntityName<'_> {
    /// The name in pieces, which a span takes without joining them first.
    pub fn pieces(&self) -> [&str; 5] {
        let (namespace, name) = &self.of_type;
        match &self.id {
            ShownId::Clear(id) => [namespace, name, "::\"", id, "\""],
            ShownId::Digest(digest) => [namespace, name, "::hmac:", digest, ""],
            ShownId::Redacted => [namespace, name, "::redacted", "", ""],
        }
    }

    /// The name.
    pub fn to_text(&self) -> Arc<str> {
        self.pieces().concat().into()
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

fn hmac_of(key: &HmacKey, bytes: &[u8]) -> Hmac {
    let mut mac = key.clone();
    mac.update(bytes);
    Hmac(mac.finalize().into_bytes().into())
}

#[cfg(test)]
#[path = "redaction_tests.rs"]
mod tests;

//! What stands for a sensitive value in traces and logs: a keyed digest of it.
//!
//! Start at [`Redaction`]. Equal values have equal digests under one key, so a trace can still be
//! followed, and whoever holds the key can check a guess; nobody else can.
//!
//! Invariant: without a key nothing is exported in place of a sensitive value, rather than the value.

use std::collections::BTreeMap;
use std::io;

use cedar_policy_core::ast::EntityUID;
use hmac::{Hmac, KeyInit, Mac};
use opentelemetry::{Key, KeyValue, Value};
use serde_json::{Map, Value as Json};
use sha2::Sha256;

use crate::config::telemetry::{Clear, Telemetry};

/// Fewer bytes than these could be guessed.
pub const MIN_KEY_BYTES: usize = 32;

/// An exported argument is cut to this many bytes.
const MAX_ARGUMENT_BYTES: usize = 256;

/// Types of the namespace `Mcp` whose names are those of programs and tools, not of people.
const PROGRAMS: [&str; 6] = ["Agent", "Server", "Gateway", "Tool", "Prompt", "Group"];

/// Decides for each sensitive value what leaves in its place.
#[derive(Clone, Default)]
pub struct Redaction {
    key: Option<Hmac<Sha256>>,
    clear: Clear,
    arguments: Vec<ArgumentRule>,
}

/// Arguments that may be exported as they are.
#[derive(Debug, Clone)]
struct ArgumentRule {
    /// Server and tool; `None` for every tool.
    tool: Option<(Box<str>, Box<str>)>,
    /// Each argument's name, and the attribute it becomes.
    names: Vec<(Box<str>, Key)>,
}

/// Why a redaction cannot be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RedactionError {
    /// The key is too short to keep anything secret.
    #[error("the telemetry key has {0} bytes, but needs at least {MIN_KEY_BYTES}")]
    KeyTooShort(usize),
    /// A pattern that names no tool.
    #[error("telemetry.arguments: `{0}` is neither `*` nor `<server>/<tool>`")]
    NoSuchTool(String),
}

impl Redaction {
    /// A redaction with a key.
    pub fn new(key: &[u8], config: &Telemetry) -> Result<Self, RedactionError> {
        if key.len() < MIN_KEY_BYTES {
            return Err(RedactionError::KeyTooShort(key.len()));
        }
        Ok(Self {
            key: Hmac::new_from_slice(key).ok(),
            clear: config.clear,
            arguments: argument_rules(&config.arguments)?,
        })
    }

    /// What the configuration opened.
    pub fn clear(&self) -> Clear {
        self.clear
    }

    /// The keyed digest of a text, in hexadecimal.
    pub fn digest(&self, text: &str) -> Option<String> {
        let mut mac = self.key.clone()?;
        mac.update(text.as_bytes());
        Some(hex(mac))
    }

    /// The keyed digest of a call's arguments in RFC 8785 canonical form, in hexadecimal.
    pub fn arguments_digest(&self, arguments: &Map<String, Json>) -> Option<String> {
        let mut sink = MacWriter(self.key.clone()?);
        // The canonical form cannot hold some numbers; such arguments leave no digest.
        serde_json_canonicalizer::to_writer(arguments, &mut sink).ok()?;
        Some(hex(sink.0))
    }

    /// The arguments of one call that the configuration opened.
    pub fn open_arguments(
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
            if !applies {
                continue;
            }
            for (name, key) in &rule.names {
                if let Some(value) = arguments.get(&**name) {
                    each(KeyValue::new(key.clone(), exported(value)));
                }
            }
        }
    }

    /// An entity's name, its id replaced if it may be a person's or a URI.
    pub fn entity(&self, uid: &EntityUID) -> String {
        let id: &str = uid.eid().as_ref();
        let of_type = uid.entity_type().to_string();
        if self.is_clear(&of_type) {
            return [&of_type, "::\"", id, "\""].concat();
        }
        match self.digest(id) {
            Some(digest) => [&of_type, "::hmac:", &digest].concat(),
            None => [&of_type, "::redacted"].concat(),
        }
    }

    fn is_clear(&self, of_type: &str) -> bool {
        match of_type.strip_prefix("Mcp::") {
            Some("Resource") => self.clear.uris,
            Some(name) if PROGRAMS.contains(&name) => true,
            // Somebody's own type could name anybody.
            Some(_) | None => self.clear.users,
        }
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

fn argument_rules(
    config: &BTreeMap<String, Vec<String>>,
) -> Result<Vec<ArgumentRule>, RedactionError> {
    config
        .iter()
        .map(|(pattern, names)| {
            // A tool's own name may contain slashes, a server's may not.
            let tool = match pattern.split_once('/') {
                Some((server, tool)) if !server.is_empty() && !tool.is_empty() => {
                    Some((server.into(), tool.into()))
                }
                None if pattern == "*" => None,
                _ => return Err(RedactionError::NoSuchTool(pattern.clone())),
            };
            let names = names
                .iter()
                .map(|name| {
                    (
                        name.as_str().into(),
                        Key::from(format!("callgate.argument.{name}")),
                    )
                })
                .collect();
            Ok(ArgumentRule { tool, names })
        })
        .collect()
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
        text.truncate(text.floor_char_boundary(MAX_ARGUMENT_BYTES));
        text.push('…');
    }
    text
}

fn hex(mac: Hmac<Sha256>) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bytes = mac.finalize().into_bytes();
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Hashes what is written, so that the canonical text is never held in memory as a whole.
struct MacWriter(Hmac<Sha256>);

impl io::Write for MacWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;

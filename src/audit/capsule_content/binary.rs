//! Primitives of the encoding: variable-length integers, texts, times, uids and Cedar values.
//!
//! Integers are little-endian base 128 (LEB128), as in protocol buffers. A text is its length in bytes and its UTF-8. A
//! list is its length and its items. A uid is the number of its type, or 0 and the type's name, and its id.
//!
//! Invariant: a reader checks every length against what is left before it allocates, and nests no deeper than
//! [`MAX_DEPTH`]; damaged bytes are an error and never a panic.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::{
    Eid, EntityType, EntityUID, Expr, ExprKind, Extensions, FromNormalizedStr, Literal, Name,
    PartialValue, Value, ValueKind,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use smol_str::SmolStr;

use super::VERSION;
use crate::domain::schema;

/// The most levels that a value nests, JSON or Cedar's.
pub(super) const MAX_DEPTH: usize = 128;

/// Why bytes are not a capsule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapsuleContentError {
    /// The bytes end early.
    #[error("the capsule ends early")]
    Short,
    /// The bytes go on after the end.
    #[error("the capsule has {0} bytes after its end")]
    Long(usize),
    /// More bytes than a capsule may have.
    #[error("the capsule has {0} bytes, more than {most}", most = super::MAX_BYTES)]
    TooLarge(usize),
    /// A version that this program does not read.
    #[error("the capsule is of version {0}, which this program does not read")]
    Version(u8),
    /// A field that does not have its form.
    #[error("the capsule has a bad {0}")]
    Bad(&'static str),
}

/// Bytes under construction.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

/// Bytes being read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'b> {
    left: &'b [u8],
    depth: usize,
    /// The version of the encoding.
    pub(super) version: u8,
}

/// The types of the namespace `Mcp`, by their numbers from 1. A number never gets another meaning.
const KNOWN_TYPES: [&str; 10] = [
    "Agent", "User", "Tool", "Server", "Resource", "Group", "Gateway", "Task", "Prompt", "Action",
];

/// The type of this number.
fn known_type(number: u8) -> Option<&'static EntityType> {
    static TYPES: LazyLock<Vec<Option<EntityType>>> = LazyLock::new(|| {
        let named = |name| EntityType::from_normalized_str(&format!("Mcp::{name}")).ok();
        KNOWN_TYPES.into_iter().map(named).collect()
    });
    let place = usize::from(number).checked_sub(1)?;
    TYPES.get(place)?.as_ref()
}

impl Writer {
    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn bool(&mut self, bool: bool) {
        self.byte(u8::from(bool));
    }

    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            // The cast keeps the low seven bits.
            self.0.push((number as u8) | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// A signed number, with the sign in the lowest bit.
    pub(super) fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)) as u64);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// An optional value.
    pub(super) fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// A list.
    pub(super) fn list<T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.number(items.len() as u64);
        for item in items {
            write(self, item);
        }
    }

    pub(super) fn texts(&mut self, texts: &[impl AsRef<str>]) {
        self.list(texts.iter(), |out, text| out.text(text.as_ref()));
    }

    /// A time, to the nanosecond.
    pub(super) fn time(&mut self, at: SystemTime) {
        let (is_before, since) = match at.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => (false, since),
            Err(before) => (true, before.duration()),
        };
        self.bool(is_before);
        self.number(since.as_secs());
        self.number(since.subsec_nanos().into());
    }

    pub(super) fn uid(&mut self, uid: &EntityUID) {
        let ty = uid.entity_type();
        let name = schema::mcp_name(ty);
        match name.and_then(|name| KNOWN_TYPES.iter().position(|known| *known == name)) {
            Some(place) => self.byte(place as u8 + 1),
            None => {
                self.byte(0);
                self.text(&ty.to_string());
            }
        }
        self.text(uid.eid().as_ref());
    }

    pub(super) fn uids(&mut self, uids: &[EntityUID]) {
        self.list(uids.iter(), Self::uid);
    }

    /// A value as JSON text. Maps of texts, numbers and lists always serialize.
    pub(super) fn json<T: Serialize + ?Sized>(&mut self, value: &T) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        if serde_json::to_writer(&mut self.0, value).is_err() {
            self.0.truncate(start + 4);
        }
        let length = u32::try_from(self.0.len() - start - 4).unwrap_or(u32::MAX);
        self.0[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// A Cedar value.
    pub(super) fn value(&mut self, value: &Value) {
        match &value.value {
            ValueKind::Lit(literal) => self.literal(literal),
            ValueKind::Set(set) => {
                self.byte(5);
                self.list(set.authoritative.iter(), Self::value);
            }
            ValueKind::Record(record) => {
                self.byte(6);
                self.list(record.iter(), |out, (name, value)| {
                    out.text(name);
                    out.value(value);
                });
            }
            ValueKind::ExtensionValue(_) => self.expression(&Expr::from(value.clone())),
        }
    }

    fn literal(&mut self, literal: &Literal) {
        match literal {
            Literal::Bool(bool) => self.byte(u8::from(*bool)),
            Literal::Long(long) => {
                self.byte(2);
                self.signed(*long);
            }
            Literal::String(text) => {
                self.byte(3);
                self.text(text);
            }
            Literal::EntityUID(uid) => {
                self.byte(4);
                self.uid(uid);
            }
        }
    }

    /// The call that makes an extension value; an expression of another kind is one that no reader takes.
    fn expression(&mut self, expression: &Expr) {
        match expression.expr_kind() {
            ExprKind::Lit(literal) => self.literal(literal),
            ExprKind::ExtensionFunctionApp { fn_name, args } => {
                self.byte(7);
                self.text(&fn_name.to_string());
                self.list(args.iter(), Self::expression);
            }
            _ => self.byte(u8::MAX),
        }
    }
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self {
            left: bytes,
            depth: 0,
            version: VERSION,
        }
    }

    /// Checks that everything has been read.
    pub(super) fn end(self) -> Result<(), CapsuleContentError> {
        match self.left.len() {
            0 => Ok(()),
            left => Err(CapsuleContentError::Long(left)),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], CapsuleContentError> {
        let (taken, left) = self
            .left
            .split_at_checked(length)
            .ok_or(CapsuleContentError::Short)?;
        self.left = left;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, CapsuleContentError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn bool(&mut self) -> Result<bool, CapsuleContentError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CapsuleContentError::Bad("boolean")),
        }
    }

    pub(super) fn number(&mut self) -> Result<u64, CapsuleContentError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(CapsuleContentError::Bad("number"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, CapsuleContentError> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(super) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, CapsuleContentError> {
        T::try_from(self.number()?).map_err(|_| CapsuleContentError::Bad("number"))
    }

    pub(super) fn bytes(&mut self) -> Result<&'b [u8], CapsuleContentError> {
        let length = self.small()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Result<&'b str, CapsuleContentError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| CapsuleContentError::Bad("text"))
    }

    pub(super) fn short<T: From<SmolStr>>(&mut self) -> Result<T, CapsuleContentError> {
        Ok(SmolStr::new(self.text()?).into())
    }

    pub(super) fn maybe<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, CapsuleContentError>,
    ) -> Result<Option<T>, CapsuleContentError> {
        self.bool()?.then(|| read(self)).transpose()
    }

    pub(super) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, CapsuleContentError>,
    ) -> Result<Vec<T>, CapsuleContentError> {
        let length: usize = self.small()?;
        // Each item has at least one byte.
        if length > self.left.len() {
            return Err(CapsuleContentError::Short);
        }
        (0..length).map(|_| read(self)).collect()
    }

    pub(super) fn texts<T: From<SmolStr>>(&mut self) -> Result<Vec<T>, CapsuleContentError> {
        self.list(Self::short)
    }

    pub(super) fn time(&mut self) -> Result<SystemTime, CapsuleContentError> {
        let is_before = self.bool()?;
        let (seconds, nanos): (u64, u32) = (self.number()?, self.small()?);
        if nanos >= 1_000_000_000 {
            return Err(CapsuleContentError::Bad("time"));
        }
        let since = Duration::new(seconds, nanos);
        let epoch = SystemTime::UNIX_EPOCH;
        let at = match is_before {
            true => epoch.checked_sub(since),
            false => epoch.checked_add(since),
        };
        at.ok_or(CapsuleContentError::Bad("time"))
    }

    pub(super) fn uid(&mut self) -> Result<EntityUID, CapsuleContentError> {
        let ty = match self.byte()? {
            0 => EntityType::from_normalized_str(self.text()?)
                .map_err(|_| CapsuleContentError::Bad("entity type"))?,
            number => known_type(number)
                .cloned()
                .ok_or(CapsuleContentError::Bad("entity type"))?,
        };
        let id: SmolStr = self.short()?;
        Ok(EntityUID::from_components(ty, Eid::new(id), None))
    }

    pub(super) fn uids(&mut self) -> Result<Vec<EntityUID>, CapsuleContentError> {
        self.list(Self::uid)
    }

    pub(super) fn json_text(&mut self) -> Result<&'b [u8], CapsuleContentError> {
        let length = self.take(4)?;
        let length = u32::from_le_bytes(length.try_into().unwrap_or_default());
        self.take(length as usize)
    }

    pub(super) fn json<T: DeserializeOwned>(
        &mut self,
        what: &'static str,
    ) -> Result<T, CapsuleContentError> {
        serde_json::from_slice(self.json_text()?).map_err(|_| CapsuleContentError::Bad(what))
    }

    pub(super) fn object(&mut self) -> Result<serde_json::Map<String, Json>, CapsuleContentError> {
        self.json("JSON object")
    }

    /// A Cedar value.
    pub(super) fn value(&mut self) -> Result<Value, CapsuleContentError> {
        if self.depth == MAX_DEPTH {
            return Err(CapsuleContentError::Bad("value, which nests too deeply"));
        }
        self.depth += 1;
        let value = self.value_within();
        self.depth -= 1;
        value
    }

    fn value_within(&mut self) -> Result<Value, CapsuleContentError> {
        Ok(match self.byte()? {
            0 => Value::new(false, None),
            1 => Value::new(true, None),
            2 => Value::new(self.signed()?, None),
            3 => Value::new(self.short::<SmolStr>()?, None),
            4 => Value::new(self.uid()?, None),
            5 => Value::set(self.list(Self::value)?, None),
            6 => {
                let fields = self.list(|bytes| Ok((bytes.short()?, bytes.value()?)))?;
                Value::record_arc(Arc::new(fields.into_iter().collect()), None)
            }
            7 => {
                let name = Name::from_normalized_str(self.text()?)
                    .map_err(|_| CapsuleContentError::Bad("function"))?;
                let arguments = self.list(Self::value)?;
                let Ok(function) = Extensions::all_available().func(&name) else {
                    return Err(CapsuleContentError::Bad("function"));
                };
                match function.call(&arguments) {
                    Ok(PartialValue::Value(value)) => value,
                    _ => return Err(CapsuleContentError::Bad("value")),
                }
            }
            _ => return Err(CapsuleContentError::Bad("value")),
        })
    }
}

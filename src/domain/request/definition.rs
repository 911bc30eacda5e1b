//! Tool definitions and the digests that pin them.
//!
//! Start at [`ToolDefinition::from_json`]. Gateways parse and reserialize definitions, and drop members they
//! do not know (`execution`, vendor extensions), unknown hints and explicit nulls. So a pin covers only what
//! models read and what says how to call the tool.

use std::sync::Arc;

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::domain::request::canonical;
use crate::domain::request::visible::{folded, shown};

/// The pinned members, besides the name.
pub const MEMBERS: [&str; 5] = [
    "annotations",
    "description",
    "inputSchema",
    "outputSchema",
    "title",
];

/// The pinned annotations.
pub const HINTS: [&str; 5] = [
    "destructiveHint",
    "idempotentHint",
    "openWorldHint",
    "readOnlyHint",
    "title",
];

/// The length of the digest of a part, in hexadecimal digits. Parts are for diagnostics only.
const PART_DIGITS: usize = 16;

/// The digests that a definition matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionDigests {
    pinned: SmolStr,
    /// The digest over all members shown, if it differs: earlier pins were computed this way.
    whole: Option<SmolStr>,
}

/// A tool definition as it was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolDefinition {
    digests: DefinitionDigests,
    picked: Arc<Map<String, Json>>,
}

impl DefinitionDigests {
    /// The digests of a definition of which only one digest is known.
    pub fn from_digest(digest: SmolStr) -> Self {
        Self {
            pinned: digest,
            whole: None,
        }
    }

    /// The two digests of a definition.
    pub fn new(pinned: SmolStr, whole: SmolStr) -> Self {
        let whole = (whole != pinned).then_some(whole);
        Self { pinned, whole }
    }

    /// Whether the definition matches a pinned digest.
    pub fn are(&self, pinned: &str) -> bool {
        self.pinned == pinned || self.whole.as_deref() == Some(pinned)
    }

    /// The digest over the pinned members, `sha256:<hex>`.
    pub fn pinned(&self) -> &SmolStr {
        &self.pinned
    }

    /// The digest over all members shown.
    pub fn whole(&self) -> &SmolStr {
        self.whole.as_ref().unwrap_or(&self.pinned)
    }
}

/// The pinned member with this name.
pub fn member(name: &str) -> Option<&'static str> {
    MEMBERS.into_iter().find(|known| *known == name)
}

impl ToolDefinition {
    /// The definition of the tool called `name` on its server; gateways may show another name.
    ///
    /// # Errors
    ///
    /// Why the definition cannot be pinned, as the end of a sentence.
    pub fn from_json(definition: &Map<String, Json>, name: &str) -> Result<Self, String> {
        let is_said = |value: &&Json| !value.is_null();
        let mut picked = Map::new();
        picked.insert("name".to_owned(), Json::from(name));
        for member in MEMBERS {
            let value = definition.get(member).filter(is_said);
            let value = match value {
                Some(Json::Object(annotations)) if member == "annotations" => hints(annotations)?,
                value => value.cloned(),
            };
            picked.extend(value.map(|value| (member.to_owned(), value)));
        }
        let known = ["name"].into_iter().chain(MEMBERS);
        no_look_alike(definition, known)?;
        let mut whole = definition.clone();
        whole.insert("name".to_owned(), Json::from(name));
        let pinned = canonical::digest(&picked)?;
        let whole = match whole == picked {
            true => None,
            false => Some(canonical::digest(&whole)?.into()),
        };
        Ok(Self {
            digests: DefinitionDigests {
                pinned: pinned.into(),
                whole,
            },
            picked: Arc::new(picked),
        })
    }

    /// A definition that was shown but cannot be parsed; matches no pin.
    pub fn unreadable() -> Self {
        Self::from_digests(DefinitionDigests::from_digest(SmolStr::default()))
    }

    /// A definition of which only the digests are known.
    pub fn from_digests(digests: DefinitionDigests) -> Self {
        Self {
            digests,
            picked: Arc::default(),
        }
    }

    /// The digests that the definition matches.
    pub fn digests(&self) -> &DefinitionDigests {
        &self.digests
    }

    /// The digests of the parts, e.g. `description:0123456789abcdef title:…`.
    pub fn parts(&self) -> String {
        let parts: Vec<_> = MEMBERS
            .into_iter()
            .filter_map(|member| Some(format!("{member}:{}", self.part(member)?)))
            .collect();
        parts.join(" ")
    }

    /// The parts that differ from the pinned ones, given the latter's [`ToolDefinition::parts`].
    pub fn differs_in(&self, pinned: &str) -> Vec<&'static str> {
        let pinned_part = |member: &str| {
            let mut parts = pinned.split(' ').filter_map(|part| part.split_once(':'));
            parts.find(|(name, _)| *name == member).map(|(_, it)| it)
        };
        MEMBERS
            .into_iter()
            .filter(|member| self.part(member).as_deref() != pinned_part(member))
            .collect()
    }

    fn part(&self, member: &str) -> Option<String> {
        let mut digest = canonical::hex_digest(self.picked.get(member)?);
        digest.truncate(PART_DIGITS);
        Some(digest)
    }
}

/// Why a text cannot be the result of [`ToolDefinition::parts`]; `None` if it can.
pub fn parts_fault(text: &str) -> Option<&'static str> {
    let is_part = |part: &str| {
        part.split_once(':').is_some_and(|(name, digits)| {
            let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            MEMBERS.contains(&name) && digits.len() == PART_DIGITS && digits.bytes().all(is_hex)
        })
    };
    let is_fine = text.is_empty() || text.split(' ').all(is_part);
    (!is_fine).then_some("is not a list of parts of a definition, each with 16 hexadecimal digits")
}

/// The pinned annotations; `None` if there are none.
fn hints(annotations: &Map<String, Json>) -> Result<Option<Json>, String> {
    no_look_alike(annotations, HINTS.into_iter())?;
    let known = annotations.iter().filter(|(_, value)| !value.is_null());
    let known = known.filter(|(name, _)| HINTS.contains(&name.as_str()));
    let known: Map<_, _> = known.map(|(name, it)| (name.clone(), it.clone())).collect();
    Ok((!known.is_empty()).then_some(Json::Object(known)))
}

/// Rejects members that a case-insensitive parser would read as a pinned member.
fn no_look_alike<'n>(
    members: &Map<String, Json>,
    known: impl Iterator<Item = &'n str> + Clone,
) -> Result<(), String> {
    for name in members.keys() {
        let is_known = known.clone().any(|it| it == name);
        let alike = |it: &&str| it.eq_ignore_ascii_case(&folded(name));
        if let Some(alike) = known.clone().find(alike).filter(|_| !is_known) {
            return Err(format!("`{}` is no way to spell `{alike}`", shown(name)));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "definition_tests.rs"]
mod tests;

//! What of a tool's definition is pinned: what carries meaning, and what every gateway passes on.
//!
//! Start at [`Definition::of`], the one way from a definition to its digest. Gateways read definitions into types of
//! their own and write them anew, without members that they do not know (`execution`, a vendor's), without unknown
//! hints and without explicit nulls. So none of that is part of a pin; what a model reads and what says how to call the
//! tool is.

use std::sync::Arc;

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::domain::request::canonical;
use crate::domain::request::visible::{folded, shown};

/// What is pinned of a definition besides its name.
const MEMBERS: [&str; 5] = [
    "annotations",
    "description",
    "inputSchema",
    "outputSchema",
    "title",
];

/// What is pinned of its annotations.
const HINTS: [&str; 5] = [
    "destructiveHint",
    "idempotentHint",
    "openWorldHint",
    "readOnlyHint",
    "title",
];

/// Hexadecimal digits of a part's digest. It tells a person which part differs, and decides nothing.
const PART_DIGITS: usize = 16;

/// The digests by which a definition may be pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionDigests {
    pinned: SmolStr,
    /// Over all that was shown, if that is more than what is pinned: pins were once taken so.
    whole: Option<SmolStr>,
}

/// A tool's definition as somebody has seen it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolDefinition {
    digests: DefinitionDigests,
    picked: Arc<Map<String, Json>>,
}

impl DefinitionDigests {
    /// Of somebody who tells the digest alone.
    pub fn one(digest: SmolStr) -> Self {
        Self {
            pinned: digest,
            whole: None,
        }
    }

    /// Both of one definition.
    pub fn new(pinned: SmolStr, whole: SmolStr) -> Self {
        let whole = (whole != pinned).then_some(whole);
        Self { pinned, whole }
    }

    /// Whether this is what is pinned.
    pub fn are(&self, pinned: &str) -> bool {
        self.pinned == pinned || self.whole.as_deref() == Some(pinned)
    }

    /// The digest of what is pinned, `sha256:<hex>`.
    pub fn pinned(&self) -> &SmolStr {
        &self.pinned
    }

    /// The digest over everything that was shown.
    pub fn whole(&self) -> &SmolStr {
        self.whole.as_ref().unwrap_or(&self.pinned)
    }
}

/// The name of a part of a definition, as it is known here.
pub fn member(name: &str) -> Option<&'static str> {
    MEMBERS.into_iter().find(|known| *known == name)
}

impl ToolDefinition {
    /// The definition of the tool that its server calls `name`, whatever a gateway calls it. The error says why it can be
    /// nobody's pin.
    pub fn of(definition: &Map<String, Json>, name: &str) -> Result<Self, String> {
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

    /// One that nobody can have pinned: it is shown, and cannot be read.
    pub fn unreadable() -> Self {
        Self {
            digests: DefinitionDigests::one(SmolStr::default()),
            picked: Arc::default(),
        }
    }

    /// What it may be pinned by.
    pub fn digests(&self) -> &DefinitionDigests {
        &self.digests
    }

    /// A short digest of each part, e.g. `description:0123456789abcdef title:…`.
    pub fn parts(&self) -> String {
        let parts: Vec<_> = MEMBERS
            .into_iter()
            .filter_map(|member| Some(format!("{member}:{}", self.part(member)?)))
            .collect();
        parts.join(" ")
    }

    /// The parts in which it differs from what is pinned, given that one's [`Definition::parts`].
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

/// Why a text is not what [`Definition::parts`] gives; `None` if it could be.
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

/// The hints that are known, if any is there.
fn hints(annotations: &Map<String, Json>) -> Result<Option<Json>, String> {
    no_look_alike(annotations, HINTS.into_iter())?;
    let known = annotations.iter().filter(|(_, value)| !value.is_null());
    let known = known.filter(|(name, _)| HINTS.contains(&name.as_str()));
    let known: Map<_, _> = known.map(|(name, it)| (name.clone(), it.clone())).collect();
    Ok((!known.is_empty()).then_some(Json::Object(known)))
}

/// What is not pinned must not be taken for what is by a reader that does not mind the case of letters.
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

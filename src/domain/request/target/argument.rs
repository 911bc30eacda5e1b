//! Target arguments: which arguments of a tool name its targets, as registered.
//!
//! [`TargetArgumentForm`] is the external form, in files and requests: the name of an argument, or an object.
//! [`TargetArgument`] is its parsed form.

use callgate_engine::cedar::{Literal, Value, ValueKind};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value as Json, json};
use smol_str::SmolStr;

use crate::domain::names::check_label;
pub use crate::domain::request::target::argument_path::{
    ArgumentPath, MAX_ARGUMENT_BYTES, MAX_STEPS, PathStep,
};
use crate::domain::request::target::kind::TargetKind;
use crate::domain::request::target::url_base::UrlBase;
use crate::domain::request::target::{path, text};

/// The external form of a target argument.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetArgumentForm {
    /// The path of the argument: `path`, `files[].path`, `parent.page_id`.
    pub argument: String,
    /// The kind of target: `path`, `url`, `email`, `uuid` or `id`; inferred from the value if absent.
    pub kind: Option<String>,
    /// The base of relative paths, an absolute path or the argument that holds it; or the URL below which the argument is.
    pub base: Option<String>,
    /// The role of the target.
    pub role: Option<String>,
    /// Whether a call may omit the argument.
    pub optional: bool,
}

/// A target argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetArgument {
    /// The path of the argument.
    pub place: ArgumentPath,
    /// The kind of target; inferred from the value if `None`.
    pub kind: Option<TargetKind>,
    /// What the value is relative to.
    pub base: Option<TargetBase>,
    /// The role of the target.
    pub role: Option<SmolStr>,
    /// Whether a call may omit the argument.
    pub is_optional: bool,
}

/// What a value is relative to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetBase {
    /// A fixed absolute path, of relative paths.
    Fixed(SmolStr),
    /// The argument that holds the base of relative paths.
    Argument(ArgumentPath),
    /// The URL below which the tool puts the value.
    Url(UrlBase),
}

/// An invalid field of a target argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFieldError {
    /// The field: `argument`, `kind`, `base`, `role` or `optional`.
    pub field: &'static str,
    /// What is wrong; completes "`base` …".
    pub message: String,
}

impl TargetFieldError {
    pub(super) fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self {
            field,
            message: message.into(),
        }
    }
}

impl TargetArgument {
    /// Whether the value is a part of the URL that it names.
    pub fn is_part_of_url(&self) -> bool {
        matches!(self.base, Some(TargetBase::Url(_)))
    }

    /// The arguments at the top level from whose values the target is made.
    pub fn outermost(&self) -> impl Iterator<Item = &SmolStr> {
        let base = match &self.base {
            Some(TargetBase::Argument(place)) => Some(place),
            Some(TargetBase::Fixed(_) | TargetBase::Url(_)) | None => None,
        };
        let url = match &self.base {
            Some(TargetBase::Url(base)) => Some(base),
            Some(TargetBase::Fixed(_) | TargetBase::Argument(_)) | None => None,
        };
        let bases = base
            .into_iter()
            .chain(url.into_iter().flat_map(UrlBase::arguments));
        let places = std::iter::once(&self.place).chain(bases);
        places.filter_map(ArgumentPath::outermost)
    }

    /// Parses the external form.
    ///
    /// # Errors
    ///
    /// The first invalid field.
    pub fn read(written: &TargetArgumentForm) -> Result<Self, TargetFieldError> {
        let place = ArgumentPath::parse(&written.argument)
            .map_err(|message| TargetFieldError::new("argument", message))?;
        let kind = written.kind.as_deref().map(read_kind).transpose()?;
        let base = written.base.as_deref();
        let base = base.map(|base| read_base(kind, base)).transpose()?;
        let role = written.role.as_deref().map(read_role).transpose()?;
        Ok(Self {
            place,
            kind,
            base,
            role,
            is_optional: written.optional,
        })
    }
}

fn read_kind(name: &str) -> Result<TargetKind, TargetFieldError> {
    TargetKind::from_name(name).ok_or_else(|| {
        let known = TargetKind::NAMED.map(TargetKind::as_str).join("`, `");
        TargetFieldError::new("kind", format!("`{name}` is not one of `{known}`"))
    })
}

fn read_base(kind: Option<TargetKind>, base: &str) -> Result<TargetBase, TargetFieldError> {
    let fault = |message: String| TargetFieldError::new("base", message);
    match kind {
        Some(TargetKind::Url) => return UrlBase::parse(base).map(TargetBase::Url).map_err(fault),
        Some(TargetKind::Path) => {}
        _ => {
            let message = "is for arguments of the kinds `path` and `url`";
            return Err(TargetFieldError::new("base", message));
        }
    }
    if base.starts_with('/') {
        text::check(base)
            .and_then(|()| path::read(base, None))
            .map_err(|why| fault(format!("`{base}` {why}")))?;
        return Ok(TargetBase::Fixed(SmolStr::new(base)));
    }
    let place = ArgumentPath::parse(base).map_err(fault)?;
    if place.steps().contains(&PathStep::Items) {
        return Err(fault(format!(
            "`{base}` is in a list, so it is not one place"
        )));
    }
    Ok(TargetBase::Argument(place))
}

fn read_role(role: &str) -> Result<SmolStr, TargetFieldError> {
    match check_label(role) {
        Ok(()) => Ok(SmolStr::new(role)),
        Err(error) => Err(TargetFieldError::new("role", error.to_string())),
    }
}

impl TargetArgumentForm {
    /// A target argument given by its path only.
    pub fn named(argument: impl Into<String>) -> Self {
        Self {
            argument: argument.into(),
            ..Self::default()
        }
    }

    /// The attribute value in the entity of a tool, as Cedar JSON.
    pub fn attribute(&self) -> Json {
        let mut record = json!({"argument": self.argument, "optional": self.optional});
        for (name, value) in [
            ("kind", &self.kind),
            ("base", &self.base),
            ("role", &self.role),
        ] {
            if let Some(value) = value {
                record[name] = json!(value);
            }
        }
        record
    }

    /// Reads the attribute value of a tool's entity; `None` if it is malformed.
    pub fn of_value(value: &Value) -> Option<Self> {
        let ValueKind::Record(record) = &value.value else {
            return None;
        };
        let text = |name: &str| match &record.get(name)?.value {
            ValueKind::Lit(Literal::String(text)) => Some(text.to_string()),
            _ => None,
        };
        let is_optional = record.get("optional").map(|value| &value.value);
        Some(Self {
            argument: text("argument")?,
            kind: text("kind"),
            base: text("base"),
            role: text("role"),
            optional: matches!(is_optional, Some(ValueKind::Lit(Literal::Bool(true)))),
        })
    }
}

/// The members of the object form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetArgumentMembers {
    argument: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    optional: bool,
}

impl Serialize for TargetArgumentForm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            argument,
            kind,
            base,
            role,
            optional,
        } = self.clone();
        if self == &Self::named(&*argument) {
            return argument.serialize(serializer);
        }
        TargetArgumentMembers {
            argument,
            kind,
            base,
            role,
            optional,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TargetArgumentForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TargetArgumentVisitor)
    }
}

struct TargetArgumentVisitor;

impl<'de> Visitor<'de> for TargetArgumentVisitor {
    type Value = TargetArgumentForm;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name of an argument, or an object with `argument`, `kind`, `base`, `role` and `optional`")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<TargetArgumentForm, E> {
        Ok(TargetArgumentForm::named(name))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TargetArgumentForm, A::Error> {
        let TargetArgumentMembers {
            argument,
            kind,
            base,
            role,
            optional,
        } = TargetArgumentMembers::deserialize(MapAccessDeserializer::new(map))
            .map_err(A::Error::custom)?;
        Ok(TargetArgumentForm {
            argument,
            kind,
            base,
            role,
            optional,
        })
    }
}

#[cfg(test)]
#[path = "argument_tests.rs"]
mod tests;

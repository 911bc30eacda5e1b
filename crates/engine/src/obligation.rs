//! Obligations: what the enforcement point must do for a decision to hold. Parsed from `@obligation` when a policy is
//! loaded.
//!
//! Start at [`read`]. An annotation is a list of names, separated by commas, whose meaning the policies and the
//! enforcement point agree on (type `custom`); or it is JSON, one object or a list of objects of AuthZEN's obligations
//! profile: `{"type": "step-up", "properties": {"acr_value": "urn:example:loa:3"}}`.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

/// Longest annotation, in bytes.
const MAX_BYTES: usize = 16_384;
/// Most obligations of one policy.
const MAX_OBLIGATIONS: usize = 32;
/// Longest id, in bytes.
const MAX_ID_BYTES: usize = 256;
/// Longest text of a property, in bytes.
const MAX_TEXT_BYTES: usize = 4_096;
/// Most `amr_values`.
const MAX_METHODS: usize = 16;

/// The placeholder for the request's principal in an obligation's `subject`.
const PRINCIPAL: &str = "?principal";

/// The obligation types of AuthZEN's obligations profile.
pub const TYPES: [&str; 4] = [STEP_UP, NOTIFICATION, SESSION_TERMINATION, CUSTOM];

const STEP_UP: &str = "step-up";
const NOTIFICATION: &str = "notification";
const SESSION_TERMINATION: &str = "session_termination";
const CUSTOM: &str = "custom";

/// One obligation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obligation {
    /// Unique among the obligations of one decision.
    pub id: Box<str>,
    /// One of [`TYPES`].
    pub kind: &'static str,
    /// The properties of its type, with [`PRINCIPAL`] not yet replaced.
    properties: Map<String, Json>,
}

/// The JSON form of an obligation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ObligationForm {
    id: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    properties: Map<String, Json>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepUp {
    acr_value: String,
    amr_values: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Notification {
    to: String,
    body: String,
    topic: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionTermination {
    subject: String,
}

/// Parses the value of an annotation.
///
/// # Errors
///
/// A sentence without its subject, e.g. ``has an empty `to` in `properties` of `notification` ``.
pub fn read(text: &str) -> Result<Vec<Obligation>, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("is longer than {MAX_BYTES} bytes"));
    }
    let trimmed = text.trim_start();
    let obligations: Vec<Obligation> = if trimmed.starts_with('[') {
        let list: Vec<ObligationForm> =
            serde_json::from_str(trimmed).map_err(|it| json_error(&it))?;
        list.into_iter()
            .map(Obligation::from_form)
            .collect::<Result<_, _>>()?
    } else if trimmed.starts_with('{') {
        let one: ObligationForm = serde_json::from_str(trimmed).map_err(|it| json_error(&it))?;
        vec![Obligation::from_form(one)?]
    } else {
        parse_names(text)?
    };
    if obligations.len() > MAX_OBLIGATIONS {
        let count = obligations.len();
        return Err(format!(
            "has {count} obligations, but at most {MAX_OBLIGATIONS} are allowed"
        ));
    }
    let mut ids = HashSet::new();
    match obligations.iter().find(|it| !ids.insert(&it.id)) {
        Some(twice) if trimmed.starts_with('[') => Err(format!("has the id `{}` twice", twice.id)),
        _ => Ok(obligations),
    }
}

/// Parses an annotation that no loader has checked. Text that cannot be parsed becomes one custom obligation of that
/// name: no enforcement point can meet it, so the decision does not hold.
pub(crate) fn read_unchecked(text: &str) -> Vec<Obligation> {
    read(text).unwrap_or_else(|_| vec![Obligation::custom(text.trim())])
}

fn json_error(error: &serde_json::Error) -> String {
    format!("is not JSON of an obligation: {error}")
}

/// Interner, separated by commas.
fn parse_names(text: &str) -> Result<Vec<Obligation>, String> {
    let names = text.split(',').map(str::trim).filter(|it| !it.is_empty());
    let obligation = |name: &str| match TYPES.contains(&name) {
        true => Err(format!(
            "names the type `{name}` without its properties: write {{\"type\": \"{name}\", \"properties\": {{…}}}}"
        )),
        false => Ok(Obligation::custom(name)),
    };
    names.map(obligation).collect()
}

impl Obligation {
    /// An obligation whose meaning the policies and the enforcement point agree on.
    pub fn custom(name: &str) -> Self {
        Self {
            id: name.into(),
            kind: CUSTOM,
            properties: Map::from_iter([("name".to_owned(), name.into())]),
        }
    }

    /// Whether it is a custom obligation with a name and nothing else.
    pub fn is_a_name(&self) -> bool {
        *self == Self::custom(&self.id)
    }

    fn from_form(written: ObligationForm) -> Result<Self, String> {
        let kind = TYPES.into_iter().find(|it| *it == written.kind);
        let kind = kind.ok_or_else(|| {
            format!(
                "has the type `{}`, which is none of {}",
                written.kind,
                TYPES.map(|it| format!("`{it}`")).join(", ")
            )
        })?;
        check_properties(kind, &written.properties)?;
        let id = match written.id {
            None => default_id(kind, &written.properties),
            Some(id) => {
                check_id(&id)?;
                id
            }
        };
        Ok(Self {
            id: id.into(),
            kind,
            properties: written.properties,
        })
    }

    /// Its properties as they are written, for whichever principal.
    pub fn written_properties(&self) -> &Map<String, Json> {
        &self.properties
    }

    /// Its properties in a decision about `principal`.
    pub fn properties(&self, principal: &str) -> Map<String, Json> {
        let mut properties = self.properties.clone();
        if let (SESSION_TERMINATION, Some(subject)) = (self.kind, properties.get_mut("subject"))
            && subject == PRINCIPAL
        {
            *subject = principal.into();
        }
        properties
    }
}

/// An id derived from the content: equal obligations have equal ids.
fn default_id(kind: &str, properties: &Map<String, Json>) -> String {
    let written = json!(properties).to_string();
    let digest = Sha256::digest(written.as_bytes());
    let digest = digest.iter().take(4).map(|byte| format!("{byte:02x}"));
    format!("{kind}-{}", digest.collect::<String>())
}

fn check_id(id: &str) -> Result<(), String> {
    let is_fit = |c: char| !c.is_control() && c != ',' && c != '`';
    if id.trim().is_empty() || id.len() > MAX_ID_BYTES || !id.chars().all(is_fit) {
        return Err(format!(
            "has an `id` that is empty, longer than {MAX_ID_BYTES} bytes, or holds a comma, a backtick or a control character"
        ));
    }
    Ok(())
}

fn check_properties(kind: &'static str, properties: &Map<String, Json>) -> Result<(), String> {
    let said =
        |error: serde_json::Error| format!("has `properties` that are not of `{kind}`: {error}");
    let given = || Json::Object(properties.clone());
    match kind {
        STEP_UP => {
            let it: StepUp = serde_json::from_value(given()).map_err(said)?;
            check_text(kind, "acr_value", &it.acr_value)?;
            let methods = it.amr_values.unwrap_or_default();
            let is_stated = properties.contains_key("amr_values");
            if methods.len() > MAX_METHODS || is_stated && methods.is_empty() {
                return Err(format!(
                    "has `amr_values` that are not 1 to {MAX_METHODS} methods"
                ));
            }
            let mut methods = methods.iter();
            methods.try_for_each(|it| check_text(kind, "amr_values", it))
        }
        NOTIFICATION => {
            let it: Notification = serde_json::from_value(given()).map_err(said)?;
            check_text(kind, "to", &it.to)?;
            check_text(kind, "body", &it.body)?;
            match it.topic {
                Some(topic) => check_text(kind, "topic", &topic),
                None if properties.contains_key("topic") => Err(empty(kind, "topic")),
                None => Ok(()),
            }
        }
        SESSION_TERMINATION => {
            let it: SessionTermination = serde_json::from_value(given()).map_err(said)?;
            check_text(kind, "subject", &it.subject)?;
            match it.subject.starts_with('?') && it.subject != PRINCIPAL {
                true => Err(format!(
                    "has a `subject` that is neither an id nor `{PRINCIPAL}`"
                )),
                false => Ok(()),
            }
        }
        _ => match properties.values().all(fits_double) {
            true => Ok(()),
            false => Err("has a number beyond 2^53, which not every reader holds".to_owned()),
        },
    }
}

/// Whether every number keeps its value when read as a 64-bit float.
fn fits_double(json: &Json) -> bool {
    match json {
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => whole.unsigned_abs() <= 1 << 53,
            (None, whole) => whole.is_none(),
        },
        Json::Array(items) => items.iter().all(fits_double),
        Json::Object(fields) => fields.values().all(fits_double),
        _ => true,
    }
}

fn check_text(kind: &str, name: &str, text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err(empty(kind, name));
    }
    if text.len() > MAX_TEXT_BYTES {
        return Err(format!("has a `{name}` longer than {MAX_TEXT_BYTES} bytes"));
    }
    Ok(())
}

fn empty(kind: &str, name: &str) -> String {
    format!("has an empty `{name}` in `properties` of `{kind}`")
}

#[cfg(test)]
#[path = "obligation_tests.rs"]
mod tests;

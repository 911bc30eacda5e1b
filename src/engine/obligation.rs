//! What an answer obliges whoever enforces it to do: read from `@obligation`, once, when a policy is loaded.
//!
//! Start at [`read`]. An annotation names obligations, separated by commas, whose meaning is between the policies and
//! the enforcement point (`custom`); or it is JSON, one object or a list of objects as AuthZEN's obligations profile
//! has them: `{"type": "step-up", "properties": {"acr_value": "urn:example:loa:3"}}`.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

/// The longest annotation, in bytes.
const MAX_BYTES: usize = 16_384;
/// The most obligations of one policy.
const MAX_OBLIGATIONS: usize = 32;
/// The longest id, in bytes.
const MAX_ID_BYTES: usize = 256;
/// The longest text of a property, in bytes.
const MAX_TEXT_BYTES: usize = 4_096;
/// The most `amr_values`.
const MAX_METHODS: usize = 16;

/// What stands for whoever a decision is about in an obligation's `subject`.
const PRINCIPAL: &str = "?principal";

/// The types that can be asked for, as AuthZEN's obligations profile names them.
pub const TYPES: [&str; 4] = [STEP_UP, NOTIFICATION, SESSION_TERMINATION, CUSTOM];

const STEP_UP: &str = "step-up";
const NOTIFICATION: &str = "notification";
const SESSION_TERMINATION: &str = "session_termination";
const CUSTOM: &str = "custom";

/// One thing that has to be done for an answer to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obligation {
    /// Tells it from others of the same answer.
    pub id: Box<str>,
    /// One of [`TYPES`].
    pub kind: &'static str,
    /// Its particulars, by its type. Whom they are about may be open: see [`Obligation::properties`].
    properties: Map<String, Json>,
}

/// An obligation as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
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

/// Reads the value of an annotation. The error is a sentence.
pub fn read(text: &str) -> Result<Vec<Obligation>, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("is longer than {MAX_BYTES} bytes"));
    }
    let trimmed = text.trim_start();
    let obligations: Vec<Obligation> = if trimmed.starts_with('[') {
        let list: Vec<Written> = serde_json::from_str(trimmed).map_err(|it| not_json(&it))?;
        list.into_iter()
            .map(Obligation::of)
            .collect::<Result<_, _>>()?
    } else if trimmed.starts_with('{') {
        let one: Written = serde_json::from_str(trimmed).map_err(|it| not_json(&it))?;
        vec![Obligation::of(one)?]
    } else {
        named(text)?
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

/// Those of an annotation that nobody has checked. What cannot be read is one obligation by that text, which nobody
/// can meet: an answer that could not be enforced as it was meant does not hold.
pub(super) fn read_unchecked(text: &str) -> Vec<Obligation> {
    read(text).unwrap_or_else(|_| vec![Obligation::custom(text.trim())])
}

fn not_json(error: &serde_json::Error) -> String {
    format!("is not JSON of an obligation: {error}")
}

/// Names, separated by commas.
fn named(text: &str) -> Result<Vec<Obligation>, String> {
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
    /// One whose meaning is between the policies and whoever enforces them.
    pub fn custom(name: &str) -> Self {
        Self {
            id: name.into(),
            kind: CUSTOM,
            properties: Map::from_iter([("name".to_owned(), name.into())]),
        }
    }

    /// Whether its name says all there is to it.
    pub fn is_a_name(&self) -> bool {
        *self == Self::custom(&self.id)
    }

    fn of(written: Written) -> Result<Self, String> {
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

    /// Its particulars, in an answer about `principal`.
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

/// The same for the same obligation, wherever it is written.
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

/// Whether every number in it is the same to those who read numbers as doubles.
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
mod tests;

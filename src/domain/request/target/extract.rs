//! Extracts the targets of a call from its arguments.
//!
//! Start at [`targets`].

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

use crate::domain::request::target::argument::{
    ArgumentPath, PathStep, TargetArgument, TargetBase,
};
use crate::domain::request::target::canonical::Target;
use crate::domain::request::target::kind::{TargetError, TargetKind};
use crate::domain::request::target::url_base::{self, BaseSegment, UrlBase};
use crate::domain::request::target::{id, parse};

/// Why the targets of a call cannot be determined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallTargetError {
    /// A missing argument, e.g. `arguments.files[1].path`.
    Missing(String),
    /// An invalid value.
    Invalid(String),
    /// More targets than allowed.
    TooMany,
}

/// A value in the arguments and its path.
type LocatedValue<'a> = (String, &'a Json);

/// The targets that the arguments of a call name on a server, each once in each role.
///
/// # Errors
///
/// The first argument that is missing or invalid, or too many targets.
pub fn targets(
    server: &str,
    wanted: &[TargetArgument],
    arguments: &Map<String, Json>,
    most: usize,
) -> Result<Vec<Target>, CallTargetError> {
    let mut targets: Vec<Target> = Vec::new();
    for argument in wanted {
        let mut found = Vec::new();
        find(arguments, argument, &mut found)?;
        for (at, value) in found {
            for mut target in read_value(server, argument, &at, value, arguments)? {
                target.role.clone_from(&argument.role);
                if !targets.iter().any(|known| known.is_same(&target)) {
                    targets.push(target);
                }
            }
            if targets.len() > most {
                return Err(CallTargetError::TooMany);
            }
        }
    }
    Ok(targets)
}

fn read_value(
    server: &str,
    argument: &TargetArgument,
    at: &str,
    value: &Json,
    arguments: &Map<String, Json>,
) -> Result<Vec<Target>, CallTargetError> {
    let invalid = |fault: TargetError| invalid_at(at, fault);
    if let Some(TargetBase::Url(base)) = &argument.base {
        return Ok(vec![below_url(base, at, value, arguments)?]);
    }
    match (value, argument.kind) {
        (Json::String(text), kind) => {
            let is_relative = kind == Some(TargetKind::Path) && !text.starts_with('/');
            let base = match &argument.base {
                Some(TargetBase::Fixed(base)) => Some(base.as_str()),
                Some(TargetBase::Argument(place)) if is_relative => {
                    Some(base_of(place, arguments)?)
                }
                _ => None,
            };
            parse(server, kind, text, base).map_err(invalid)
        }
        (Json::Number(number), None | Some(TargetKind::Id)) => {
            let text = id::of_number(number).map_err(invalid)?;
            parse(server, Some(TargetKind::Id), &text, None).map_err(invalid)
        }
        _ => Err(CallTargetError::Invalid(format!(
            "{} is {}, which names no target of the kind `{}`",
            argument_at(at),
            word(value),
            argument.kind.map_or("text", TargetKind::as_str)
        ))),
    }
}

/// The target of a value that its tool puts below the base of a URL.
fn below_url<'a>(
    base: &'a UrlBase,
    at: &str,
    value: &'a Json,
    arguments: &'a Map<String, Json>,
) -> Result<Target, CallTargetError> {
    let segment = |segment: &'a BaseSegment| match segment {
        BaseSegment::Fixed(text) => Ok(Cow::Borrowed(text.as_str())),
        BaseSegment::Argument(place) => {
            let (at, value) = value_of(place, arguments)?;
            let value = url_part(&at, value)?;
            url_base::check_segment(&value).map_err(|fault| invalid_at(&at, fault))?;
            Ok(value)
        }
    };
    let segments = base.segments().iter().map(segment);
    let segments: Vec<_> = segments.collect::<Result<_, _>>()?;
    let invalid = |fault| invalid_at(at, fault);
    let part = url_part(at, value)?;
    let part = url_base::part_below(&part).map_err(invalid)?;
    base.target(&segments, part).map_err(invalid)
}

/// A text or a number that is a part of a URL.
fn url_part<'v>(at: &str, value: &'v Json) -> Result<Cow<'v, str>, CallTargetError> {
    match value {
        Json::String(text) => Ok(Cow::Borrowed(text)),
        Json::Number(number) => {
            let text = id::of_number(number).map_err(|fault| invalid_at(at, fault))?;
            Ok(Cow::Owned(text))
        }
        _ => Err(CallTargetError::Invalid(format!(
            "{} is {}, which is no part of a URL",
            argument_at(at),
            word(value)
        ))),
    }
}

fn invalid_at(at: &str, fault: TargetError) -> CallTargetError {
    CallTargetError::Invalid(format!("{} {fault}", argument_at(at)))
}

/// The base of a relative path.
fn base_of<'a>(
    place: &ArgumentPath,
    arguments: &'a Map<String, Json>,
) -> Result<&'a str, CallTargetError> {
    match value_of(place, arguments)? {
        (_, Json::String(text)) if text.starts_with('/') => Ok(text),
        (at, _) => Err(CallTargetError::Invalid(format!(
            "{} is not an absolute path, and another path is relative to it",
            argument_at(&at)
        ))),
    }
}

/// The value of an argument that is not in a list.
fn value_of<'a>(
    place: &ArgumentPath,
    arguments: &'a Map<String, Json>,
) -> Result<LocatedValue<'a>, CallTargetError> {
    let mut at = "arguments".to_owned();
    let mut members = Some(arguments);
    let mut value = None;
    for step in place.steps() {
        let PathStep::Member(name) = step else {
            return Err(CallTargetError::Invalid(format!(
                "{} is no place",
                argument_at(&at)
            )));
        };
        at = format!("{at}.{name}");
        value = members.and_then(|members| members.get(name.as_str()));
        members = value.and_then(Json::as_object);
    }
    match value {
        None | Some(Json::Null) => Err(CallTargetError::Missing(at)),
        Some(value) => Ok((at, value)),
    }
}

fn find<'a>(
    arguments: &'a Map<String, Json>,
    argument: &TargetArgument,
    found: &mut Vec<LocatedValue<'a>>,
) -> Result<(), CallTargetError> {
    let walk = TargetWalk {
        is_optional: argument.is_optional,
    };
    let at = "arguments".to_owned();
    match argument.place.steps().split_first() {
        Some((PathStep::Member(name), rest)) => walk.member(arguments, name, &at, rest, found),
        _ => Err(CallTargetError::Invalid(format!(
            "{} names no target",
            argument_at(&at)
        ))),
    }
}

struct TargetWalk {
    is_optional: bool,
}

impl TargetWalk {
    fn absent(&self, at: String) -> Result<(), CallTargetError> {
        match self.is_optional {
            true => Ok(()),
            false => Err(CallTargetError::Missing(at)),
        }
    }

    fn member<'a>(
        &self,
        members: &'a Map<String, Json>,
        name: &str,
        at: &str,
        rest: &[PathStep],
        found: &mut Vec<LocatedValue<'a>>,
    ) -> Result<(), CallTargetError> {
        let at = format!("{at}.{name}");
        match members.get(name) {
            None => self.absent(at),
            Some(value) => self.value(value, at, rest, found),
        }
    }

    fn value<'a>(
        &self,
        value: &'a Json,
        at: String,
        rest: &[PathStep],
        found: &mut Vec<LocatedValue<'a>>,
    ) -> Result<(), CallTargetError> {
        match (value, rest.split_first()) {
            (Json::Null, _) => self.absent(at),
            // A list of targets needs no final `[]`.
            (Json::Array(items), None) => self.items(items, &at, &[], found),
            (Json::Array(items), Some((PathStep::Items, rest))) => {
                self.items(items, &at, rest, found)
            }
            (Json::Object(members), Some((PathStep::Member(name), rest))) => {
                self.member(members, name, &at, rest, found)
            }
            (Json::String(_) | Json::Number(_) | Json::Bool(_) | Json::Object(_), None) => {
                found.push((at, value));
                Ok(())
            }
            (value, Some((wanted, _))) => {
                let wanted = match wanted {
                    PathStep::Items => "a list",
                    PathStep::Member(_) => "an object",
                };
                let what = word(value);
                Err(CallTargetError::Invalid(format!(
                    "{} is {what}, not {wanted}",
                    argument_at(&at)
                )))
            }
        }
    }

    fn items<'a>(
        &self,
        items: &'a [Json],
        at: &str,
        rest: &[PathStep],
        found: &mut Vec<LocatedValue<'a>>,
    ) -> Result<(), CallTargetError> {
        if items.is_empty() {
            return self.absent(at.to_owned());
        }
        for (index, item) in items.iter().enumerate() {
            let at = format!("{at}[{index}]");
            // A nested list that the path does not mention.
            if rest.is_empty() && item.is_array() {
                return Err(CallTargetError::Invalid(format!(
                    "{} is a list in a list",
                    argument_at(&at)
                )));
            }
            self.value(item, at, rest, found)?;
        }
        Ok(())
    }
}

/// The path of an argument in messages.
fn argument_at(at: &str) -> String {
    let within = at.strip_prefix("arguments.").unwrap_or(at);
    format!("argument `{within}`")
}

fn word(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

#[cfg(test)]
#[path = "extract_tests.rs"]
mod tests;

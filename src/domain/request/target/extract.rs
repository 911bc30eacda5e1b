//! Extracts the targets of a call from its arguments.
//!
//! Start at [`targets`].

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value as Json};
use smallvec::SmallVec;

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

/// Where in the arguments a value is, as a text only where an error says so: `arguments.files[1].path`.
#[derive(Clone)]
struct Location<'p> {
    steps: &'p [PathStep],
    /// Positions in the lists among the steps, and in a list at their end.
    positions: Positions,
}

/// Few targets are in a list, and fewer in a list of a list.
type Positions = SmallVec<[usize; 2]>;

/// What a call acts upon: most calls upon one thing.
pub type FoundTargets = SmallVec<[Target; 1]>;

/// A value in the arguments.
type LocatedValue<'p, 'a> = (Location<'p>, &'a Json);

/// Most arguments are one value.
type LocatedValues<'p, 'a> = SmallVec<[LocatedValue<'p, 'a>; 2]>;

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
) -> Result<FoundTargets, CallTargetError> {
    let mut targets = FoundTargets::new();
    for argument in wanted {
        for (at, value) in TargetWalk::through(arguments, argument)? {
            match &argument.base {
                Some(TargetBase::Url(base)) => {
                    let target = below_url(base, &at, value, arguments)?;
                    add_new(&mut targets, target, argument);
                }
                _ => {
                    for target in read_value(server, argument, &at, value, arguments)? {
                        add_new(&mut targets, target, argument);
                    }
                }
            }
            if targets.len() > most {
                return Err(CallTargetError::TooMany);
            }
        }
    }
    Ok(targets)
}

fn add_new(known: &mut FoundTargets, mut target: Target, argument: &TargetArgument) {
    target.role.clone_from(&argument.role);
    if !known.iter().any(|it| it.is_same(&target)) {
        known.push(target);
    }
}

/// The targets of a value that names them by itself, or as a path below another.
fn read_value(
    server: &str,
    argument: &TargetArgument,
    at: &Location<'_>,
    value: &Json,
    arguments: &Map<String, Json>,
) -> Result<Vec<Target>, CallTargetError> {
    let invalid = |fault: TargetError| invalid_at(at, fault);
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
    at: &Location<'_>,
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
    let segments = segments.collect::<Result<SmallVec<[_; 8]>, _>>()?;
    let invalid = |fault| invalid_at(at, fault);
    let part = url_part(at, value)?;
    let part = url_base::part_below(&part).map_err(invalid)?;
    base.target(&segments, part).map_err(invalid)
}

/// A text or a number that is a part of a URL.
fn url_part<'v>(at: &Location<'_>, value: &'v Json) -> Result<Cow<'v, str>, CallTargetError> {
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

fn invalid_at(at: &Location<'_>, fault: TargetError) -> CallTargetError {
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
fn value_of<'p, 'a>(
    place: &'p ArgumentPath,
    arguments: &'a Map<String, Json>,
) -> Result<LocatedValue<'p, 'a>, CallTargetError> {
    let steps = place.steps();
    let mut members = Some(arguments);
    let mut value = None;
    for (depth, step) in steps.iter().enumerate() {
        let PathStep::Member(name) = step else {
            let at = Location::of(&steps[..depth]);
            return Err(CallTargetError::Invalid(format!(
                "{} is no place",
                argument_at(&at)
            )));
        };
        value = members.and_then(|members| members.get(name.as_str()));
        members = value.and_then(Json::as_object);
    }
    let at = Location::of(steps);
    match value {
        None | Some(Json::Null) => Err(at.missing()),
        Some(value) => Ok((at, value)),
    }
}

/// Looks for the values of an argument that names targets.
struct TargetWalk<'p, 'a> {
    steps: &'p [PathStep],
    is_optional: bool,
    /// Of the lists on the way to what is looked at.
    positions: Positions,
    found: LocatedValues<'p, 'a>,
}

impl<'p, 'a> TargetWalk<'p, 'a> {
    fn through(
        arguments: &'a Map<String, Json>,
        argument: &'p TargetArgument,
    ) -> Result<LocatedValues<'p, 'a>, CallTargetError> {
        let mut walk = Self {
            steps: argument.place.steps(),
            is_optional: argument.is_optional,
            positions: Positions::new(),
            found: LocatedValues::new(),
        };
        match walk.steps.first() {
            Some(PathStep::Member(name)) => walk.value(arguments.get(name.as_str()), 1)?,
            _ => return Err(walk.wrong(0, "names no target")),
        }
        Ok(walk.found)
    }

    /// What so many steps lead to, if it is there.
    fn value(&mut self, value: Option<&'a Json>, depth: usize) -> Result<(), CallTargetError> {
        match (value, self.steps.get(depth)) {
            (None | Some(Json::Null), _) => self.absent(depth),
            // A list of targets needs no final `[]`.
            (Some(Json::Array(items)), None) => self.items(items, depth, depth),
            (Some(Json::Array(items)), Some(PathStep::Items)) => {
                self.items(items, depth, depth + 1)
            }
            (Some(Json::Object(members)), Some(PathStep::Member(name))) => {
                self.value(members.get(name.as_str()), depth + 1)
            }
            (Some(value), None) => {
                let at = self.at(depth);
                self.found.push((at, value));
                Ok(())
            }
            (Some(value), Some(wanted)) => {
                let wanted = match wanted {
                    PathStep::Items => "a list",
                    PathStep::Member(_) => "an object",
                };
                let what = word(value);
                Err(self.wrong(depth, &format!("is {what}, not {wanted}")))
            }
        }
    }

    /// The items of a list that so many steps lead to. After `inner` steps one is in it.
    fn items(
        &mut self,
        items: &'a [Json],
        depth: usize,
        inner: usize,
    ) -> Result<(), CallTargetError> {
        if items.is_empty() {
            return self.absent(depth);
        }
        for (position, item) in items.iter().enumerate() {
            self.positions.push(position);
            // A nested list that the path does not mention.
            if inner == self.steps.len() && item.is_array() {
                return Err(self.wrong(inner, "is a list in a list"));
            }
            self.value(Some(item), inner)?;
            self.positions.pop();
        }
        Ok(())
    }

    fn absent(&self, depth: usize) -> Result<(), CallTargetError> {
        match self.is_optional {
            true => Ok(()),
            false => Err(self.at(depth).missing()),
        }
    }

    fn wrong(&self, depth: usize, why: &str) -> CallTargetError {
        CallTargetError::Invalid(format!("{} {why}", argument_at(&self.at(depth))))
    }

    fn at(&self, depth: usize) -> Location<'p> {
        Location {
            steps: self.steps.get(..depth).unwrap_or(self.steps),
            positions: self.positions.clone(),
        }
    }
}

impl<'p> Location<'p> {
    /// Without lists on the way.
    fn of(steps: &'p [PathStep]) -> Self {
        Self {
            steps,
            positions: Positions::new(),
        }
    }

    fn missing(&self) -> CallTargetError {
        CallTargetError::Missing(self.to_string())
    }
}

impl fmt::Display for Location<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("arguments")?;
        let mut positions = self.positions.iter();
        for step in self.steps {
            match (step, positions.as_slice()) {
                (PathStep::Member(name), _) => write!(formatter, ".{name}")?,
                (PathStep::Items, [position, ..]) => {
                    write!(formatter, "[{position}]")?;
                    positions.next();
                }
                (PathStep::Items, []) => formatter.write_str("[]")?,
            }
        }
        positions.try_for_each(|position| write!(formatter, "[{position}]"))
    }
}

/// The path of an argument in messages.
fn argument_at(at: &Location<'_>) -> String {
    let at = at.to_string();
    let within = at.strip_prefix("arguments.").unwrap_or(&at);
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

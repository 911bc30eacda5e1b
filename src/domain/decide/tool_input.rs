//! The arguments of a call as facts: the names of all, the values of those typed by the tool's own action.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, LazyLock};

use callgate_engine::Snapshot;
use callgate_engine::cedar::{Attributes, EntityUID, Name, Type, Value};
use serde_json::{Map, Value as Json};
use smallvec::SmallVec;
use smol_str::{SmolStr, format_smolstr};

use crate::domain::registration::RegisteredTool;
use crate::domain::request::target::host::extension_value;

static DECIMAL: LazyLock<Option<Name>> =
    LazyLock::new(|| Name::parse_unqualified_name("decimal").ok());

/// Names of arguments; most calls have few.
pub type ArgumentNames = SmallVec<[SmolStr; 4]>;

/// Parsed arguments.
#[derive(Debug, Clone, Default)]
pub struct ToolInput {
    /// The names of all arguments.
    pub names: ArgumentNames,
    /// The paths of arguments that `typed` does not cover, at any depth, e.g. `files[].meta`. `None`: all of `names`.
    pub untyped: Option<Vec<SmolStr>>,
    /// The paths of arguments that the pinned schema does not declare, at any depth. `None`: all of `names`.
    pub undeclared: Option<Vec<SmolStr>>,
    /// The record `context.input`, if the action declares one.
    pub typed: Option<Value>,
    /// The tool, whose registration says which arguments name targets.
    pub tool: Option<Arc<RegisteredTool>>,
}

impl ToolInput {
    /// Arguments of which nothing but the names is known.
    pub fn of_names(names: impl IntoIterator<Item = SmolStr>) -> Self {
        Self {
            names: names.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// An argument whose value does not have the declared type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("argument `{path}` is not {expected}")]
pub struct InputError {
    /// The path of the argument, e.g. `input.labels`.
    pub path: String,
    /// The declared type.
    pub expected: &'static str,
}

/// Parses the arguments of a call for an action. Absent required arguments stay absent: the check of the
/// whole context reports them together with other missing facts.
///
/// # Errors
///
/// [`InputError`] for the first value that does not have the declared type.
pub fn read(
    snapshot: &Snapshot,
    action: &EntityUID,
    arguments: &Map<String, Json>,
) -> Result<ToolInput, InputError> {
    let named = ToolInput::of_names(arguments.keys().map(SmolStr::new));
    let Some(declared) = declared_input(snapshot, action) else {
        return Ok(named);
    };
    let mut untyped = BTreeSet::new();
    let typed = record(arguments, declared, &Path::Input, &mut untyped)?;
    Ok(ToolInput {
        untyped: Some(untyped.into_iter().collect()),
        typed: Some(typed),
        ..named
    })
}

fn declared_input<'s>(snapshot: &'s Snapshot, action: &EntityUID) -> Option<&'s Attributes> {
    let input = snapshot.context_attributes(action)?.get_attr("input")?;
    match &*input.attr_type {
        Type::Record { attrs, .. } => Some(attrs),
        _ => None,
    }
}

/// Where a value stands among the arguments. Written out only where a text is needed.
#[derive(Clone, Copy)]
enum Path<'p> {
    /// All arguments.
    Input,
    /// A member of an object.
    Member(&'p Path<'p>, &'p str),
    /// An item of a list.
    Item(&'p Path<'p>, usize),
}

impl Path<'_> {
    /// Without indexes and relative to the input, e.g. `files[].meta`.
    fn general(&self) -> String {
        match self {
            Self::Input => String::new(),
            Self::Member(Self::Input, name) => (*name).to_owned(),
            Self::Member(of, name) => format!("{}.{name}", of.general()),
            Self::Item(of, _) => format!("{}[]", of.general()),
        }
    }
}

/// As in errors, e.g. `input.files[3].meta`.
impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input => f.write_str("input"),
            Self::Member(of, name) => write!(f, "{of}.{name}"),
            Self::Item(of, index) => write!(f, "{of}[{index}]"),
        }
    }
}

fn record(
    members: &Map<String, Json>,
    declared: &Attributes,
    path: &Path<'_>,
    untyped: &mut BTreeSet<SmolStr>,
) -> Result<Value, InputError> {
    let mut fields = BTreeMap::new();
    for name in members
        .keys()
        .filter(|name| declared.get_attr(name).is_none())
    {
        untyped.insert(SmolStr::new(Path::Member(path, name).general()));
    }
    for (name, attribute) in declared.iter() {
        // JSON clients send null for absent values.
        if let Some(member) = members
            .get(name.as_str())
            .filter(|member| !member.is_null())
        {
            let path = Path::Member(path, name);
            let value = value(member, &attribute.attr_type, &path, untyped)?;
            fields.insert(name.clone(), value);
        }
    }
    Ok(Value::record_arc(Arc::new(fields), None))
}

fn value(
    json: &Json,
    declared: &Type,
    path: &Path<'_>,
    untyped: &mut BTreeSet<SmolStr>,
) -> Result<Value, InputError> {
    let not = |expected| InputError {
        path: path.to_string(),
        expected,
    };
    match declared {
        Type::Bool(_) => {
            let bool = json.as_bool().ok_or_else(|| not("true or false"))?;
            Ok(Value::new(bool, None))
        }
        Type::Long => {
            let long = json
                .as_i64()
                .ok_or_else(|| not("a whole number of 64 bits"))?;
            // Many servers parse numbers as doubles; a number that a double does not hold would change
            // between decision and execution.
            match is_exact_in_double(long) {
                true => Ok(Value::new(long, None)),
                false => Err(not(
                    "a whole number that every reader takes for the same one",
                )),
            }
        }
        Type::ExtensionType { name } if Some(name) == DECIMAL.as_ref() => decimal(json)
            .ok_or_else(|| not("a number of at most four places that Cedar's decimal holds")),
        Type::String => {
            let text = json.as_str().ok_or_else(|| not("text"))?;
            Ok(Value::new(SmolStr::new(text), None))
        }
        Type::Set {
            element_type: Some(element),
        } => {
            let items = json.as_array().ok_or_else(|| not("a list"))?;
            let items: Vec<Value> = items
                .iter()
                .enumerate()
                .map(|(index, item)| value(item, element, &Path::Item(path, index), untyped))
                .collect::<Result<_, _>>()?;
            Ok(Value::set(items, None))
        }
        Type::Record { attrs, .. } => {
            let members = json.as_object().ok_or_else(|| not("an object"))?;
            record(members, attrs, path, untyped)
        }
        Type::Never
        | Type::Entity(_)
        | Type::Set { element_type: None }
        | Type::ExtensionType { .. } => Err(not("of a type that arguments can have")),
    }
}

/// Whether a double represents this integer exactly.
fn is_exact_in_double(long: i64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "the loss is what is looked for")]
    let double = long as f64;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a whole number within 128 bits"
    )]
    let whole = double as i128;
    whole == i128::from(long)
}

/// A number as a Cedar `decimal` with at most four decimal places; never rounded.
fn decimal(json: &Json) -> Option<Value> {
    let number = json.as_number()?;
    let text = match number.as_i64() {
        Some(whole) => format_smolstr!("{whole}.0"),
        // Rust formats a double with the fewest digits that round-trip, without an exponent.
        None => format_smolstr!("{}", number.as_f64()?),
    };
    extension_value(&DECIMAL, text)
}

#[cfg(test)]
#[path = "tool_input_tests.rs"]
mod tests;

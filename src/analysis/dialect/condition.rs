//! Rewrites conditions, as Cedar's JSON form of expressions.
//!
//! Whatever is not known to mean the same is refused. Where a translation can only be close, [`Safe`] says on which side.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::analysis::dialect::names::{Lookup, Names};
use crate::analysis::dialect::translate::{Target, map_entity};
use crate::analysis::dialect::{Dialect, agentcore, agents, toolhive};

/// The deepest nesting of expressions.
const MAX_DEPTH: usize = 200;

/// Which value of a condition can do no harm where it is not exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safe {
    /// False: what a permit requires.
    False,
    /// True: what a forbid applies to.
    True,
    /// None: it has to be exact.
    Neither,
}

impl Safe {
    /// Of a negated condition.
    pub fn flipped(self) -> Self {
        match self {
            Self::False => Self::True,
            Self::True => Self::False,
            Self::Neither => Self::Neither,
        }
    }
}

/// The conditions of one policy, for one thing that it is about.
pub struct Conditions<'n, 'o> {
    names: &'n Names<'o>,
    dialect: Dialect,
    target: &'n Target,
    is_forbid: bool,
    reads_input: Cell<bool>,
    /// The claims that were tested for.
    tested: RefCell<BTreeSet<String>>,
    pub(super) notes: RefCell<BTreeSet<String>>,
    pub(super) needs: RefCell<BTreeSet<String>>,
}

impl<'n, 'o> Conditions<'n, 'o> {
    /// The conditions of a policy.
    pub fn new(
        names: &'n Names<'o>,
        dialect: Dialect,
        target: &'n Target,
        is_forbid: bool,
    ) -> Self {
        Self {
            names,
            dialect,
            target,
            is_forbid,
            reads_input: Cell::new(false),
            tested: RefCell::default(),
            notes: RefCell::default(),
            needs: RefCell::default(),
        }
    }

    /// Notes that arguments are read.
    pub fn reads_input(&self) {
        self.reads_input.set(true);
    }

    /// Whether arguments are read.
    pub fn has_read_input(&self) -> bool {
        self.reads_input.get()
    }

    /// Notes that the policy tests whether a claim is there.
    pub fn tests_for(&self, claim: &str) {
        self.tested.borrow_mut().insert(claim.to_owned());
    }

    /// Whether the policy has tested for a claim before.
    pub fn has_tested_for(&self, claim: &str) -> bool {
        self.tested.borrow().contains(claim)
    }

    /// Adds a remark for the report.
    pub fn note(&self, note: String) {
        self.notes.borrow_mut().insert(note);
    }

    /// The tool that the policy is about.
    pub fn tool(&self) -> Option<(&str, &str)> {
        match self.target {
            Target::Tool { server, tool } => Some((server, tool)),
            _ => None,
        }
    }

    /// What is looked for, has to be there for a forbid.
    pub fn require(&self, found: Lookup) -> Result<(), String> {
        match found {
            Lookup::There => Ok(()),
            Lookup::Lacking(why) if self.is_forbid => Err(why),
            Lookup::Lacking(why) => {
                self.needs.borrow_mut().insert(why);
                Ok(())
            }
        }
    }

    /// A tag that claims are to give.
    pub fn tag(&self, tag: &str) -> Result<(), String> {
        self.require(self.names.look_up_tag(tag))
    }

    /// Rewrites a condition.
    ///
    /// # Errors
    ///
    /// Why it cannot be carried over.
    pub fn rewrite(&self, expr: &Json, safe: Safe) -> Result<Json, String> {
        self.expr(expr, safe, 0)
    }

    fn expr(&self, expr: &Json, safe: Safe, depth: usize) -> Result<Json, String> {
        if depth > MAX_DEPTH {
            return Err("its conditions nest too deep".to_owned());
        }
        let leaf = match self.dialect {
            Dialect::Agentcore => agentcore::leaf(self, expr, safe),
            Dialect::CedarForAgents => agents::leaf(self, expr, safe),
            Dialect::Toolhive => toolhive::leaf(self, expr, safe),
        };
        if let Some(rewritten) = leaf {
            return rewritten;
        }
        let below = |part: &Json, safe: Safe| self.expr(part, safe, depth + 1);
        let Some((operator, operands)) = single(expr) else {
            return Err("it has a form that is not known".to_owned());
        };
        match operator {
            "Value" => self.value(operands),
            "&&" | "||" => {
                let (left, right) = (&operands["left"], &operands["right"]);
                Ok(binary(operator, below(left, safe)?, below(right, safe)?))
            }
            "!" => Ok(not(below(&operands["arg"], safe.flipped())?)),
            "if-then-else" => Ok(json!({"if-then-else": {
                "if": below(&operands["if"], Safe::Neither)?,
                "then": below(&operands["then"], safe)?,
                "else": below(&operands["else"], safe)?,
            }})),
            "==" | "!=" | "in" if is_principal(&operands["left"]) => {
                let right = below(&operands["right"], Safe::Neither)?;
                Ok(binary(operator, variable("principal"), right))
            }
            "is" if is_principal(&operands["left"]) => self.is(operands, depth),
            "==" | "!=" | "<" | "<=" | ">" | ">=" | "+" | "-" | "*" | "in" | "contains"
            | "containsAll" | "containsAny" => {
                let left = below(&operands["left"], Safe::Neither)?;
                Ok(binary(
                    operator,
                    left,
                    below(&operands["right"], Safe::Neither)?,
                ))
            }
            "neg" | "isEmpty" => {
                let arg = below(&operands["arg"], Safe::Neither)?;
                Ok(json!({operator: {"arg": arg}}))
            }
            "like" => {
                let left = below(&operands["left"], Safe::Neither)?;
                Ok(json!({"like": {"left": left, "pattern": operands["pattern"]}}))
            }
            "Set" => self.list("Set", operands, depth),
            "decimal" | "ip" | "datetime" | "duration" | "lessThan" | "lessThanOrEqual"
            | "greaterThan" | "greaterThanOrEqual" | "isIpv4" | "isIpv6" | "isLoopback"
            | "isMulticast" | "isInRange" | "offset" | "durationSince" | "toDate" | "toTime" => {
                self.list(operator, operands, depth)
            }
            _ => Err(format!("{} has no counterpart here", shown(expr))),
        }
    }

    fn list(&self, operator: &str, items: &Json, depth: usize) -> Result<Json, String> {
        let items = items.as_array().into_iter().flatten();
        let items = items.map(|it| self.expr(it, Safe::Neither, depth + 1));
        let items: Vec<Json> = items.collect::<Result<_, _>>()?;
        Ok(json!({operator: items}))
    }

    fn value(&self, value: &Json) -> Result<Json, String> {
        let Some(uid) = value.get("__entity") else {
            return Ok(json!({"Value": value}));
        };
        let uid = map_entity(self, self.names, self.dialect, uid)?;
        Ok(json!({"Value": {"__entity": uid}}))
    }

    /// `principal is Type`, and `in` something.
    fn is(&self, operands: &Json, depth: usize) -> Result<Json, String> {
        let ty = operands["entity_type"].as_str().unwrap_or_default();
        let ty = super::translate::principal_type(self.dialect, ty)?;
        let mut is = json!({"left": variable("principal"), "entity_type": ty});
        if let Some(group) = operands.get("in") {
            is["in"] = self.expr(group, Safe::Neither, depth + 1)?;
        }
        Ok(json!({"is": is}))
    }
}

/// The one operator of an expression with its operands.
pub fn single(expr: &Json) -> Option<(&str, &Json)> {
    let members = expr.as_object()?;
    let (operator, operands) = members.iter().next()?;
    (members.len() == 1).then_some((operator.as_str(), operands))
}

fn is_principal(expr: &Json) -> bool {
    single(expr) == Some(("Var", &json!("principal")))
}

/// A variable with the attributes read of it, one after the other.
pub fn attribute(expr: &Json) -> Option<(&str, Vec<&str>)> {
    match single(expr)? {
        ("Var", name) => Some((name.as_str()?, Vec::new())),
        (".", operands) => {
            let (variable, mut path) = attribute(operands.get("left")?)?;
            path.push(operands.get("attr")?.as_str()?);
            Some((variable, path))
        }
        _ => None,
    }
}

/// Whether it reads this attribute of the context, something within it, or whether that is there.
pub fn attribute_of_context(expr: &Json, name: &str) -> bool {
    let read = match has(expr) {
        Some((_, tested)) => {
            let left = single(expr).and_then(|(_, operands)| attribute(operands.get("left")?));
            left.map(|(variable, mut path)| {
                path.push(tested);
                (variable, path)
            })
        }
        None => attribute(expr),
    };
    read.is_some_and(|(variable, path)| variable == "context" && path.first() == Some(&name))
}

/// `x has name`, with the variable that `x` begins with.
pub fn has(expr: &Json) -> Option<(&str, &str)> {
    let ("has", operands) = single(expr)? else {
        return None;
    };
    let (variable, _) = attribute(operands.get("left")?)?;
    Some((variable, operands.get("attr")?.as_str()?))
}

/// `principal.hasTag("tag")`.
pub fn has_tag(expr: &Json) -> Option<&str> {
    tag_of(expr, "hasTag")
}

/// `principal.getTag("tag")`.
pub fn get_tag(expr: &Json) -> Option<&str> {
    tag_of(expr, "getTag")
}

fn tag_of<'e>(expr: &'e Json, operator: &str) -> Option<&'e str> {
    let (found, operands) = single(expr)?;
    let is_meant = found == operator && is_principal(operands.get("left")?);
    text(operands.get("right")?).filter(|_| is_meant)
}

/// `x like "pattern"`.
pub fn like(expr: &Json) -> Option<(&Json, &Json)> {
    let ("like", operands) = single(expr)? else {
        return None;
    };
    Some((operands.get("left")?, operands.get("pattern")?))
}

/// `x.contains(y)`.
pub fn containing(expr: &Json) -> Option<(&Json, &Json)> {
    let ("contains", operands) = single(expr)? else {
        return None;
    };
    Some((operands.get("left")?, operands.get("right")?))
}

/// `x == y` or `x != y`.
pub fn comparison(expr: &Json) -> Option<(&str, &Json, &Json)> {
    let (operator @ ("==" | "!="), operands) = single(expr)? else {
        return None;
    };
    let (left, right) = (operands.get("left")?, operands.get("right")?);
    Some(match text(left) {
        // A text may stand on either side.
        Some(_) => (operator, right, left),
        None => (operator, left, right),
    })
}

/// A text.
pub fn text(expr: &Json) -> Option<&str> {
    match single(expr)? {
        ("Value", value) => value.as_str(),
        _ => None,
    }
}

/// `principal.getTag("tag")` is this one text; where more is safe, whether it is among them.
///
/// # Errors
///
/// If a forbid would never apply.
pub fn tag_is(
    conditions: &Conditions<'_, '_>,
    tag: &str,
    value: &str,
    safe: Safe,
) -> Result<Json, String> {
    conditions.tag(tag)?;
    if tag == "scope" && value.contains(char::is_whitespace) {
        return Err("the words of the claim `scope` are compared one by one here".to_owned());
    }
    Ok(match safe {
        Safe::True => contains(tag, value),
        Safe::False | Safe::Neither => {
            binary("==", tag_value(tag), json!({"Set": [{"Value": value}]}))
        }
    })
}

/// `principal.getTag("tag") like "*word*"`: of `scope`, whether the word is among them, where less is safe.
///
/// # Errors
///
/// For any other pattern or tag: what claims add is a set of texts, which no pattern is held against.
pub fn tag_matches(
    conditions: &Conditions<'_, '_>,
    tag: &str,
    pattern: &Json,
    safe: Safe,
) -> Result<Json, String> {
    conditions.tag(tag)?;
    let mut word = String::new();
    let mut wildcards = 0;
    for element in pattern.as_array().into_iter().flatten() {
        match element.get("Literal").and_then(Json::as_str) {
            Some(literal) => word.push_str(literal),
            None => wildcards += 1,
        }
    }
    let ends = pattern.as_array().map(|it| (it.first(), it.last()));
    let is_wild = |it: Option<&Json>| it.is_some_and(|it| it.get("Literal").is_none());
    let is_within = ends.is_some_and(|(first, last)| is_wild(first) && is_wild(last));
    let is_word = !word.is_empty() && !word.contains(char::is_whitespace);
    if tag != "scope" || safe != Safe::False || !is_within || wildcards != 2 || !is_word {
        return Err(format!(
            "the claim `{tag}` is held against a pattern, and is a set of texts here"
        ));
    }
    conditions.note(format!(
        "`scope` has to have the word `{word}`, where it was enough that it contains this text"
    ));
    Ok(contains(tag, &word))
}

/// An argument of the call, for typed tools.
pub fn input(name: &str) -> Json {
    json!({".": {"left": {".": {"left": variable("context"), "attr": "input"}}, "attr": name}})
}

/// Whether the call has an argument.
pub fn has_input(name: &str) -> Json {
    let input = json!({".": {"left": variable("context"), "attr": "input"}});
    json!({"has": {"left": input, "attr": name}})
}

/// Whether the principal is this one.
pub fn principal_is(ty: &str, id: &str) -> Json {
    let uid = json!({"Value": {"__entity": {"type": ty, "id": id}}});
    binary("==", variable("principal"), uid)
}

/// Whether the resource is this tool, or is not.
pub fn resource_is(server: &str, tool: &str, is: bool) -> Json {
    let uid =
        json!({"Value": {"__entity": {"type": "Mcp::Tool", "id": format!("{server}/{tool}")}}});
    binary(if is { "==" } else { "!=" }, variable("resource"), uid)
}

/// Whether the principal has a tag.
pub fn tagged(tag: &str) -> Json {
    binary("hasTag", variable("principal"), json!({"Value": tag}))
}

fn tag_value(tag: &str) -> Json {
    binary("getTag", variable("principal"), json!({"Value": tag}))
}

/// Whether a tag has this text.
pub fn contains(tag: &str, value: &str) -> Json {
    binary("contains", tag_value(tag), json!({"Value": value}))
}

/// Both.
pub fn and(left: Json, right: Json) -> Json {
    binary("&&", left, right)
}

/// What holds of a tag, and true where it is not there. Cedar's validator does not see through `!hasTag(…) || …`.
pub fn unless_lacking(tag: &str, expr: Json) -> Json {
    json!({"if-then-else": {"if": tagged(tag), "then": expr, "else": {"Value": true}}})
}

/// Not.
pub fn not(arg: Json) -> Json {
    json!({"!": {"arg": arg}})
}

fn binary(operator: &str, left: Json, right: Json) -> Json {
    json!({operator: {"left": left, "right": right}})
}

fn variable(name: &str) -> Json {
    json!({"Var": name})
}

/// What is refused, in words.
fn shown(expr: &Json) -> String {
    if let Some((variable, path)) = attribute(expr) {
        return match path.is_empty() {
            true => format!("`{variable}` as a whole"),
            false => format!("`{variable}.{}`", path.join(".")),
        };
    }
    match (has(expr), single(expr)) {
        (Some((variable, name)), _) => format!("`{variable} has {name}`"),
        (_, Some((operator, _))) => format!("`{operator}`"),
        _ => "it".to_owned(),
    }
}

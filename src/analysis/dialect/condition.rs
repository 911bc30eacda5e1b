//! Rewrites conditions, as Cedar's JSON form of expressions.
//!
//! Whatever is not known to mean the same is refused. Where a translation can only be close, [`Safe`] says on which side.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::analysis::dialect::expression::{
    binary, contains, is_principal, not, shown, single, tag_value, variable,
};
use crate::analysis::dialect::names::{Lookup, Names};
use crate::analysis::dialect::target::Target;

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

/// What the words of one dialect mean. What all dialects share, which is Cedar, is [`Conditions::rewrite`]'s.
pub trait Vocabulary {
    /// Rewrites an expression that means something else there; `None` if it is Cedar's.
    fn leaf(
        &self,
        conditions: &Conditions<'_, '_>,
        expr: &Json,
        safe: Safe,
    ) -> Option<Result<Json, String>>;

    /// The type here of a type of principals; `None` if there is none.
    fn principal_type(&self, ty: &str) -> Option<&'static str>;

    /// An entity of a scope or condition, here; `None` if there is none like it.
    fn entity(
        &self,
        conditions: &Conditions<'_, '_>,
        ty: &str,
        id: &str,
    ) -> Option<Result<Json, String>>;
}

/// The conditions of one policy, for one thing that it is about.
pub struct Conditions<'n, 'o> {
    names: &'n Names<'o>,
    vocabulary: &'n dyn Vocabulary,
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
        vocabulary: &'n dyn Vocabulary,
        target: &'n Target,
        is_forbid: bool,
    ) -> Self {
        Self {
            names,
            vocabulary,
            target,
            is_forbid,
            reads_input: Cell::new(false),
            tested: RefCell::default(),
            notes: RefCell::default(),
            needs: RefCell::default(),
        }
    }

    /// Whether the policy forbids.
    pub fn is_forbid(&self) -> bool {
        self.is_forbid
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

    /// A group of the product, here, if anybody can be in it.
    pub fn group(&self, id: &str) -> Result<Json, String> {
        self.require(self.names.look_up_group(id))?;
        Ok(self.names.group(id))
    }

    /// The type here of a type of principals.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn principal_type(&self, ty: &str) -> Result<&'static str, String> {
        let found = self.vocabulary.principal_type(ty);
        found.ok_or_else(|| format!("there is nobody like `{ty}` here"))
    }

    /// An entity of a scope or condition, here.
    ///
    /// # Errors
    ///
    /// If there is none like it.
    pub fn entity(&self, uid: &Json) -> Result<Json, String> {
        let part = |name: &str| uid.get(name).and_then(Json::as_str);
        let Some((ty, id)) = part("type").zip(part("id")) else {
            return Err("an entity has a form that is not known".to_owned());
        };
        let lacking = || Err(format!("`{ty}::\"{id}\"` has no counterpart here"));
        self.vocabulary.entity(self, ty, id).unwrap_or_else(lacking)
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
        if let Some(rewritten) = self.vocabulary.leaf(self, expr, safe) {
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
        let uid = self.entity(uid)?;
        Ok(json!({"Value": {"__entity": uid}}))
    }

    /// `principal is Type`, and `in` something.
    fn is(&self, operands: &Json, depth: usize) -> Result<Json, String> {
        let ty = operands["entity_type"].as_str().unwrap_or_default();
        let ty = self.principal_type(ty)?;
        let mut is = json!({"left": variable("principal"), "entity_type": ty});
        if let Some(group) = operands.get("in") {
            is["in"] = self.expr(group, Safe::Neither, depth + 1)?;
        }
        Ok(json!({"is": is}))
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

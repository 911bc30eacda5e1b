//! Rewrites conditions, as Cedar's JSON form of expressions.
//!
//! Whatever is not known to mean the same is refused. Where a translation can only be close, [`Safe`] says on which side.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use callgate_engine::cedar::Type;
use serde_json::{Value as Json, json};

use crate::analysis::dialect::expression::{binary, is_principal, not, shown, single, variable};
use crate::analysis::dialect::names::{Lookup, Names};
use crate::analysis::dialect::target::Target;
use crate::config::claims::ClaimKind;

/// The deepest nesting of expressions.
pub const MAX_DEPTH: usize = 200;

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
        uid: (&str, &str),
        safe: Safe,
    ) -> Option<Result<Json, String>>;

    /// The claim that an expression tests for, where it is an error to read one that is missing.
    fn tested<'e>(&self, _: &'e Json) -> Option<&'e str> {
        None
    }
}

/// The conditions of one policy, for one thing that it is about.
pub struct Conditions<'n, 'o> {
    names: &'n Names<'o>,
    vocabulary: &'n dyn Vocabulary,
    target: &'n Target,
    is_forbid: bool,
    reads_input: Cell<bool>,
    /// The claims that are known to be there where the expression at hand is evaluated.
    known: RefCell<Vec<String>>,
    /// The claims that are read and may be missing, which is an error there.
    unknown: RefCell<BTreeSet<String>>,
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
            known: RefCell::default(),
            unknown: RefCell::default(),
            notes: RefCell::default(),
            needs: RefCell::default(),
        }
    }

    /// Whether the policy forbids.
    pub fn is_forbid(&self) -> bool {
        self.is_forbid
    }

    /// Whether arguments are read.
    pub fn has_read_input(&self) -> bool {
        self.reads_input.get()
    }

    /// Notes that a claim is read.
    pub fn reads_claim(&self, claim: &str) {
        if !self.known.borrow().iter().any(|it| it == claim) {
            self.unknown.borrow_mut().insert(claim.to_owned());
        }
    }

    /// The claims that were read since, and may be missing.
    pub fn take_unknown(&self) -> BTreeSet<String> {
        self.unknown.take()
    }

    /// From here on it is known that the claims are there that are tested for where `expr` is `outcome`.
    pub fn assume(&self, expr: &Json, outcome: bool) {
        let mut found = Vec::new();
        self.tested(expr, outcome, &mut found);
        self.known.borrow_mut().append(&mut found);
    }

    fn tested(&self, expr: &Json, outcome: bool, found: &mut Vec<String>) {
        match single(expr) {
            Some((operator @ ("&&" | "||"), operands)) if (operator == "&&") == outcome => {
                self.tested(&operands["left"], outcome, found);
                self.tested(&operands["right"], outcome, found);
            }
            Some(("!", operands)) => self.tested(&operands["arg"], !outcome, found),
            _ if outcome => found.extend(self.vocabulary.tested(expr).map(str::to_owned)),
            _ => {}
        }
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

    /// What is looked for has to be there, unless a permit only allows less without it.
    ///
    /// # Errors
    ///
    /// If a forbid would forbid less, or a permit allow more.
    pub fn require(&self, found: Lookup, safe: Safe) -> Result<(), String> {
        match found {
            Lookup::There => Ok(()),
            Lookup::Lacking(why) if self.is_forbid => Err(why),
            Lookup::Lacking(why) if safe == Safe::False => {
                self.needs.borrow_mut().insert(why);
                Ok(())
            }
            Lookup::Lacking(why) => Err(format!(
                "it would allow also those whom it leaves out, as {why}"
            )),
            Lookup::Partial(why) if safe == Safe::False => {
                self.note(why);
                Ok(())
            }
            Lookup::Partial(why) | Lookup::Inexact(why) => Err(why),
        }
    }

    /// A tag that claims of these kinds are to give.
    ///
    /// # Errors
    ///
    /// If it could say something else.
    pub fn tag(&self, tag: &str, kinds: &[ClaimKind], safe: Safe) -> Result<(), String> {
        self.require(self.names.look_up_tag(tag, kinds), safe)
    }

    /// A group of the product, here, if anybody can be in it.
    ///
    /// # Errors
    ///
    /// If others could be in it.
    pub fn group(&self, id: &str, safe: Safe) -> Result<Json, String> {
        self.require(self.names.look_up_group(id), safe)?;
        Ok(self.names.group(id))
    }

    /// An argument of the tool, or what is within it, that is read or only tested for.
    ///
    /// # Errors
    ///
    /// If policies cannot read it here, or not all of it.
    pub fn argument(&self, path: &[&str], is_tested: bool) -> Result<(), String> {
        let found = self.type_of_argument(path)?;
        let is_plain = |it: &Type| !matches!(it, Type::Record { .. } | Type::Set { .. });
        let is_whole = match found {
            Type::Record { .. } => false,
            Type::Set { element_type } => element_type.as_deref().is_some_and(is_plain),
            _ => true,
        };
        match is_tested || is_whole {
            true => Ok(()),
            false => Err(format!(
                "it reads all of `{}`, and what has no type is not read here",
                shown_argument(path)
            )),
        }
    }

    /// An argument that is a text or a boolean.
    ///
    /// # Errors
    ///
    /// If policies cannot read it here, or it is of another type.
    pub fn plain_argument(&self, name: &str, is_tested: bool) -> Result<(), String> {
        self.argument(&[name], is_tested)?;
        match self.type_of_argument(&[name])? {
            Type::String | Type::Bool(_) => Ok(()),
            _ => Err(format!(
                "`arg_{name}` is no text or boolean: ToolHive has all numbers as decimals, and does not keep lists and objects"
            )),
        }
    }

    fn type_of_argument(&self, path: &[&str]) -> Result<&Type, String> {
        self.reads_input.set(true);
        let Some(tool) = self.tool() else {
            return Err("it reads arguments, and names no single tool that they are of".to_owned());
        };
        if self.names.argument(tool, &[]).is_none() {
            if let Lookup::Lacking(why) = self.names.look_up_call(tool.0, Some(tool.1)) {
                return Err(why);
            }
            return Err(format!(
                "it reads arguments, so the tool `{}/{}` has to be registered as `typed` first",
                tool.0, tool.1
            ));
        }
        self.names.argument(tool, path).ok_or_else(|| {
            format!(
                "policies cannot read the argument `{}` here: the registration does not declare it, or it has no type",
                shown_argument(path)
            )
        })
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

    /// The principal that an entity is here.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn person(&self, uid: &Json) -> Result<Json, String> {
        self.principal_type(uid["type"].as_str().unwrap_or_default())?;
        self.entity(uid, Safe::Neither)
    }

    /// An entity of a scope or condition, here.
    ///
    /// # Errors
    ///
    /// If there is none like it.
    pub fn entity(&self, uid: &Json, safe: Safe) -> Result<Json, String> {
        let part = |name: &str| uid.get(name).and_then(Json::as_str);
        let Some((ty, id)) = part("type").zip(part("id")) else {
            return Err("an entity has a form that is not known".to_owned());
        };
        let lacking = || Err(format!("`{ty}::\"{id}\"` has no counterpart here"));
        let found = self.vocabulary.entity(self, (ty, id), safe);
        found.unwrap_or_else(lacking)
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
            "Value" => value(operands),
            "&&" | "||" => {
                let left = below(&operands["left"], safe)?;
                let right = || below(&operands["right"], safe);
                let right = self.where_it_is(&operands["left"], operator == "&&", right)?;
                Ok(binary(operator, left, right))
            }
            "!" => Ok(not(below(&operands["arg"], safe.flipped())?)),
            "if-then-else" => {
                let tested = &operands["if"];
                let part = |name: &str| below(&operands[name], safe);
                Ok(json!({"if-then-else": {
                    "if": below(tested, Safe::Neither)?,
                    "then": self.where_it_is(tested, true, || part("then"))?,
                    "else": self.where_it_is(tested, false, || part("else"))?,
                }}))
            }
            "==" | "!=" if is_principal(&operands["left"]) => {
                let Some(uid) = entity_of(&operands["right"]) else {
                    return Err("the principal is compared with what is no entity".to_owned());
                };
                let right = json!({"Value": {"__entity": self.person(uid)?}});
                Ok(binary(operator, variable("principal"), right))
            }
            "in" if is_principal(&operands["left"]) => {
                let right = self.groups(&operands["right"], safe)?;
                Ok(binary("in", variable("principal"), right))
            }
            "is" if is_principal(&operands["left"]) => self.is(operands, safe),
            "==" | "!=" | "<" | "<=" | ">" | ">=" | "+" | "-" | "*" | "contains"
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

    /// Rewrites what is evaluated only where `expr` is `outcome`.
    fn where_it_is(
        &self,
        expr: &Json,
        outcome: bool,
        rewrite: impl FnOnce() -> Result<Json, String>,
    ) -> Result<Json, String> {
        let before = self.known.borrow().len();
        self.assume(expr, outcome);
        let rewritten = rewrite();
        self.known.borrow_mut().truncate(before);
        rewritten
    }

    /// What a principal is in: an entity, or a list of them.
    fn groups(&self, expr: &Json, safe: Safe) -> Result<Json, String> {
        let one = |uid: &Json| {
            let uid = self.entity(uid, safe)?;
            Ok(json!({"Value": {"__entity": uid}}))
        };
        if let Some(uid) = entity_of(expr) {
            return one(uid);
        }
        let items = expr.get("Set").and_then(Json::as_array);
        let items = items.map(|all| all.iter().map(entity_of).collect::<Option<Vec<_>>>());
        let Some(Some(items)) = items else {
            return Err("the principal is in what is no entity".to_owned());
        };
        let items: Vec<Json> = items.into_iter().map(one).collect::<Result<_, String>>()?;
        Ok(json!({"Set": items}))
    }

    /// `principal is Type`, and `in` something.
    fn is(&self, operands: &Json, safe: Safe) -> Result<Json, String> {
        let ty = operands["entity_type"].as_str().unwrap_or_default();
        let ty = self.principal_type(ty)?;
        let mut is = json!({"left": variable("principal"), "entity_type": ty});
        if let Some(group) = operands.get("in") {
            is["in"] = self.groups(group, safe)?;
        }
        Ok(json!({"is": is}))
    }
}

/// The entity that an expression is.
fn entity_of(expr: &Json) -> Option<&Json> {
    expr.get("Value")?.get("__entity")
}

/// A text, number or boolean. Entities mean something only where a principal is held against them.
fn value(value: &Json) -> Result<Json, String> {
    match value {
        Json::String(_) | Json::Number(_) | Json::Bool(_) => Ok(json!({"Value": value})),
        _ => Err(
            "it has an entity that no principal is compared with, or a value that is not known"
                .to_owned(),
        ),
    }
}

fn shown_argument(path: &[&str]) -> String {
    match path.is_empty() {
        true => "context.input".to_owned(),
        false => path.join("."),
    }
}

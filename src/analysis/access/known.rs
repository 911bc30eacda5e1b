//! What is known about the context of a call before it is made: who acts for whom, on which server.

use std::collections::BTreeMap;

use callgate_engine::cedar::{EntityUID, Expr, ExprKind, Literal, Value, Var};
use smol_str::SmolStr;

use crate::domain::schema::TYPES;

/// What is known about one attribute of the context.
#[derive(Debug, Clone)]
pub enum Fact {
    /// It is not there.
    Absent,
    /// It is there, with an unknown value.
    Present,
    /// It has this value.
    Value(Value),
    /// It is a record of which this much is known.
    Record(KnownRecord),
}

/// What is known about the attributes of a record; nothing about those that are not listed.
#[derive(Debug, Clone, Default)]
pub struct KnownRecord(BTreeMap<SmolStr, Fact>);

/// The parties of a call: who acts, for whom, through whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Parties {
    /// The subject: an agent, a user or a server.
    pub subject: EntityUID,
    /// For whom it acts in the end; `None` if on its own authority.
    pub root: Option<EntityUID>,
    /// The agents between the root and the subject, nearest to the root first.
    pub actors: Vec<EntityUID>,
}

impl Parties {
    /// Who has to be allowed: the subject first, then its delegators up to the root.
    pub fn principals(&self) -> Vec<&EntityUID> {
        let mut principals = vec![&self.subject];
        if let Some(root) = &self.root {
            principals.extend(self.actors.iter().rev());
            principals.push(root);
        }
        principals
    }
}

impl KnownRecord {
    fn with(mut self, name: &'static str, fact: Fact) -> Self {
        self.0.insert(SmolStr::new_static(name), fact);
        self
    }

    /// The fact at a path of attributes. `None` if nothing is known.
    pub fn get(&self, path: &[&SmolStr]) -> Option<&Fact> {
        let (first, rest) = path.split_first()?;
        match (self.0.get(*first)?, rest) {
            (fact, []) => Some(fact),
            (Fact::Record(record), rest) => record.get(rest),
            // Nothing is below what is not there; of a value the evaluator finds its attributes.
            _ => None,
        }
    }

    /// The same facts and that no approval is there.
    pub fn without_approval(self) -> Self {
        self.with("approval", Fact::Absent)
    }
}

/// What is known about the context of every tool call of these parties on this server.
///
/// The rules are those of `domain::decide::facts`: what it always sets is present here. `server` is `None` if the context
/// of the action has no such attribute. With `is_root_known` the root is this one, else any of its type.
pub fn of_tool_calls(
    parties: &Parties,
    server: Option<&EntityUID>,
    is_root_known: bool,
) -> KnownRecord {
    let text = |text: &'static str| Fact::Value(Value::new(SmolStr::new_static(text), None));
    let identity = KnownRecord::default().with("through_agent", Fact::Present);
    let arguments = KnownRecord::default()
        .with("link_hosts", Fact::Present)
        .with("unknown_links", Fact::Present)
        .with("words", Fact::Present);
    let delegation = match &parties.root {
        None => Fact::Absent,
        Some(root) => Fact::Record(delegation(parties, root, is_root_known)),
    };
    let known = KnownRecord::default()
        .with(
            "server",
            server.map_or(Fact::Absent, |it| Fact::Value(entity(it))),
        )
        .with("identity", Fact::Record(identity))
        .with("arguments", Fact::Record(arguments))
        .with("delegation", delegation)
        .with("earlier_result", Fact::Absent)
        .with("elicitation", Fact::Absent)
        .with("sampling", Fact::Absent);
    match *parties.subject.entity_type() == TYPES.server {
        true => known.with("initiator", text("server")),
        false => known,
    }
}

fn delegation(parties: &Parties, root: &EntityUID, is_root_known: bool) -> KnownRecord {
    let is_user = *root.entity_type() == TYPES.user;
    let (own, other) = match is_user {
        true => ("root", "root_agent"),
        false => ("root_agent", "root"),
    };
    let root = match is_root_known {
        true => Fact::Value(entity(root)),
        false => Fact::Present,
    };
    let actor =
        |actor: Option<&EntityUID>| actor.map_or(Fact::Absent, |it| Fact::Value(entity(it)));
    let depth = i64::try_from(parties.actors.len() + 1).unwrap_or(i64::MAX);
    let actors = parties.actors.iter().map(entity);
    KnownRecord::default()
        .with(own, root)
        .with(other, Fact::Absent)
        .with("first", actor(parties.actors.first()))
        .with("last", actor(parties.actors.last()))
        .with("depth", Fact::Value(Value::new(depth, None)))
        .with("actors", Fact::Value(Value::set(actors, None)))
}

fn entity(uid: &EntityUID) -> Value {
    Value::new(uid.clone(), None)
}

/// The path of attributes if the expression is `context.a.b …`; empty for the context itself.
pub fn context_path(expr: &Expr) -> Option<Vec<&SmolStr>> {
    match expr.expr_kind() {
        ExprKind::Var(Var::Context) => Some(Vec::new()),
        ExprKind::GetAttr { expr, attr } => {
            let mut path = context_path(expr)?;
            path.push(attr);
            Some(path)
        }
        _ => None,
    }
}

/// The boolean that an expression is.
pub fn as_bool(expr: &Expr) -> Option<bool> {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::Bool(bool)) => Some(*bool),
        _ => None,
    }
}

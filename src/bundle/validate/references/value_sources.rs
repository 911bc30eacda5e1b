//! The sources of an expression's value: attributes of entity types, and parts of the context.
//!
//! Start at [`PolicyScopes::scope_of`] and [`PolicyScope::places`]. An expression can have several sources: the resource in
//! `resource.sensitivity` may be a tool or a file. Conditions are not analysed, so sources are a superset.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use callgate_engine::cedar::{
    ActionConstraint, EntityKind, EntityReference, EntityType, EntityUID, Expr, ExprKind, OpenTag,
    PrincipalOrResourceConstraint, Template, Type, ValidatorSchema, Var,
};

use crate::bundle::validate::policy_validator::meant;
use crate::bundle::validate::references::canonical_text::CanonicalText;
use crate::bundle::validate::references::vocabulary::{Vocabulary, of_attribute, of_context};
use crate::bundle::validate::tool_types::ToolTypes;
use crate::domain::schema::TYPES;

/// Attributes that identify a context of the embedded schema.
const FACTS: [&str; 3] = ["initiator", "identity", "environment"];

/// Computes the scopes of policies; the actions of each action constraint are computed once.
pub(super) struct PolicyScopes<'s> {
    schema: &'s ValidatorSchema,
    tools: &'s ToolTypes<'s>,
    seen: HashMap<(bool, BTreeSet<EntityUID>), Rc<MatchingActions<'s>>>,
}

/// The actions that an action constraint matches.
pub(super) struct MatchingActions<'s> {
    /// The actions.
    pub all: Vec<&'s EntityUID>,
    principals: BTreeSet<&'s EntityType>,
    resources: BTreeSet<&'s EntityType>,
    /// Their contexts, and whether each is of the embedded schema. The context of a tool's own action is left out if
    /// other actions match: except for `input` it equals theirs.
    contexts: Vec<(bool, &'s Type)>,
    /// Whether a typed tool's own action is among them.
    has_input: bool,
}

/// The requests that a policy's scope matches.
pub(super) struct PolicyScope<'s> {
    schema: &'s ValidatorSchema,
    /// The actions.
    pub actions: Rc<MatchingActions<'s>>,
    /// The types of principals.
    pub principals: Vec<&'s EntityType>,
    /// The types of resources.
    pub resources: Vec<&'s EntityType>,
}

/// A source of a value: an attribute of an entity type, or a part of the context.
#[derive(Debug, Clone)]
pub(super) struct ValueSource<'s> {
    owner: SourceOwner<'s>,
    /// The attributes from the owner on, joined by dots.
    path: String,
    at: SourceType<'s>,
}

#[derive(Debug, Clone, Copy)]
enum SourceOwner<'s> {
    Entity(&'s EntityType),
    Facts,
    Else,
}

/// What is there.
#[derive(Debug, Clone, Copy)]
enum SourceType<'s> {
    Entity(&'s EntityType),
    Value(&'s Type),
}

impl<'s> PolicyScopes<'s> {
    pub(super) fn new(schema: &'s ValidatorSchema, tools: &'s ToolTypes<'s>) -> Self {
        Self {
            schema,
            tools,
            seen: HashMap::new(),
        }
    }

    /// The requests that a policy's scope matches.
    pub(super) fn scope_of(&mut self, template: &Template) -> PolicyScope<'s> {
        let actions = self.actions(template.action_constraint());
        let principals = narrowed(
            &actions.principals,
            template.principal_constraint().as_inner(),
        );
        let resources = narrowed(
            &actions.resources,
            template.resource_constraint().as_inner(),
        );
        PolicyScope {
            schema: self.schema,
            actions,
            principals,
            resources,
        }
    }

    fn actions(&mut self, constraint: &ActionConstraint) -> Rc<MatchingActions<'s>> {
        let named: BTreeSet<&EntityUID> = constraint.iter_euids().collect();
        let is_exact = matches!(constraint, ActionConstraint::Eq(_));
        let key = (is_exact, named.iter().map(|uid| (*uid).clone()).collect());
        if let Some(known) = self.seen.get(&key) {
            return Rc::clone(known);
        }
        let schema = self.schema;
        let all: Vec<&'s EntityUID> = match constraint {
            ActionConstraint::Any => schema.action_ids().map(|action| action.name()).collect(),
            ActionConstraint::Eq(uid) => {
                let known = schema.get_action_id(uid);
                known.map(|action| action.name()).into_iter().collect()
            }
            _ => meant(schema, &named).into_iter().collect(),
        };
        let actions = Rc::new(self.described(all));
        self.seen.insert(key, Rc::clone(&actions));
        actions
    }

    fn described(&self, all: Vec<&'s EntityUID>) -> MatchingActions<'s> {
        let is_own = |uid: &EntityUID| {
            *uid.entity_type() == TYPES.action && self.tools.is_typed(uid.eid().as_ref())
        };
        let (own, others): (Vec<&EntityUID>, Vec<&EntityUID>) =
            all.iter().copied().partition(|uid| is_own(uid));
        let mut actions = MatchingActions {
            principals: BTreeSet::new(),
            resources: BTreeSet::new(),
            contexts: Vec::new(),
            has_input: !own.is_empty(),
            all,
        };
        let is_apart = others.is_empty();
        for (uid, has_context) in others
            .into_iter()
            .map(|uid| (uid, true))
            .chain(own.into_iter().map(|uid| (uid, is_apart)))
        {
            let Some(action) = self.schema.get_action_id(uid) else {
                continue;
            };
            actions.principals.extend(action.principals());
            actions.resources.extend(action.resources());
            let context = action
                .context()
                .filter(|_| action.resources().next().is_some());
            if let (true, Some(context)) = (has_context, context) {
                let is_ours = *uid.entity_type() == TYPES.action && has_facts(context);
                actions.contexts.push((is_ours, context));
            }
        }
        actions
    }
}

impl<'s> PolicyScope<'s> {
    /// The possible sources of an expression's value; empty if it has none with attributes or a vocabulary.
    pub(super) fn places(&self, expr: &Expr) -> Vec<ValueSource<'s>> {
        let of_types = |types: &[&'s EntityType]| {
            let place = |ty: &&'s EntityType| ValueSource::entity(ty);
            types.iter().map(place).collect()
        };
        match expr.expr_kind() {
            ExprKind::Var(Var::Principal) => of_types(&self.principals),
            ExprKind::Var(Var::Resource) => of_types(&self.resources),
            ExprKind::Var(Var::Context) => {
                let contexts = self.actions.contexts.iter();
                let place = |(is_ours, ty): &(bool, &'s Type)| ValueSource {
                    owner: if *is_ours {
                        SourceOwner::Facts
                    } else {
                        SourceOwner::Else
                    },
                    path: String::new(),
                    at: SourceType::Value(ty),
                };
                contexts.map(place).collect()
            }
            ExprKind::GetAttr { expr, attr } => self.step(&self.places(expr), attr),
            ExprKind::If {
                then_expr,
                else_expr,
                ..
            } => {
                let mut places = self.places(then_expr);
                places.extend(self.places(else_expr));
                places
            }
            _ => Vec::new(),
        }
    }

    /// The sources of an attribute of values. An element of a set has the source of the set.
    pub(super) fn step(&self, places: &[ValueSource<'s>], attr: &str) -> Vec<ValueSource<'s>> {
        let mut found: Vec<ValueSource<'s>> = Vec::new();
        for place in places {
            let Some(next) = self.one_step(place, attr) else {
                continue;
            };
            // Many actions have equal contexts.
            let is_known = |other: &ValueSource<'s>| {
                other.vocabulary() == next.vocabulary()
                    && other.path == next.path
                    && other.is_at_same(&next)
            };
            if !found.iter().any(is_known) {
                found.push(next);
            }
        }
        found
    }

    fn one_step(&self, place: &ValueSource<'s>, attr: &str) -> Option<ValueSource<'s>> {
        if let Some(entity) = place.as_entity() {
            let attribute = self.schema.get_entity_type(entity)?.attr(attr)?;
            return Some(ValueSource {
                owner: SourceOwner::Entity(entity),
                path: attr.to_owned(),
                at: SourceType::Value(&attribute.attr_type),
            });
        }
        let SourceType::Value(Type::Record { attrs, .. }) = place.element() else {
            return None;
        };
        let attribute = attrs.get_attr(attr)?;
        let path = match place.path.as_str() {
            "" => attr.to_owned(),
            path => format!("{path}.{attr}"),
        };
        Some(ValueSource {
            owner: place.owner,
            path,
            at: SourceType::Value(&attribute.attr_type),
        })
    }

    /// All attributes that values of these sources can have; `None` if there may be others.
    pub(super) fn attributes(&self, places: &[ValueSource<'s>]) -> Option<BTreeSet<&'s str>> {
        let mut names = BTreeSet::new();
        for place in places {
            if let Some(entity) = place.as_entity() {
                let entity = self.schema.get_entity_type(entity)?;
                if entity.open_attributes() == OpenTag::OpenAttributes {
                    return None;
                }
                names.extend(entity.attributes().keys().map(|name| name.as_str()));
                continue;
            }
            match place.at {
                SourceType::Value(Type::Record {
                    attrs,
                    open_attributes: OpenTag::ClosedAttributes,
                }) => names.extend(attrs.keys().map(|name| name.as_str())),
                _ => return None,
            }
        }
        if self.actions.has_input && places.iter().any(ValueSource::is_context) {
            names.insert("input");
        }
        (!places.is_empty()).then_some(names)
    }
}

impl<'s> ValueSource<'s> {
    fn entity(ty: &'s EntityType) -> Self {
        Self {
            owner: SourceOwner::Entity(ty),
            path: String::new(),
            at: SourceType::Entity(ty),
        }
    }

    /// The vocabulary of the value; `None` if any text is valid.
    pub(super) fn vocabulary(&self) -> Option<Vocabulary> {
        match self.owner {
            SourceOwner::Entity(ty) => of_attribute(ty, &self.path),
            SourceOwner::Facts => of_context(&self.path),
            SourceOwner::Else => None,
        }
    }

    /// The form of the value, if requests contain it in one spelling only.
    pub(super) fn canonical_text(&self) -> Option<CanonicalText> {
        match self.owner {
            SourceOwner::Entity(ty) => CanonicalText::of_attribute(ty, &self.path),
            SourceOwner::Facts => CanonicalText::of_context(&self.path),
            SourceOwner::Else => None,
        }
    }

    /// Whether the value is the names of a call's arguments.
    pub(super) fn is_argument_names(&self) -> bool {
        let is_names = matches!(&*self.path, "arguments.names" | "arguments.untyped");
        is_names && matches!(self.owner, SourceOwner::Facts)
    }

    /// The dotted path of the typed argument that the value is.
    pub(super) fn argument(&self) -> Option<&str> {
        let is_fact = matches!(self.owner, SourceOwner::Facts);
        self.path.strip_prefix("input.").filter(|_| is_fact)
    }

    fn is_context(&self) -> bool {
        self.path.is_empty() && !matches!(self.at, SourceType::Entity(_))
    }

    /// The type of the entity that the value is.
    pub(super) fn as_entity(&self) -> Option<&'s EntityType> {
        match self.at {
            SourceType::Entity(ty) => Some(ty),
            SourceType::Value(Type::Entity(EntityKind::Entity(lub))) => lub.get_single_entity(),
            SourceType::Value(_) => None,
        }
    }

    fn element(&self) -> SourceType<'s> {
        match self.at {
            SourceType::Value(Type::Set {
                element_type: Some(element),
            }) => SourceType::Value(element),
            at => at,
        }
    }

    fn is_at_same(&self, other: &Self) -> bool {
        match (self.at, other.at) {
            (SourceType::Entity(a), SourceType::Entity(b)) => a == b,
            (SourceType::Value(a), SourceType::Value(b)) => std::ptr::eq(a, b) || a == b,
            _ => false,
        }
    }
}

fn has_facts(context: &Type) -> bool {
    let Type::Record { attrs, .. } = context else {
        return false;
    };
    FACTS.iter().all(|fact| attrs.get_attr(fact).is_some())
}

/// The types that pass a principal or resource constraint.
fn narrowed<'s>(
    types: &BTreeSet<&'s EntityType>,
    constraint: &PrincipalOrResourceConstraint,
) -> Vec<&'s EntityType> {
    let only = match constraint {
        PrincipalOrResourceConstraint::Eq(EntityReference::EUID(uid)) => Some(uid.entity_type()),
        PrincipalOrResourceConstraint::Is(ty) | PrincipalOrResourceConstraint::IsIn(ty, _) => {
            Some(&**ty)
        }
        _ => None,
    };
    let passes = |ty: &&&EntityType| only.is_none_or(|only| only == **ty);
    types.iter().filter(passes).copied().collect()
}

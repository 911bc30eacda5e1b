//! Where an expression of a policy gets its value from: which attribute of which types of entities, which fact.
//!
//! Start at [`Scopes::of`] and [`Scope::places`]. An expression may have several places, as `resource.sensitivity` has
//! where tools and files are meant. Nothing is inferred from conditions, so there may be more than can be.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use callgate_engine::cedar::{
    ActionConstraint, EntityKind, EntityReference, EntityType, EntityUID, Expr, ExprKind, OpenTag,
    PrincipalOrResourceConstraint, Template, Type, ValidatorSchema, Var,
};

use crate::bundle::validate::policy_validator::meant;
use crate::bundle::validate::references::vocabulary::{Vocabulary, of_attribute, of_context};
use crate::bundle::validate::tool_types::ToolTypes;
use crate::domain::schema::TYPES;

/// Facts that every context of the embedded schema has, and no other is likely to.
const FACTS: [&str; 3] = ["initiator", "identity", "environment"];

/// What is known of the actions that scopes name, worked out once for each.
pub(super) struct PolicyScopes<'s> {
    schema: &'s ValidatorSchema,
    tools: &'s ToolTypes<'s>,
    seen: HashMap<(bool, BTreeSet<EntityUID>), Rc<MatchingActions<'s>>>,
}

/// The actions that a scope means.
pub(super) struct MatchingActions<'s> {
    /// Those actions.
    pub all: Vec<&'s EntityUID>,
    principals: BTreeSet<&'s EntityType>,
    resources: BTreeSet<&'s EntityType>,
    /// Their contexts, and whether each is one of the embedded schema. Of a tool's own action only if nothing else is
    /// meant: but for `input` it is that of other calls.
    contexts: Vec<(bool, &'s Type)>,
    /// Whether some tool's own action is among them.
    has_input: bool,
}

/// What a policy is about.
pub(super) struct PolicyScope<'s> {
    schema: &'s ValidatorSchema,
    /// The actions.
    pub actions: Rc<MatchingActions<'s>>,
    principals: Vec<&'s EntityType>,
    resources: Vec<&'s EntityType>,
}

/// Where a value comes from.
#[derive(Debug, Clone)]
pub(super) struct ValueSource<'s> {
    owner: Owner<'s>,
    /// The steps from there, joined by dots.
    path: String,
    at: At<'s>,
}

#[derive(Debug, Clone, Copy)]
enum Owner<'s> {
    Entity(&'s EntityType),
    Facts,
    Else,
}

/// What is there.
#[derive(Debug, Clone, Copy)]
enum At<'s> {
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

    /// What a policy is about.
    pub(super) fn of(&mut self, template: &Template) -> PolicyScope<'s> {
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
    /// Where the value of an expression may come from; empty if that is nothing with attributes or words.
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
                    owner: if *is_ours { Owner::Facts } else { Owner::Else },
                    path: String::new(),
                    at: At::Value(ty),
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

    /// From places to an attribute, where there is one. Elements of a set are where the set is.
    pub(super) fn step(&self, places: &[ValueSource<'s>], attr: &str) -> Vec<ValueSource<'s>> {
        let mut found: Vec<ValueSource<'s>> = Vec::new();
        for place in places {
            let Some(next) = self.one_step(place, attr) else {
                continue;
            };
            // The contexts of many actions are alike.
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
                owner: Owner::Entity(entity),
                path: attr.to_owned(),
                at: At::Value(&attribute.attr_type),
            });
        }
        let At::Value(Type::Record { attrs, .. }) = place.element() else {
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
            at: At::Value(&attribute.attr_type),
        })
    }

    /// The attributes that there are at places, if it is certain that there are no others.
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
                At::Value(Type::Record {
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
            owner: Owner::Entity(ty),
            path: String::new(),
            at: At::Entity(ty),
        }
    }

    /// The words that are taken there; `None` if any are.
    pub(super) fn vocabulary(&self) -> Option<Vocabulary> {
        match self.owner {
            Owner::Entity(ty) => of_attribute(ty, &self.path),
            Owner::Facts => of_context(&self.path),
            Owner::Else => None,
        }
    }

    fn is_context(&self) -> bool {
        self.path.is_empty() && !matches!(self.at, At::Entity(_))
    }

    fn as_entity(&self) -> Option<&'s EntityType> {
        match self.at {
            At::Entity(ty) => Some(ty),
            At::Value(Type::Entity(EntityKind::Entity(lub))) => lub.get_single_entity(),
            At::Value(_) => None,
        }
    }

    fn element(&self) -> At<'s> {
        match self.at {
            At::Value(Type::Set {
                element_type: Some(element),
            }) => At::Value(element),
            at => at,
        }
    }

    fn is_at_same(&self, other: &Self) -> bool {
        match (self.at, other.at) {
            (At::Entity(a), At::Entity(b)) => a == b,
            (At::Value(a), At::Value(b)) => std::ptr::eq(a, b) || a == b,
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

/// The types that get past a scope.
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

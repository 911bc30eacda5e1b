//! Lints of entities: what nobody refers to, and what is out of service by no policy.

use std::collections::HashSet;

use callgate_engine::cedar::{
    ActionConstraint, BinaryOp, Effect, Expr, ExprKind, Literal, PrincipalOrResourceConstraint,
    Template, Var,
};
use serde_json::Value as Json;

use crate::analysis::lint::code::Code;
use crate::analysis::lint::policies::Found;
use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::files::{BundleFiles, FileKind, SourceFile};
use crate::bundle::parse::json::{self, Step};
use crate::bundle::parse::policies::Policies;
use crate::bundle::validate::open_permits::annotation;
use crate::domain::schema::action_uid;

/// The type of groups.
const GROUP: &str = "Mcp::Group";
/// Types whose entities are known by being there: what is not stored does not act and is not called.
const KNOWN_BY_BEING_THERE: [&str; 4] = ["Mcp::Agent", "Mcp::Server", "Mcp::Tool", "Mcp::Gateway"];

/// The attribute that is looked at whatever the policies say.
const ACTIVE: &str = "active";

/// The actions of calls of tools, of which one that includes them is a forbid of calls.
const CALLS: [&str; 3] = ["call_tool", "call_read", "call_write"];

/// What policies and the other files refer to.
#[derive(Default)]
struct References {
    /// Ids and other texts. A text that is an id by chance counts as one: rather no lint than a wrong one.
    named: HashSet<String>,
    /// Attributes that some policy reads, of whatever.
    attributes: HashSet<String>,
    /// Whether some policy reads tags.
    tags: bool,
    /// Types of principals whose `active` some forbid of calls reads.
    stopped: HashSet<&'static str>,
}

/// An entity in a file.
struct Defined<'f> {
    source: &'f SourceFile,
    index: usize,
    of_type: String,
    id: String,
    /// What tells it apart though nobody names it.
    distinction: Distinction,
    /// Whether it says that it is not active.
    is_inactive: bool,
}

/// What may tell an entity apart from one that is not stored.
#[derive(Default)]
struct Distinction {
    has_parents: bool,
    has_tags: bool,
    attributes: Vec<String>,
}

/// Groups and other entities that are defined, and that no policy, entity, link, tool or setting refers to.
pub(super) fn find(files: &BundleFiles, policies: &Policies) -> Vec<Found> {
    let mut references = References::default();
    references.attributes.insert(ACTIVE.to_owned());
    references.read_policies(policies);
    let mut defined = Vec::new();
    for source in &files.sources {
        match source.kind {
            // Claims and callers are mapped to groups by name.
            FileKind::Config => {
                let texts = source.text.split('"').map(str::to_owned);
                references.named.extend(texts);
            }
            FileKind::Entities => references.read_entities(source, &mut defined),
            FileKind::Links | FileKind::Registration => {
                if let Ok(value) = json::parse(source.origin()) {
                    references.read(&value);
                }
            }
            _ => {}
        }
    }
    let unused = defined.iter().filter(|it| !references.use_it(it));
    let mut found: Vec<Found> = unused.map(Defined::unused).collect();
    let acts = |it: &&Defined<'_>| {
        let mut types = ACTING.into_iter();
        types.any(|ty| ty == it.of_type && !references.stopped.contains(ty))
    };
    let at_large = defined.iter().filter(|it| it.is_inactive).filter(acts);
    found.extend(at_large.map(|it| it.found(Code::InactiveWithoutRule)));
    found
}

/// Types of which policies say what it means that one is not active.
const ACTING: [&str; 2] = ["Mcp::Agent", "Mcp::User"];

/// The types of principals whose `active` a policy reads, if it is a forbid of calls.
fn stopped_by(template: &Template) -> impl Iterator<Item = &'static str> {
    let is_of_calls = match template.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::In(uids) => uids.iter().any(|uid| CALLS.map(action_uid).contains(uid)),
        ActionConstraint::Eq(_) => false,
    };
    let is_active = |part: &Expr| match part.expr_kind() {
        ExprKind::GetAttr { expr, attr } => {
            attr == ACTIVE && matches!(expr.expr_kind(), ExprKind::Var(Var::Principal))
        }
        _ => false,
    };
    let condition = template.non_scope_constraints();
    let reads = template.effect() == Effect::Forbid
        && is_of_calls
        && annotation(template, "mode") != Some("shadow")
        && condition.is_some_and(|it| it.subexpressions().any(is_active));
    let of_type = match template.principal_constraint().as_inner() {
        PrincipalOrResourceConstraint::Is(ty) | PrincipalOrResourceConstraint::IsIn(ty, _) => {
            Some(ty.to_string())
        }
        _ => None,
    };
    let is_meant = move |ty: &&'static str| of_type.as_ref().is_none_or(|own| own == ty);
    ACTING.into_iter().filter(is_meant).filter(move |_| reads)
}

impl Defined<'_> {
    fn unused(&self) -> Found {
        self.found(match self.of_type.as_str() {
            GROUP => Code::GroupUnused,
            _ => Code::EntityUnused,
        })
    }

    fn found(&self, code: Code) -> Found {
        let Self { of_type, id, .. } = self;
        let said = format!("`{of_type}::\"{id}\"`: {}", code.title());
        let path = [Step::Index(self.index)];
        let place: BundleDiagnostic =
            json::diagnostic_at(self.source.origin(), &path, said).narrow();
        (code, place)
    }
}

impl References {
    fn read_policies(&mut self, policies: &Policies) {
        for template in policies.set.all_templates() {
            self.stopped.extend(stopped_by(template));
            for part in template.condition().subexpressions() {
                match part.expr_kind() {
                    ExprKind::Lit(Literal::EntityUID(uid)) => {
                        let id: &str = uid.eid().as_ref();
                        self.named.insert(id.to_owned());
                    }
                    ExprKind::GetAttr { attr, .. } | ExprKind::HasAttr { attr, .. } => {
                        self.attributes.insert(attr.to_string());
                    }
                    ExprKind::BinaryApp { op, .. } => {
                        self.tags |= matches!(op, BinaryOp::GetTag | BinaryOp::HasTag);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Reads the entities of a file, and what they refer to.
    fn read_entities<'f>(&mut self, source: &'f SourceFile, defined: &mut Vec<Defined<'f>>) {
        let Ok(Json::Array(list)) = json::parse(source.origin()) else {
            return;
        };
        for (index, entity) in list.iter().enumerate() {
            if let Some((of_type, id)) = uid(entity) {
                defined.push(Defined {
                    source,
                    index,
                    of_type,
                    id,
                    distinction: Distinction::of(entity),
                    is_inactive: entity.pointer("/attrs/active") == Some(&Json::Bool(false)),
                });
            }
            for (key, value) in entity.as_object().into_iter().flatten() {
                if key != "uid" {
                    self.read(value);
                }
            }
        }
    }

    /// Takes every text in a value for a name.
    fn read(&mut self, value: &Json) {
        match value {
            Json::String(text) => {
                self.named.insert(text.clone());
            }
            Json::Array(list) => list.iter().for_each(|it| self.read(it)),
            Json::Object(members) => members.values().for_each(|it| self.read(it)),
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }

    fn use_it(&self, it: &Defined<'_>) -> bool {
        let telling = &it.distinction;
        // A group is there for its members, whatever else it has.
        let tells = it.of_type != GROUP
            && (telling.has_parents
                || telling.has_tags && self.tags
                || telling
                    .attributes
                    .iter()
                    .any(|it| self.attributes.contains(it)));
        tells || KNOWN_BY_BEING_THERE.contains(&it.of_type.as_str()) || self.named.contains(&it.id)
    }
}

impl Distinction {
    fn of(entity: &Json) -> Self {
        let has_any = |key: &str| match entity.get(key) {
            Some(Json::Array(list)) => !list.is_empty(),
            Some(Json::Object(members)) => !members.is_empty(),
            _ => false,
        };
        let attributes = entity.get("attrs").and_then(Json::as_object);
        Self {
            has_parents: has_any("parents"),
            has_tags: has_any("tags"),
            attributes: attributes
                .into_iter()
                .flat_map(|it| it.keys().cloned())
                .collect(),
        }
    }
}

/// The type and the id of an entity.
fn uid(entity: &Json) -> Option<(String, String)> {
    let uid = entity.get("uid")?;
    let uid = uid.get("__entity").unwrap_or(uid);
    let text = |key: &str| Some(uid.get(key)?.as_str()?.to_owned());
    Some((text("type")?, text("id")?))
}

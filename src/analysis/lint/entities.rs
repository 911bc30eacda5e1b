//! Lints of entities: what nobody refers to.

use std::collections::HashSet;

use callgate_engine::cedar::{BinaryOp, ExprKind, Literal};
use serde_json::Value as Json;

use crate::analysis::lint::code::Code;
use crate::analysis::lint::policies::Found;
use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::files::{BundleFiles, FileKind, SourceFile};
use crate::bundle::parse::json::{self, Step};
use crate::bundle::parse::policies::Policies;

/// The type of groups.
const GROUP: &str = "Mcp::Group";
/// Types whose entities are known by being there: what is not stored does not act and is not called.
const KNOWN_BY_BEING_THERE: [&str; 4] = ["Mcp::Agent", "Mcp::Server", "Mcp::Tool", "Mcp::Gateway"];

/// The attribute that is looked at whatever the policies say.
const ACTIVE: &str = "active";

/// What policies and the other files refer to.
#[derive(Default)]
struct References {
    /// Ids and other texts. A text that is an id by chance counts as one: rather no lint than a wrong one.
    named: HashSet<String>,
    /// Attributes that some policy reads, of whatever.
    attributes: HashSet<String>,
    /// Whether some policy reads tags.
    tags: bool,
}

/// An entity in a file.
struct Defined<'f> {
    source: &'f SourceFile,
    index: usize,
    of_type: String,
    id: String,
    /// What tells it apart though nobody names it.
    distinction: Distinction,
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
    unused.map(Defined::found).collect()
}

impl Defined<'_> {
    fn found(&self) -> Found {
        let Self { of_type, id, .. } = self;
        let code = match of_type.as_str() {
            GROUP => Code::GroupUnused,
            _ => Code::EntityUnused,
        };
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

//! Which entities can exist, and suggestions for undefined ones.
//!
//! Start at [`KnownEntities::has`].

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use callgate_engine::Snapshot;
use callgate_engine::cedar::{Eid, EntityType, EntityUID, Pattern, PatternElem};
use smol_str::SmolStr;

use crate::authn::caller::Caller;
use crate::bundle::UnreadRegistrations;
use crate::bundle::parse::entities::CollectedEntities;
use crate::config::Config;
use crate::domain::request::target::{TargetError, stored};
use crate::domain::schema::{self, TYPES};

/// Comparisons for suggestions in one compilation.
const MAX_COMPARISONS: usize = 2_000_000;
/// Longer names get no suggestion.
const MAX_COMPARED_CHARS: usize = 256;

/// The ids of the entities of each type that files define, in their order.
pub(crate) type EntityNames = HashMap<EntityType, Vec<SmolStr>>;

/// Where to look whether a file defines an entity.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DefinedEntities<'a> {
    /// Among those just parsed.
    Collected(&'a CollectedEntities),
    /// In a snapshot that was made from them.
    Stored(&'a Snapshot),
}

impl DefinedEntities<'_> {
    /// Whether a file defines the entity; none defines actions.
    pub(super) fn has(self, uid: &EntityUID) -> bool {
        match self {
            Self::Collected(collected) => collected.has(uid),
            Self::Stored(snapshot) => !uid.entity_type().is_action() && snapshot.contains(uid),
        }
    }
}

/// The entities that policies may name.
pub(crate) struct KnownEntities<'a> {
    defined: DefinedEntities<'a>,
    by_type: &'a EntityNames,
    gateways: HashSet<&'a str>,
    /// Prefixes of the groups that claims assign.
    prefixes: Vec<&'a str>,
    configured: Vec<Pattern>,
    /// Servers whose registration has faults.
    unread: &'a UnreadRegistrations<'a>,
    comparisons_left: Cell<usize>,
}

impl<'a> KnownEntities<'a> {
    pub(in crate::bundle) fn new(
        defined: DefinedEntities<'a>,
        names: &'a EntityNames,
        config: &'a Config,
        unread: &'a UnreadRegistrations<'a>,
    ) -> Self {
        let callers = config.callers.iter().map(|caller| caller.id.as_str());
        let configured = config.bundle.known.entities.iter();
        Self {
            defined,
            by_type: names,
            gateways: callers.chain([Caller::LOCAL]).collect(),
            prefixes: config
                .claims
                .groups
                .iter()
                .map(|claim| claim.prefix.as_str())
                .collect(),
            configured: configured.map(|name| pattern(name)).collect(),
            unread,
            comparisons_left: Cell::new(MAX_COMPARISONS),
        }
    }

    /// How many comparisons for suggestions are left. They are few enough in any bundle that people write.
    pub(super) fn comparisons_left(&self) -> usize {
        self.comparisons_left.get()
    }

    /// Goes on with so many comparisons.
    pub(super) fn leave_comparisons(&self, left: usize) {
        self.comparisons_left.set(left);
    }

    /// Whether the entity is defined, or may exist without being defined in files.
    pub(in crate::bundle) fn has(&self, uid: &EntityUID) -> bool {
        self.defined.has(uid)
            || self.comes_from_elsewhere(uid)
            || self.is_configured(uid)
            || self.is_of_unread(uid)
    }

    /// Whether it may be in a registration that has faults itself.
    fn is_of_unread(&self, uid: &EntityUID) -> bool {
        let (ty, id) = (uid.entity_type(), id_of(uid));
        let of_server = id.split_once('/').map(|(server, _)| server);
        let server = match of_server {
            Some(server) if *ty == TYPES.tool || *ty == TYPES.prompt => server,
            _ if *ty == TYPES.server => id,
            _ => return false,
        };
        self.unread.contains_key(server)
    }

    /// The canonical name of a target.
    fn canonical(&self, id: &str) -> Result<String, TargetError> {
        stored::canonical_name(id, |server| self.has_server(server))
    }

    /// Whether a server is defined.
    pub(super) fn has_server(&self, server: &str) -> bool {
        self.defined.has(&schema::server_uid(&server.into()))
    }

    /// Whether entities of a type come with the requests: it is a custom one without any definition.
    pub(super) fn come_with_requests(&self, ty: &EntityType) -> bool {
        !is_ours(ty) && !self.by_type.contains_key(ty)
    }

    /// Whether an entity can have members that no file tells of: claims add them, or the configuration names it.
    pub(super) fn may_have_other_members(&self, uid: &EntityUID) -> bool {
        let is_claimed = |prefix: &&str| id_of(uid).starts_with(prefix);
        let is_group = *uid.entity_type() == TYPES.group;
        is_group && self.prefixes.iter().any(is_claimed) || self.is_configured(uid)
    }

    fn is_configured(&self, uid: &EntityUID) -> bool {
        if self.configured.is_empty() {
            return false;
        }
        let name = plain(uid);
        self.configured.iter().any(|it| it.wildcard_match(&name))
    }

    fn comes_from_elsewhere(&self, uid: &EntityUID) -> bool {
        let (ty, id) = (uid.entity_type(), id_of(uid));
        if *ty == TYPES.task {
            return true;
        }
        if *ty == TYPES.gateway {
            return self.gateways.contains(id);
        }
        if *ty == TYPES.group {
            return self.prefixes.iter().any(|prefix| id.starts_with(prefix));
        }
        if *ty == TYPES.prompt {
            // Prompts are listed by servers, not defined in files.
            let server = id
                .split_once('/')
                .map(|(server, _)| schema::server_uid(&server.into()));
            return server.is_some_and(|server| self.has(&server));
        }
        if *ty == TYPES.resource {
            // Targets have canonical names and need no definition.
            let is_pattern = id.ends_with('*');
            return id.contains(':')
                && !is_pattern
                && self.canonical(id).is_ok_and(|name| name == id);
        }
        self.come_with_requests(ty)
    }

    /// The help for an undefined entity.
    pub(in crate::bundle) fn help(&self, uid: &EntityUID) -> String {
        let id = id_of(uid);
        if *uid.entity_type() == TYPES.resource && id.contains([':', '/']) {
            return match self.canonical(id) {
                Ok(name) if name == id => {
                    "`*` stands for any text only in a `like`; everything in a place is `in` it"
                        .to_owned()
                }
                Ok(name) => {
                    let meant = schema::entity_uid(&TYPES.resource, name);
                    format!("calls act upon it under its canonical name, `{meant}`")
                }
                Err(fault) => format!("no call can act upon it: its name {fault}"),
            };
        }
        match self.meant(uid) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "define it, or name it in `bundle.known.entities` if it comes from elsewhere"
                .to_owned(),
        }
    }

    /// The most similar defined entity.
    pub(in crate::bundle) fn meant(&self, uid: &EntityUID) -> Option<EntityUID> {
        let (ty, id) = (uid.entity_type(), id_of(uid));
        let names = self.by_type.get(ty).map(Vec::as_slice).unwrap_or_default();
        let left = self.comparisons_left.get();
        let names = names.get(..left.min(names.len())).unwrap_or_default();
        self.comparisons_left.set(left - names.len());
        let gateways = self.gateways.iter().copied();
        let gateways = gateways.filter(|_| *ty == TYPES.gateway);
        let defined = || names.iter().map(SmolStr::as_str);
        let of_type = |name: &str| EntityUID::from_components(ty.clone(), Eid::new(name), None);
        if let Some(name) = nearest(id, defined().chain(gateways)) {
            return Some(of_type(name));
        }
        // The name of a tool without its server.
        let is_part = |name: &&str| name.split_once('/').is_some_and(|(_, tool)| tool == id);
        if *ty == TYPES.tool
            && let Some(name) = defined().find(is_part)
        {
            return Some(of_type(name));
        }
        // The right name under the wrong type.
        let others = [
            &TYPES.group,
            &TYPES.user,
            &TYPES.agent,
            &TYPES.server,
            &TYPES.tool,
        ];
        let others = others.into_iter().filter(|other| *other != ty);
        others
            .map(|other| EntityUID::from_components(other.clone(), Eid::new(id), None))
            .find(|other| self.defined.has(other))
    }
}

/// Whether the embedded schema declares a type.
fn is_ours(ty: &EntityType) -> bool {
    let types = &*TYPES;
    let ours = [
        &types.agent,
        &types.gateway,
        &types.group,
        &types.prompt,
        &types.resource,
        &types.server,
        &types.task,
        &types.tool,
        &types.user,
    ];
    ours.contains(&ty)
}

/// What is wrong with naming an entity that is not known.
pub(super) fn unknown_entity(uid: &EntityUID) -> String {
    format!("`{uid}` is not defined")
}

/// The id of an entity, unescaped.
pub(super) fn id_of(uid: &EntityUID) -> &str {
    uid.eid().as_ref()
}

/// `Type::"id"`, without escapes.
fn plain(uid: &EntityUID) -> String {
    format!("{}::\"{}\"", uid.entity_type(), id_of(uid))
}

/// The most similar name within an edit distance of 1 to 3, by length.
pub(crate) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let length = name.chars().count();
    if length > MAX_COMPARED_CHARS {
        return None;
    }
    let lower = name.to_lowercase();
    let reach = match length {
        0..=5 => 1,
        6..=9 => 2,
        _ => 3,
    };
    let compared = names.filter(|it| it.len().abs_diff(name.len()) <= reach * 4);
    let mut best: Option<(usize, &str)> = None;
    for other in compared {
        if other == name || other.chars().count().abs_diff(length) > reach {
            continue;
        }
        let distance = strsim::osa_distance(&lower, &other.to_lowercase());
        if distance <= reach && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, other));
        }
    }
    best.map(|(_, other)| other)
}

/// Whether the configuration says that an entity comes from elsewhere.
pub(crate) fn is_configured(config: &Config, uid: &EntityUID) -> bool {
    let names = &config.bundle.known.entities;
    let plain = plain(uid);
    names
        .iter()
        .any(|name| pattern(name).wildcard_match(&plain))
}

/// Parses a configured name, in which `*` matches any text.
pub(super) fn pattern(name: &str) -> Pattern {
    let element = |c| match c {
        '*' => PatternElem::Wildcard,
        c => PatternElem::Char(c),
    };
    name.chars().map(element).collect()
}

//! Parses entities: `entities/*.json`, those of registrations, and the schema's actions.
//!
//! Start at [`collect`]. `members` reports unknown members.

mod members;

use std::collections::HashMap;
use std::sync::Arc;

use callgate_engine::cedar::{
    CoreSchema, Entity, EntityJsonParser, EntitySchemaConformanceChecker, EntityUID, Extensions,
    NoEntitiesSchema, TCComputation, ValidatorSchema,
};
use serde_json::Value as Json;

use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::files::SourceFile;
use crate::bundle::parallel::map_parallel;
use crate::bundle::parse::json::{self, Step};
use crate::bundle::parse::registration::Registration;
use crate::domain::hierarchy::{Chains, MAX_GENERATIONS, MAX_PARENTS};
use crate::domain::request::cedar_number;
use crate::domain::unconfirmed_tool;

/// The most entities of a bundle.
pub const MAX_ENTITIES: usize = 5_000_000;
/// Locating a fault scans its file, so at most this many are reported.
const MAX_TOLD: usize = 200;

/// What a parent is called among the attributes of an entity.
pub const PARENT: &str = "parent";

/// Entities of one file from which on parsing is parallel.
const SHARED_OUT: usize = 512;
/// Entities per parallel job.
const BATCH: usize = 256;

/// All entities of a bundle and the place each is defined at.
#[derive(Debug, Default)]
pub struct CollectedEntities {
    /// The entities, with direct parents.
    pub entities: Vec<Entity>,
    places: HashMap<EntityUID, EntityLocation>,
}

/// The place an entity is defined at.
#[derive(Debug, Clone)]
struct EntityLocation {
    source: SourceFile,
    path: EntityPath,
}

#[derive(Debug, Clone)]
enum EntityPath {
    Element(usize),
    Members(Vec<String>),
}

impl EntityLocation {
    fn steps(&self) -> Vec<Step<'_>> {
        match &self.path {
            EntityPath::Element(index) => vec![Step::Index(*index)],
            EntityPath::Members(keys) => keys.iter().map(|key| Step::Key(key)).collect(),
        }
    }

    fn fault(&self, message: impl Into<String>) -> BundleDiagnostic {
        json::diagnostic_at(self.source.origin(), &self.steps(), message).narrow()
    }

    fn shown(&self) -> String {
        let fault = self.fault("");
        format!("`{}` line {}", fault.file, fault.line.unwrap_or(0))
    }
}

impl CollectedEntities {
    /// Number of entities defined in files; the schema's actions do not count.
    pub fn written(&self) -> usize {
        self.places.len()
    }

    /// Whether a file defines the entity.
    pub fn has(&self, uid: &EntityUID) -> bool {
        self.places.contains_key(uid)
    }

    /// The file that defines an entity, if one does.
    pub fn file_of(&self, uid: &EntityUID) -> Option<&str> {
        self.places.get(uid).map(|place| &*place.source.file)
    }

    /// A fault located at an attribute of an entity, or at the entity if the attribute is not in the file.
    pub fn diagnostic_at_attribute(
        &self,
        uid: &EntityUID,
        attribute: &str,
        message: impl Into<String>,
    ) -> Option<BundleDiagnostic> {
        let place = self.places.get(uid)?;
        let mut steps = place.steps();
        if matches!(place.path, EntityPath::Element(_)) {
            steps.extend([Step::Key("attrs"), Step::Key(attribute)]);
        }
        Some(json::diagnostic_at(place.source.origin(), &steps, message))
    }

    /// A fault located at a text in an attribute (its path is dotted), a tag or the parents of an entity, or at the entity
    /// if the text is not found there.
    pub fn diagnostic_at_text(
        &self,
        uid: &EntityUID,
        attribute: &str,
        text: &str,
        message: impl Into<String>,
    ) -> Option<BundleDiagnostic> {
        let place = self.places.get(uid)?;
        let origin = place.source.origin();
        let mut steps = place.steps();
        let entity = origin.text.get(json::offset_of(origin.text, &steps)..)?;
        let mut values = serde_json::Deserializer::from_str(entity).into_iter::<Json>();
        let Some(Ok(json)) = values.next() else {
            return Some(place.fault(message));
        };
        let within: Vec<&str> = attribute.split('.').collect();
        let rooms = match place.path {
            EntityPath::Element(_) if attribute == PARENT => vec![vec!["parents"]],
            EntityPath::Element(_) => ["attrs", "tags"]
                .map(|room| [&[room], within.as_slice()].concat())
                .to_vec(),
            EntityPath::Members(_) if attribute == PARENT => vec![Vec::new()],
            EntityPath::Members(_) => vec![within],
        };
        let mut found = rooms
            .iter()
            .filter_map(|room| json::steps_to_text(&json, room, text));
        let Some(found) = found.next() else {
            return Some(place.fault(message));
        };
        steps.extend(found);
        Some(json::diagnostic_at(origin, &steps, message))
    }

    /// A fault located at an entity; `None` if no file defines it.
    pub fn diagnostic_at_entity(
        &self,
        uid: &EntityUID,
        message: impl Into<String>,
    ) -> Option<BundleDiagnostic> {
        self.places.get(uid).map(|place| place.fault(message))
    }
}

/// Parses every entity and validates it against the schema; without one (because the schema itself is invalid) only
/// the form is checked.
pub fn collect<'a>(
    sources: impl Iterator<Item = &'a SourceFile>,
    registrations: &[(&'a SourceFile, Registration)],
    schema: Option<&ValidatorSchema>,
    faults: &mut Vec<BundleDiagnostic>,
) -> CollectedEntities {
    let mut reader = EntityCollector {
        core: schema.map(CoreSchema::new),
        collected: CollectedEntities::default(),
        faults,
        told: 0,
    };
    for (source, registration) in registrations {
        for (path, json) in registration.entities() {
            let path = EntityPath::Members(path.into_iter().map(str::to_owned).collect());
            let parsed = reader.parser().parse(json);
            let source = (*source).clone();
            reader.take(EntityLocation { source, path }, parsed);
        }
    }
    for source in sources {
        match json::parse(source.origin()) {
            Ok(Json::Array(list)) => {
                reader.members(source, &list);
                for (index, parsed) in reader.parse_all(list).into_iter().enumerate() {
                    let place = EntityLocation {
                        source: source.clone(),
                        path: EntityPath::Element(index),
                    };
                    reader.take(place, parsed);
                }
            }
            Ok(_) => reader.faults.push(json::diagnostic_at(
                source.origin(),
                &[],
                "entities are a list",
            )),
            Err(fault) => reader.faults.push(fault),
        }
    }
    let mut collected = reader.collected;
    if let Some(uid) = find_too_deep(&collected.entities) {
        let message = format!("more than {MAX_GENERATIONS} generations stand above `{uid}`");
        faults.extend(collected.diagnostic_at_entity(uid, message));
    }
    match schema.map(ValidatorSchema::action_entities) {
        Some(Ok(actions)) => collected.entities.extend(actions.iter().cloned()),
        Some(Err(error)) => faults.push(BundleDiagnostic::for_file(
            &Arc::from("<schema>"),
            error.to_string(),
        )),
        None => {}
    }
    collected
}

/// The first entity with more than [`MAX_GENERATIONS`] generations above it.
fn find_too_deep(entities: &[Entity]) -> Option<&EntityUID> {
    let uids = entities.iter().map(|entity| (entity.uid(), entity));
    let by_uid: HashMap<&EntityUID, &Entity> = uids.collect();
    let mut above = Chains::new(|uid: &&EntityUID| {
        let entity = by_uid.get(uid);
        entity.map_or_else(Vec::new, |entity| entity.parents().collect())
    });
    let mut uids = entities.iter().map(Entity::uid);
    uids.find(|uid| above.length(uid).is_none())
}

struct EntityCollector<'s, 'f> {
    core: Option<CoreSchema<'s>>,
    collected: CollectedEntities,
    faults: &'f mut Vec<BundleDiagnostic>,
    told: usize,
}

impl EntityCollector<'_, '_> {
    fn parser(&self) -> EntityParser<'_> {
        EntityParser {
            core: self.core.as_ref(),
        }
    }

    /// Reports unknown members, which Cedar would silently ignore.
    fn members(&mut self, source: &SourceFile, list: &[Json]) {
        for (index, entity) in list.iter().enumerate() {
            if self.told >= MAX_TOLD {
                return;
            }
            if let Some((mut path, message, help)) = members::unknown(entity) {
                path.insert(0, Step::Index(index));
                let fault = json::diagnostic_at(source.origin(), &path, message);
                self.tell(help.into_iter().fold(fault, BundleDiagnostic::with_help));
            }
        }
    }

    /// Parses the entities of a file, in parallel from [`SHARED_OUT`] on.
    fn parse_all(&self, mut list: Vec<Json>) -> Vec<Result<Entity, String>> {
        let is_much = list.len() >= SHARED_OUT;
        let mut batches = Vec::new();
        while !list.is_empty() {
            batches.push(list.split_off(list.len().saturating_sub(BATCH)));
        }
        batches.reverse();
        let parser = self.parser();
        let parse = |batch: Vec<Json>| -> Vec<_> {
            batch.into_iter().map(|json| parser.parse(json)).collect()
        };
        let parsed = map_parallel(batches, is_much, parse);
        parsed.into_iter().flatten().collect()
    }

    fn take(&mut self, place: EntityLocation, parsed: Result<Entity, String>) {
        if self.collected.entities.len() >= MAX_ENTITIES {
            if self.collected.entities.len() == MAX_ENTITIES && self.faults.is_empty() {
                self.faults.push(place.fault(format!(
                    "the bundle holds more than {MAX_ENTITIES} entities"
                )));
            }
            return;
        }
        if self.told >= MAX_TOLD {
            return;
        }
        match parsed {
            Ok(entity) if entity.uid().entity_type().is_action() => {
                self.tell(place.fault("actions are defined in the schema, not among the entities"));
            }
            Ok(entity) if entity.parents().nth(MAX_PARENTS).is_some() => {
                self.tell(place.fault(format!("an entity has at most {MAX_PARENTS} parents")));
            }
            Ok(entity) => self.keep(place, entity),
            Err(message) => self.tell(place.fault(message)),
        }
    }

    fn tell(&mut self, fault: BundleDiagnostic) {
        self.told += 1;
        self.faults.push(fault);
    }

    fn keep(&mut self, place: EntityLocation, entity: Entity) {
        if let Some(earlier) = self.collected.places.get(entity.uid()) {
            let uid = entity.uid();
            let here = place.fault(format!(
                "the entity `{uid}` is defined twice, also in {}",
                earlier.shown()
            ));
            let there = earlier.fault(format!(
                "the entity `{uid}` is defined twice, also in {}",
                place.shown()
            ));
            self.tell(here);
            self.tell(there);
            return;
        }
        self.collected.places.insert(entity.uid().clone(), place);
        self.collected.entities.push(entity);
    }
}

struct EntityParser<'a> {
    core: Option<&'a CoreSchema<'a>>,
}

impl EntityParser<'_> {
    fn parse(&self, json: Json) -> Result<Entity, String> {
        if let Some(said) = cedar_number::unfit(&json, "") {
            return Err(said);
        }
        let extensions = Extensions::all_available();
        let tc = TCComputation::ComputeNow;
        let Some(core) = self.core else {
            let parser = EntityJsonParser::<NoEntitiesSchema>::new(None, extensions, tc);
            let parsed = parser.single_from_json_value(json);
            return parsed
                .map(unconfirmed_tool::in_force)
                .map_err(|error| chain(&error));
        };
        let parser = EntityJsonParser::new(Some(core), extensions, tc);
        let entity = parser
            .single_from_json_value(json)
            .map_err(|error| chain(&error))?;
        let checker = EntitySchemaConformanceChecker::new(core, extensions);
        checker
            .validate_entity(&entity)
            .map_err(|error| chain(&error))?;
        Ok(unconfirmed_tool::in_force(entity))
    }
}

/// An error with its sources: Cedar puts the essential part there.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

//! Parses template links: `links/*.json` and `*.links.json`, each a list of
//! `{"template": ID, "id": ID, "principal": {"type", "id"}, "resource": {"type", "id"}}`.
//!
//! Start at [`collect`].

use std::collections::HashMap;

use callgate_engine::cedar::{EntityUID, PolicyID, SlotId};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::bundle::diagnostic::{BundleDiagnostic, SourceText};
use crate::bundle::files::SourceFile;
use crate::bundle::parse::json::{self, Step};
use crate::bundle::parse::policies::{MAX_POLICIES, Policies};

/// One link in its file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateLink {
    template: String,
    id: String,
    principal: Option<LinkedEntity>,
    resource: Option<LinkedEntity>,
}

/// An entity reference in a link.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkedEntity {
    r#type: String,
    id: String,
}

/// The file and the index of each link, by id.
pub type LinkPlaces<'a> = HashMap<String, (&'a SourceFile, usize)>;

/// Links the templates of `policies`.
pub fn collect<'a>(
    sources: impl Iterator<Item = &'a SourceFile>,
    policies: &mut Policies,
    faults: &mut Vec<BundleDiagnostic>,
) -> LinkPlaces<'a> {
    let mut places = LinkPlaces::new();
    for source in sources {
        let origin = source.origin();
        match json::parse(origin) {
            Ok(Json::Array(list)) => {
                for (index, element) in list.iter().enumerate() {
                    if let Err(message) = add(element, policies, &places) {
                        faults.push(json::diagnostic_at(origin, &[Step::Index(index)], message));
                    } else if let Some(id) = element.get("id").and_then(Json::as_str) {
                        places.insert(id.to_owned(), (source, index));
                    }
                }
            }
            Ok(_) => faults.push(json::diagnostic_at(
                origin,
                &[],
                "template links are a list",
            )),
            Err(fault) => faults.push(fault),
        }
    }
    places
}

fn add(element: &Json, policies: &mut Policies, places: &LinkPlaces<'_>) -> Result<(), String> {
    let link = TemplateLink::deserialize(element).map_err(|error| error.to_string())?;
    if places.len() >= MAX_POLICIES {
        return Err(format!("the bundle holds more than {MAX_POLICIES} links"));
    }
    let taken = policies
        .place(&link.id)
        .map(|(SourceText { file, .. }, ..)| file.to_string());
    let taken = taken.or_else(|| {
        places
            .get(&link.id)
            .map(|(source, _)| source.file.to_string())
    });
    if let Some(file) = taken {
        return Err(format!(
            "the policy id `{}` is used twice, also in `{file}`",
            link.id
        ));
    }
    if link.id.is_empty() {
        return Err("an empty policy id".to_owned());
    }
    let mut values = HashMap::new();
    for (slot, uid) in [
        (SlotId::principal(), link.principal),
        (SlotId::resource(), link.resource),
    ] {
        if let Some(uid) = uid {
            values.insert(slot, uid.parse()?);
        }
    }
    let template = PolicyID::from_string(&link.template);
    let is_template = policies
        .set
        .get_template(&template)
        .is_some_and(|found| found.slots().next().is_some());
    if !is_template {
        return Err(format!("there is no template `{}`", link.template));
    }
    let linked = policies
        .set
        .link(template, PolicyID::from_string(&link.id), values);
    linked.map(|_| ()).map_err(|error| error.to_string())
}

impl LinkedEntity {
    fn parse(&self) -> Result<EntityUID, String> {
        let name = self
            .r#type
            .parse()
            .map_err(|_| format!("`{}` is not an entity type", self.r#type))?;
        Ok(EntityUID::from_components(
            name,
            callgate_engine::cedar::Eid::new(self.id.as_str()),
            None,
        ))
    }
}

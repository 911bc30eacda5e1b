//! `callgate entity`: stored entities of a running server.

use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use serde_json::{Map, Value as Json, json};

use crate::cli::call_args::read_text;
use crate::cli::control::{ControlArgs, LimitArgs, ListPage, WriteArgs};
use crate::cli::output::Exit;
use crate::cli::render::{Details, entity};
use crate::cli::value_parser;
use crate::cli::views;
use crate::proto::v1;

/// Puts, shows and takes away entities of a running server
///
/// People, agents, groups and everything else that policies speak of. An entity that the directory of
/// policies defines cannot be put; if the directory comes to define one that was put, the directory's is
/// in force.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub ask: ControlArgs,
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  callgate entity put user:kim --as user:ines --attr active=true --parent group:staff
  callgate entity put agent:scout --as user:ines --attr active=true --ref owner=user:kim
  callgate entity put --file kim.json --as user:ines
  callgate entity get user:kim
  callgate entity list --type user
  callgate entity delete user:kim --as user:ines

Exit codes: 0 done, 1 error, 2 denied.";

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Put(Put),
    Get(Get),
    List(List),
    Delete(Delete),
}

/// Adds an entity, or replaces one that was put before
///
/// The whole entity is given, from flags or from a file in Cedar's JSON form:
/// {"uid": {"type": "Mcp::User", "id": "kim"}, "attrs": {"active": true},
///  "parents": [{"type": "Mcp::Group", "id": "staff"}], "tags": {"team": ["billing"]}}
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(verbatim_doc_comment)]
struct Put {
    /// The entity: `user:kim`, `agent:scout`, `group:staff` or a whole name
    #[arg(required_unless_present = "file", conflicts_with = "file", value_parser = value_parser::entity)]
    uid: Option<v1::EntityRef>,
    /// Read the entity from this file in Cedar's JSON form; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["attr", "refs", "parents", "tags"])]
    file: Option<PathBuf>,
    /// An attribute; the value is JSON, or else a string (may be repeated)
    #[arg(long, value_name = "NAME=VALUE", value_parser = value_parser::with_value)]
    attr: Vec<(String, Json)>,
    /// An attribute that is another entity (may be repeated)
    #[arg(long = "ref", value_name = "NAME=ENTITY", value_parser = value_parser::with_entity)]
    refs: Vec<(String, v1::EntityRef)>,
    /// An entity that this one is in (may be repeated)
    #[arg(long = "parent", value_name = "ENTITY", value_parser = value_parser::entity)]
    parents: Vec<v1::EntityRef>,
    /// One value of a tag, which is a set of strings (may be repeated)
    #[arg(long = "tag", value_name = "NAME=TEXT", value_parser = value_parser::with_text)]
    tags: Vec<(String, String)>,
    #[command(flatten)]
    write: WriteArgs,
}

/// Shows an entity as decisions see it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Get {
    /// The entity: `user:kim` or a whole name
    #[arg(value_parser = value_parser::entity)]
    uid: v1::EntityRef,
}

/// Lists entities that were put, by type and id
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct List {
    /// Only this type: `user`, `agent` or a whole name
    #[arg(long = "type", value_name = "TYPE", value_parser = value_parser::kind)]
    of_type: Option<String>,
    #[command(flatten)]
    limit: LimitArgs,
}

/// Takes away an entity that was put
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Delete {
    /// The entity: `user:kim` or a whole name
    #[arg(value_parser = value_parser::entity)]
    uid: v1::EntityRef,
    #[command(flatten)]
    write: WriteArgs,
}

/// Sends the request and prints the response.
///
/// # Errors
///
/// If an argument is invalid, or the request fails.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let ask = &args.ask;
    match &args.verb {
        Verb::Put(it) => put(ask, it),
        Verb::Get(it) => {
            let uid = Some(it.uid.clone());
            let asked = v1::GetEntityRequest { uid };
            let answer = ask.question(asked, async |to, it| to.get_entity(it).await)?;
            let found = answer.entity.clone().unwrap_or_default();
            let text = views::stored_entity(&found)?.revision(answer.revision);
            ask.answer(&text, "GetEntityResponse", &answer)
        }
        Verb::List(it) => list(ask, it),
        Verb::Delete(it) => {
            let asked = v1::DeleteEntityRequest {
                actor: it.write.actor(),
                idempotency_key: it.write.key(),
                uid: Some(it.uid.clone()),
            };
            let again = it.write.once.again();
            let answer = ask.change(again, asked, async |to, it| to.delete_entity(it).await)?;
            let text = Details::new(format!("{} is gone", entity(&it.uid)));
            ask.answer(
                &text.revision(answer.revision),
                "DeleteEntityResponse",
                &answer,
            )
        }
    }
}

fn put(ask: &ControlArgs, it: &Put) -> anyhow::Result<Exit> {
    let given = it.entity()?;
    let uid = given.uid.as_ref().map(entity).unwrap_or_default();
    let asked = v1::PutEntityRequest {
        actor: it.write.actor(),
        idempotency_key: it.write.key(),
        entity: Some(given),
    };
    let again = it.write.once.again();
    let answer = ask.change(again, asked, async |to, it| to.put_entity(it).await)?;
    let text = Details::new(format!("{uid} is put")).revision(answer.revision);
    ask.answer(&text, "PutEntityResponse", &answer)
}

fn list(ask: &ControlArgs, it: &List) -> anyhow::Result<Exit> {
    let all = ask.pages(it.limit.limit, |page_size, page_token| {
        let asked = v1::ListEntitiesRequest {
            r#type: it.of_type.clone().unwrap_or_default(),
            page_size,
            page_token,
        };
        let answer = ask.question(asked, async |to, it| to.list_entities(it).await)?;
        Ok(ListPage {
            items: answer.entities,
            next: answer.next_page_token,
            revision: answer.revision,
        })
    })?;
    let shown = all.items.iter().map(views::stored_entity);
    let shown = shown.collect::<anyhow::Result<Vec<_>>>()?;
    let text = views::list(&shown, "entity", !all.next.is_empty(), all.revision);
    let answer = v1::ListEntitiesResponse {
        entities: all.items,
        next_page_token: all.next,
        revision: all.revision,
    };
    ask.answer(&text, "ListEntitiesResponse", &answer)
}

impl Put {
    /// Builds the entity from the file or the flags.
    fn entity(&self) -> anyhow::Result<v1::Entity> {
        let json = match &self.file {
            Some(path) => {
                let (text, name) = read_text(path)?;
                let read = value_parser::strict_json(&name, &text);
                let read = read.map_err(|said| anyhow!("{name}: {said}"))?;
                let entity = from_cedar(read).and_then(|json| as_message(&json));
                return entity.with_context(|| format!("{name} is not an entity"));
            }
            None => self.flags_as_json()?,
        };
        as_message(&json)
    }

    fn flags_as_json(&self) -> anyhow::Result<Json> {
        let Some(uid) = &self.uid else {
            bail!("name the entity");
        };
        let as_json = |it: &v1::EntityRef| json!({"type": it.r#type, "id": it.id});
        let mut attributes = Map::new();
        let refs = self.refs.iter();
        let refs = refs.map(|(name, it)| (name.clone(), json!({"__entity": as_json(it)})));
        for (name, value) in self.attr.iter().cloned().chain(refs) {
            if attributes.insert(name.clone(), value).is_some() {
                bail!("the attribute `{name}` is given twice");
            }
        }
        let mut tags: Map<String, Json> = Map::new();
        for (name, value) in &self.tags {
            let values = tags.entry(name).or_insert_with(|| json!([]));
            if let Json::Array(values) = values {
                values.push(value.as_str().into());
            }
        }
        Ok(json!({
            "uid": as_json(uid),
            "attributes": attributes,
            "parents": self.parents.iter().map(as_json).collect::<Vec<_>>(),
            "tags": tags,
        }))
    }
}

/// Converts Cedar's JSON form to the protocol's: `attrs` becomes `attributes`, entity references lose `__entity`.
fn from_cedar(json: Json) -> anyhow::Result<Json> {
    let Json::Object(mut entity) = json else {
        bail!("it is not one JSON object");
    };
    let plain = |name: Json| match name {
        // Members beside `__entity` are not dropped.
        Json::Object(mut it) if it.len() == 1 => it.remove("__entity").unwrap_or(Json::Object(it)),
        other => other,
    };
    if let Some(attributes) = entity.remove("attrs") {
        let other = entity.insert("attributes".to_owned(), attributes);
        if other.is_some() {
            bail!("it has both `attrs` and `attributes`, which are the same");
        }
    }
    if let Some(uid) = entity.remove("uid") {
        entity.insert("uid".to_owned(), plain(uid));
    }
    if let Some(Json::Array(parents)) = entity.remove("parents") {
        let parents = parents.into_iter().map(plain).collect();
        entity.insert("parents".to_owned(), Json::Array(parents));
    }
    Ok(Json::Object(entity))
}

fn as_message(json: &Json) -> anyhow::Result<v1::Entity> {
    Ok(crate::proto::json::read("Entity", &json.to_string())?)
}

#[cfg(test)]
#[path = "entity_tests.rs"]
mod tests;

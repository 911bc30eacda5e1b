//! Registered tools: parsed when they are loaded, looked up once per call.
//!
//! Start at [`RegisteredTool::from_entity`]. A file and the control API both register a tool as an entity
//! `Mcp::Tool`; this module is its only reader. [`RegisteredTools`] accompanies a snapshot.

use std::collections::BTreeSet;
use std::sync::Arc;

use callgate_engine::cedar::{EntityUID, Literal, Value, ValueKind};
use callgate_engine::{Snapshot, StaleCursorError, StoredEntity};
use foldhash::fast::RandomState;
use rpds::HashTrieMapSync;
use serde_json::{Map, Value as Json};
use smol_str::{SmolStr, format_smolstr};

use crate::domain::request::argument_order;
use crate::domain::request::arguments::{ArgumentError, ArgumentReport, ArgumentSchema};
use crate::domain::request::target::argument::{ArgumentPath, TargetArgument, TargetArgumentForm};
use crate::domain::schema::{self, AccessLevel, TYPES};
use crate::domain::shared_list::SharedList;

/// The number of entities read at a time when all tools are collected.
const PIECE: usize = 4_096;

/// The owner of a server for which nobody has named one: a newly imported one.
pub const UNASSIGNED: &str = "unassigned";

/// A registered tool.
#[derive(Debug, Clone)]
pub struct RegisteredTool {
    /// `Mcp::Tool::"<server>/<tool>"`.
    pub uid: EntityUID,
    /// `Mcp::Action::"<server>/<tool>"`, its own action, if the schema has that.
    pub own_action: EntityUID,
    /// The access level of a call; `admin` unless the registration is confirmed.
    pub access: AccessLevel,
    /// The arguments that name targets, or why they are invalid, which denies every call.
    pub target_arguments: Result<Vec<TargetArgument>, SmolStr>,
    /// The arguments that hold the contents of files. What is no path of an argument is left out: it is a text like others.
    pub file_contents: Vec<ArgumentPath>,
    /// The labels of the tool's results.
    pub yields: SharedList<SmolStr>,
    /// The digest of the pinned definition, `sha256:<hex>`.
    pub digest: Option<SmolStr>,
    /// The digests of the definition's parts, to report which one changed
    /// ([`crate::domain::request::definition::ToolDefinition::parts`]).
    pub digest_parts: Option<SmolStr>,
    /// The argument names in the pinned schema; `None` if no schema is pinned.
    pub arguments: Option<ArgumentSchema>,
    /// The argument names in the order of the pinned schema.
    pub argument_order: Vec<SmolStr>,
}

/// All registered tools of one revision. A clone is cheap: changed copies share what did not change.
#[derive(Debug, Clone, Default)]
pub struct RegisteredTools {
    tools: HashTrieMapSync<EntityUID, Arc<RegisteredTool>, RandomState>,
    /// The labels of the results of all tools of a server, by its name. Those of a tool that is removed or replaced stay, as
    /// results of before have them.
    labels: HashTrieMapSync<SmolStr, SharedList<SmolStr>, RandomState>,
}

impl RegisteredTool {
    /// Parses the entity of a tool.
    pub fn from_entity(uid: &EntityUID, stored: StoredEntity<'_>) -> Self {
        let is_confirmed = stored.bool("confirmed") == Some(true);
        let access = string_attribute(stored, "access").filter(|_| is_confirmed);
        let pinned = string_attribute(stored, "input_schema");
        let argument_order = pinned
            .as_deref()
            .map(argument_order::schema_order)
            .unwrap_or_default();
        let pinned = pinned.and_then(|text| serde_json::from_str(&text).ok());
        Self {
            uid: uid.clone(),
            own_action: schema::action_uid(uid.eid().as_ref()),
            access: access
                .and_then(|name| AccessLevel::from_name(&name))
                .unwrap_or(AccessLevel::Admin),
            target_arguments: target_arguments(stored),
            // What nobody has confirmed makes no call easier.
            file_contents: string_set_attribute(stored, "file_contents")
                .iter()
                .filter(|_| is_confirmed)
                .filter_map(|path| ArgumentPath::parse(path).ok())
                .collect(),
            yields: string_set_attribute(stored, "yields").into(),
            digest: string_attribute(stored, "digest"),
            digest_parts: string_attribute(stored, "digest_parts"),
            arguments: pinned.as_ref().map(ArgumentSchema::from_schema),
            argument_order,
        }
    }
}

impl RegisteredTool {
    /// The arguments that a call may have besides those told, if not all may be told, e.g. `arguments.path`; `arguments`
    /// where it may be any. An object counts as told in part. Arguments that no pinned schema declares are left out.
    pub fn untold_arguments(&self, told: &Map<String, Json>) -> Vec<String> {
        let whole = || vec!["arguments".to_owned()];
        let Some(schema) = &self.arguments else {
            return whole();
        };
        let Ok(targets) = &self.target_arguments else {
            return whole();
        };
        let targets: Vec<_> = targets.iter().map(|it| it.place.outermost()).collect();
        let (Some(declared), true) = (schema.only_names(), targets.iter().all(Option::is_some))
        else {
            return whole();
        };
        let names: BTreeSet<_> = declared.chain(targets.into_iter().flatten()).collect();
        if told.is_empty() && !names.is_empty() {
            return whole();
        }
        let is_untold = |name: &&SmolStr| told.get(name.as_str()).is_none_or(Json::is_object);
        let untold = names.into_iter().filter(is_untold);
        untold.map(|name| format!("arguments.{name}")).collect()
    }

    /// Checks the arguments of a call against the pinned schema. Without one all are undeclared. A text that names a target is one
    /// to every server, whatever the schema says.
    ///
    /// # Errors
    ///
    /// As [`ArgumentSchema::check`] and [`ArgumentSchema::check_target_texts`].
    pub fn check_arguments(
        &self,
        arguments: &Map<String, Json>,
    ) -> Result<ArgumentReport, ArgumentError> {
        let schema = self.arguments.as_ref();
        let report = schema
            .unwrap_or(&ArgumentSchema::UNKNOWN)
            .check(arguments)?;
        let targets = self.target_arguments.iter().flatten();
        ArgumentSchema::check_target_texts(targets.flat_map(TargetArgument::outermost), arguments)?;
        Ok(report)
    }

    /// Whether a call of it may act upon targets.
    pub fn has_targets(&self) -> bool {
        (self.target_arguments.as_ref()).map_or(true, |arguments| !arguments.is_empty())
    }

    /// Sorts argument names for display: target arguments first, then in the order of the schema.
    pub fn arrange<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<SmolStr> {
        let targets = self.target_arguments.iter().flatten();
        let outermost: Vec<_> = targets.filter_map(|it| it.place.outermost()).collect();
        let is_target = |name: &str| outermost.iter().any(|target| *target == name);
        argument_order::arrange(names, is_target, &self.argument_order)
    }
}

impl RegisteredTools {
    /// The tools among the entities of a snapshot.
    pub fn from_snapshot(snapshot: &Snapshot) -> Self {
        let mut tools = Self::default();
        let mut after = None;
        // A position in a snapshot stays valid for that snapshot.
        while let Ok::<_, StaleCursorError>(piece) =
            snapshot.list_entities(&TYPES.tool, after, PIECE)
        {
            for (uid, _) in &piece.entities {
                tools.update(snapshot, uid);
            }
            after = piece.next;
            if after.is_none() {
                break;
            }
        }
        tools
    }

    /// Parses the entity of a tool again after it was added, replaced or removed. Other entities are ignored.
    pub fn update(&mut self, snapshot: &Snapshot, uid: &EntityUID) {
        if *uid.entity_type() != TYPES.tool {
            return;
        }
        match snapshot.entity(uid) {
            Some(stored) => {
                let tool = RegisteredTool::from_entity(uid, stored);
                self.add_labels(&tool);
                self.tools.insert_mut(uid.clone(), Arc::new(tool));
            }
            None => {
                self.tools.remove_mut(uid);
            }
        }
    }

    /// The tool with this uid.
    pub fn get(&self, uid: &EntityUID) -> Option<&Arc<RegisteredTool>> {
        self.tools.get(uid)
    }

    /// The labels that results of tools of this server may have.
    pub fn labels_of_server(&self, server: &str) -> &[SmolStr] {
        self.labels.get(server).map_or(&[], |labels| labels)
    }

    fn add_labels(&mut self, tool: &RegisteredTool) {
        let id: &str = tool.uid.eid().as_ref();
        let server = id.split_once('/').map_or(id, |(server, _)| server);
        let known = self.labels_of_server(server);
        let is_new = |label: &&SmolStr| !known.contains(label);
        let mut new = tool.yields.iter().filter(is_new).peekable();
        if new.peek().is_some() {
            let all = known.iter().chain(new).cloned().collect();
            self.labels.insert_mut(SmolStr::new(server), all);
        }
    }
}

fn target_arguments(stored: StoredEntity<'_>) -> Result<Vec<TargetArgument>, SmolStr> {
    let Some(value) = stored.attribute("target_arguments") else {
        return Ok(Vec::new());
    };
    let ValueKind::Set(list) = &value.value else {
        return Err(SmolStr::new_static("is not a set"));
    };
    let mut arguments = Vec::with_capacity(list.len());
    for value in list.iter() {
        let written = TargetArgumentForm::of_value(value);
        let written = written.ok_or(SmolStr::new_static("has an entry that is none"))?;
        let argument = TargetArgument::read(&written)
            .map_err(|fault| format_smolstr!("`{}` {}", fault.field, fault.message))?;
        arguments.push(argument);
    }
    Ok(arguments)
}

/// An attribute that is a set of strings; empty if it is absent or has another type.
pub fn string_set_attribute(entity: StoredEntity<'_>, name: &str) -> Vec<SmolStr> {
    match entity.attribute(name).map(|value| value.value) {
        Some(ValueKind::Set(texts)) => texts.iter().filter_map(text_of).cloned().collect(),
        _ => Vec::new(),
    }
}

fn string_attribute(entity: StoredEntity<'_>, name: &str) -> Option<SmolStr> {
    text_of(&entity.attribute(name)?).cloned()
}

fn text_of(value: &Value) -> Option<&SmolStr> {
    match &value.value {
        ValueKind::Lit(Literal::String(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
#[path = "registration_tests.rs"]
mod tests;

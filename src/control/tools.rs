//! Tools: register, pin a definition.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::{Value as Json, json};
use smol_str::{SmolStr, ToSmolStr as _};

use crate::control::entities::{plan_entity, planned, refuse_of_bundle};
use crate::control::error::ControlError;
use crate::control::requester::WriteRequester;
use crate::control::write::{Control, WriteReceipt};
use crate::control::write_context::{GovernContext, WriteContext};
use crate::domain::names::{MAX_TOOL_NAME_BYTES, NameError, check_tool_name};
use crate::domain::registration_entry::{ConfirmationStatus, Sensitivity, ToolEntry};
use crate::domain::request::argument_order;
use crate::domain::request::definition::ToolDefinition as Pin;
use crate::domain::request::target;
use crate::domain::request::target::argument::TargetArgumentForm;
use crate::domain::request::target::check::TargetArgumentError;
use crate::domain::request::visible::shown;
use crate::domain::schema::{self, AccessLevel};

/// The field with the definition of a tool.
const DEFINITION: &str = "definition_json";

/// A tool as a person registers it.
#[derive(Debug, Clone)]
pub struct NewTool {
    /// The server.
    pub server: SmolStr,
    /// The tool's name on that server.
    pub tool: SmolStr,
    /// Its access level.
    pub access: AccessLevel,
    /// The labels of what is read from it.
    pub yields: Vec<SmolStr>,
    /// Whether it can send data out.
    pub egress: bool,
    /// The sensitivity of what it accesses.
    pub sensitivity: SmolStr,
    /// Its owner, the id of a user.
    pub owner: SmolStr,
    /// Groups it belongs to, besides its server.
    pub groups: Vec<SmolStr>,
    /// The arguments that name the resources acted upon.
    pub target_arguments: Vec<TargetArgumentForm>,
    /// The arguments that hold the contents of files.
    pub file_contents: Vec<SmolStr>,
    /// The definition to pin.
    pub definition: Option<ToolDefinition>,
}

/// A tool's definition, as in `tools/list`.
#[derive(Debug, Clone)]
pub struct ToolDefinition {
    /// The definition.
    pub json: Json,
    /// The names of its arguments, in their order.
    pub argument_order: Vec<SmolStr>,
}

/// A new definition of a tool.
#[derive(Debug, Clone)]
pub struct NewPin {
    /// The server.
    pub server: SmolStr,
    /// The tool's name on that server.
    pub tool: SmolStr,
    /// The definition to pin.
    pub definition: ToolDefinition,
}

impl Control {
    /// Registers a tool, or replaces its registration. Returns the pinned digest.
    ///
    /// # Errors
    ///
    /// [`ControlError::Invalid`] for a field that cannot be used, [`ControlError::Denied`] if Cedar does not allow it,
    /// and the errors of a write.
    pub async fn register_tool(
        &self,
        author: &WriteRequester,
        new: NewTool,
    ) -> Result<WriteReceipt<Option<SmolStr>>, ControlError> {
        let definition = new.definition.as_ref();
        let pin = definition.map(|definition| pin_of(definition, &new.tool));
        let pin = pin.transpose();
        let pinned = pin.clone();
        let plan = move |context: &WriteContext<'_>| {
            let pin = pin?;
            let entry = new.entry(pin.as_ref())?;
            check_server(context, &new.server)?;
            let uid = schema::tool_uid(&new.server, &new.tool);
            context.set_object(uid.to_smolstr());
            let mut json = entry.to_entity(&new.server, &new.tool, &new.owner);
            // Stored entities are parsed without a schema, which needs the explicit form of references.
            let owner = json["attrs"]["owner"].take();
            json["attrs"]["owner"] = json!({"__entity": owner});
            let longest = match new.definition {
                Some(_) => DEFINITION,
                None => "tool",
            };
            let change = plan_entity(context, &uid, &json, ("tool", longest))?;
            context.govern(
                "edit_entities",
                &context.gateway(),
                GovernContext::default(),
            )?;
            Ok(planned("RegisterTool", &uid, change))
        };
        let written = self.write("RegisterTool", author, plan).await?;
        Ok(WriteReceipt {
            value: pinned?.map(|pin| pin.digests().pinned().clone()),
            revision: written.revision,
            is_durable: written.is_durable,
            is_recorded: written.is_recorded,
        })
    }

    /// Pins a new definition of a tool that was registered over the control API. Returns the pinned digest.
    ///
    /// # Errors
    ///
    /// As [`Control::register_tool`].
    pub async fn pin_tool(
        &self,
        author: &WriteRequester,
        new: NewPin,
    ) -> Result<WriteReceipt<SmolStr>, ControlError> {
        let pin = pin_of(&new.definition, &new.tool);
        let pinned = pin.clone();
        let plan = move |context: &WriteContext<'_>| {
            let pin = pin?;
            let uid = schema::tool_uid(&new.server, &new.tool);
            context.set_object(uid.to_smolstr());
            refuse_of_bundle(context, &uid)?;
            let known = context.generation.stored.get(&uid);
            let known = known.ok_or_else(|| ControlError::not_found("tool", uid.eid().as_ref()))?;
            let mut json: Json = serde_json::from_str(known)
                .map_err(|error| ControlError::Precondition(error.to_string()))?;
            write_pin(&mut json["attrs"], &pin, &new.definition);
            check_targets(
                &pinned_targets(&json),
                new.definition.json.get("inputSchema"),
            )?;
            let change = plan_entity(context, &uid, &json, ("tool", DEFINITION))?;
            context.govern(
                "edit_entities",
                &context.gateway(),
                GovernContext::default(),
            )?;
            Ok(planned("PinTool", &uid, change))
        };
        let written = self.write("PinTool", author, plan).await?;
        Ok(WriteReceipt {
            value: pinned?.digests().pinned().clone(),
            revision: written.revision,
            is_durable: written.is_durable,
            is_recorded: written.is_recorded,
        })
    }
}

fn pin_of(
    ToolDefinition {
        json: definition, ..
    }: &ToolDefinition,
    tool: &str,
) -> Result<Pin, ControlError> {
    let invalid = |message: String| ControlError::invalid(DEFINITION, message);
    let named = definition
        .as_object()
        .filter(|it| it.get("name").and_then(Json::as_str) == Some(tool));
    let Some(definition) = named else {
        let message = format!(
            "is not the definition of `{}`: that has it as its `name`",
            shown(tool)
        );
        return Err(invalid(message));
    };
    Pin::from_json(definition, tool).map_err(|said| invalid(format!("cannot be pinned: {said}")))
}

/// Refuses target arguments that cannot work with the schema that is pinned.
fn check_targets(list: &[TargetArgumentForm], schema: Option<&Json>) -> Result<(), ControlError> {
    match target::check::check(list, schema).into_iter().next() {
        None => Ok(()),
        Some(TargetArgumentError { index, fault }) => {
            let field = format!("target_arguments[{index}].{}", fault.field);
            Err(ControlError::invalid(field, fault.message))
        }
    }
}

/// The target arguments of a stored tool.
fn pinned_targets(json: &Json) -> Vec<TargetArgumentForm> {
    let list = json["attrs"]["target_arguments"].as_array();
    let list = list.into_iter().flatten();
    list.filter_map(|it| TargetArgumentForm::deserialize(it).ok())
        .collect()
}

fn check_server(context: &WriteContext<'_>, server: &SmolStr) -> Result<(), ControlError> {
    if !context
        .generation
        .snapshot
        .contains(&schema::server_uid(server))
    {
        let message = format!("`{}` is not a registered server", shown(server));
        return Err(ControlError::invalid("server", message));
    }
    Ok(())
}

/// Pins a definition: its digest, its parts, and the schema of its arguments.
fn write_pin(attrs: &mut Json, pin: &Pin, definition: &ToolDefinition) {
    attrs["digest"] = json!(pin.digests().pinned().as_str());
    attrs["digest_parts"] = json!(pin.parts());
    if let Some(schema) = definition.json.get("inputSchema") {
        let text = argument_order::schema_text(schema, &definition.argument_order);
        attrs["input_schema"] = Json::String(text);
    }
}

impl NewTool {
    /// The entry that a registration file would have. A person asks for it, so it is confirmed.
    fn entry(&self, pin: Option<&Pin>) -> Result<ToolEntry, ControlError> {
        if let Err(error) = check_tool_name(&self.tool) {
            let message = match error {
                NameError::EmptyTool => "is empty".to_owned(),
                _ => format!("is longer than {MAX_TOOL_NAME_BYTES} bytes"),
            };
            return Err(ControlError::invalid("tool", message));
        }
        let Some(sensitivity) = Sensitivity::from_name(&self.sensitivity) else {
            let known = Sensitivity::ALL.map(Sensitivity::as_str).join("`, `");
            let message = format!("`{}` is not one of `{known}`", shown(&self.sensitivity));
            return Err(ControlError::invalid("sensitivity", message));
        };
        let texts = |list: &[SmolStr]| list.iter().map(SmolStr::to_string).collect();
        let definition = self.definition.as_ref();
        let entry = ToolEntry {
            access: self.access,
            status: ConfirmationStatus::Confirmed,
            yields: texts(&self.yields),
            egress: self.egress,
            sensitivity,
            owner: Some(self.owner.to_string()),
            digest: pin.map(|pin| pin.digests().pinned().to_string()),
            digest_parts: pin.map(Pin::parts),
            previous_digest: None,
            description: None,
            previous_definition: None,
            target_arguments: self.target_arguments.clone(),
            file_contents: texts(&self.file_contents),
            typed: false,
            groups: texts(&self.groups),
            tags: BTreeMap::new(),
            why: BTreeMap::new(),
            input_schema: definition.and_then(|it| it.json.get("inputSchema").cloned()),
            argument_order: definition.map_or_else(Vec::new, |it| it.argument_order.clone()),
        };
        match entry.errors().into_iter().next() {
            None => Ok(entry),
            Some(error) => Err(ControlError::invalid(error.path(), error.message)),
        }
    }
}

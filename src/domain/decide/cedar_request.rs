//! The Cedar request of an operation: its action, resource and operation-specific facts.

use std::borrow::Cow;
use std::sync::Arc;

use smol_str::SmolStr;
use url::Url;

use callgate_engine::cedar::EntityUID;
use callgate_engine::{Overlay, Snapshot};
use serde_json::Value as Json;

use crate::authn::caller::Caller;
use crate::domain::authority::scope::RequestedAccess;
use crate::domain::decide::facts::inputs::OperationContext;
use crate::domain::decide::inputs::DecisionInputs;
use crate::domain::decide::tool_input;
use crate::domain::decide::verify;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::registration::RegisteredTool;
use crate::domain::request::arguments::{ArgumentReport, ArgumentSchema};
use crate::domain::request::call_context::{Initiator, Operation, OperationKind, ToolCall};
use crate::domain::request::definition::DefinitionDigests;
use crate::domain::request::elicitation;
use crate::domain::request::target::extract::{self, CallTargetError};
use crate::domain::request::target::host::Host;
use crate::domain::request::target::{self, Target, TargetError, TargetKind, text};
use crate::domain::schema::{self, AccessLevel, TYPES};

/// The maximum number of targets of one call.
pub const MAX_TARGETS: usize = 32;

/// The Cedar request of an operation, without its principal.
#[derive(Debug)]
pub struct CedarRequest {
    /// The action.
    pub action: EntityUID,
    /// The resource.
    pub resource: EntityUID,
    /// Entities that exist for this request only, besides the targets.
    pub overlays: Vec<Overlay>,
    /// Facts of this operation, besides those of every call.
    pub own: OperationContext,
    /// The targets acted upon. Each of them has to be allowed.
    pub targets: Vec<Target>,
    /// The access level that the call needs.
    pub access: AccessLevel,
    /// The labels that the result adds to a session.
    pub yields: Vec<SmolStr>,
    /// Whether the action is declared by the bundle, so that the context is checked against its type. The
    /// contexts of built-in actions conform by construction; a test holds that.
    pub is_declared: bool,
}

impl CedarRequest {
    /// A request without operation-specific facts.
    pub fn new(action: EntityUID, resource: EntityUID) -> Self {
        Self {
            action,
            resource,
            overlays: Vec::new(),
            own: OperationContext::Nothing,
            targets: Vec::new(),
            access: AccessLevel::Read,
            yields: Vec::new(),
            is_declared: false,
        }
    }

    fn yielding(self, yields: Vec<SmolStr>) -> Self {
        Self { yields, ..self }
    }

    /// The tool, if the resource is one.
    pub fn tool(&self) -> Option<&EntityUID> {
        Some(&self.resource).filter(|uid| *uid.entity_type() == TYPES.tool)
    }

    /// The access that the call requests.
    pub fn reach<'p>(&'p self, server: &'p EntityUID) -> RequestedAccess<'p> {
        RequestedAccess {
            tool: self.tool(),
            server,
            access: self.access,
            targets: Some(&self.targets),
        }
    }

    /// The overlays of the request for one target: those of the caller's entities, of the request and of the
    /// target.
    pub fn overlays<'s>(
        &self,
        scene: &'s Vec<Overlay>,
        target: Option<&Target>,
    ) -> Cow<'s, Vec<Overlay>> {
        if self.overlays.is_empty() && target.is_none() {
            return Cow::Borrowed(scene);
        }
        let target = target.map(|target| target.overlay.clone());
        let added = self.overlays.iter().cloned().chain(target);
        Cow::Owned(scene.iter().cloned().chain(added).collect())
    }
}

/// The Cedar request of an operation. `shown` is the tool definition that a list has shown; a digest stated
/// with the call takes precedence.
///
/// # Errors
///
/// The reason of the deny: an unknown or changed tool, invalid arguments or targets.
pub fn of_call(
    world: &DecisionInputs<'_>,
    operation: &Operation,
    shown: Option<&DefinitionDigests>,
    caller: &Caller,
) -> Result<CedarRequest, Reason> {
    let (snapshot, server) = (world.snapshot, &operation.server);
    let gateway = || schema::entity(&TYPES.gateway, SmolStr::new(&caller.id));
    match &operation.kind {
        OperationKind::CallTool(tool) => of_tool_call(world, operation, tool, shown),
        OperationKind::Connect { .. } => Ok(of_server("connect", server)),
        OperationKind::ListTools => Ok(of_server("list_tools", server)),
        OperationKind::ListPrompts => Ok(of_server("list_prompts", server)),
        OperationKind::ListResources => Ok(of_server("list_resources", server)),
        OperationKind::ReadResource { uri } => {
            let plan = of_resource(world, "read_resource", server, uri)?;
            Ok(plan.yielding(verify::server_labels(snapshot, server)))
        }
        OperationKind::Subscribe { uri } => {
            let plan = of_resource(world, "subscribe", server, uri)?;
            Ok(plan.yielding(verify::server_labels(snapshot, server)))
        }
        OperationKind::CompleteResource { uri } => of_resource(world, "complete", server, uri),
        OperationKind::CompletePrompt { name } => Ok(of_prompt("complete", server, name)),
        OperationKind::GetPrompt { name, arguments } => {
            let mut plan = of_prompt("get_prompt", server, name);
            let names = arguments.clone();
            let input = tool_input::ToolInput {
                untyped: names.clone(),
                undeclared: names.clone(),
                names,
                ..tool_input::ToolInput::default()
            };
            plan.own = OperationContext::Arguments(input);
            Ok(plan.yielding(verify::server_labels(snapshot, server)))
        }
        OperationKind::Sample(sampling) => {
            let mut plan = CedarRequest::new(schema::action("sample"), gateway());
            plan.own = OperationContext::Sampling(sampling.clone());
            Ok(plan)
        }
        OperationKind::ElicitForm {
            message,
            requested_schema,
        } => of_form(message, requested_schema, gateway()),
        OperationKind::ElicitUrl { url } => of_url(url, gateway()),
        OperationKind::ListRoots => Ok(CedarRequest::new(schema::action("list_roots"), gateway())),
    }
}

/// The Cedar request of a tool call of which only the tool's name is known.
///
/// # Errors
///
/// [`ReasonCode::ToolUnknown`], [`ReasonCode::Stopped`] or [`ReasonCode::ToolChanged`].
pub fn from_listed_tool(
    world: &DecisionInputs<'_>,
    operation: &Operation,
    tool: &SmolStr,
    definition: Option<&DefinitionDigests>,
) -> Result<CedarRequest, Reason> {
    let registered = verify::verify_tool(world, &operation.server, tool, definition)?;
    let (action, _) = tool_action(world.snapshot, operation, tool, &registered);
    let mut plan = CedarRequest::new(action, registered.uid.clone());
    plan.access = registered.access;
    Ok(plan)
}

fn of_tool_call(
    world: &DecisionInputs<'_>,
    operation: &Operation,
    call: &ToolCall,
    shown: Option<&DefinitionDigests>,
) -> Result<CedarRequest, Reason> {
    let told = call.definition_digest.clone().map(DefinitionDigests::one);
    let definition = told.as_ref().or(shown);
    let registered = verify::verify_tool(world, &operation.server, &call.tool, definition)?;
    let (action, is_declared) = tool_action(world.snapshot, operation, &call.tool, &registered);
    let undeclared = undeclared_arguments(&registered, call)?;
    let input = tool_input::read(world.snapshot, &action, &call.arguments)
        .map_err(|fault| Reason::new(ReasonCode::ContextInvalid, fault.to_string()))?;
    let mut plan = CedarRequest::new(action, registered.uid.clone());
    plan.own = OperationContext::Arguments(tool_input::ToolInput {
        undeclared,
        // If the gateway states the target, the arguments do not determine it.
        tool: call.target.is_none().then(|| Arc::clone(&registered)),
        ..input
    });
    plan.is_declared = is_declared;
    plan.access = registered.access;
    plan.yields = registered.yields.clone();
    if let Some(text) = &call.target {
        plan.targets = stated_target(world, &operation.server, text)?;
    } else {
        plan.targets = named_targets(world, operation, &registered, call)?;
    }
    Ok(plan)
}

/// The targets that the gateway states.
fn stated_target(
    world: &DecisionInputs<'_>,
    server: &SmolStr,
    text: &str,
) -> Result<Vec<Target>, Reason> {
    let targets = target::read(server, None, text, None)
        .map_err(|fault| invalid(format!("the target {fault}")))?;
    for target in &targets {
        no_other_server(world, target, Some(server), "the target")?;
    }
    match targets.len() > MAX_TARGETS {
        true => Err(too_many()),
        false => Ok(targets),
    }
}

/// The targets that the arguments name, as the registration of the tool says.
fn named_targets(
    world: &DecisionInputs<'_>,
    operation: &Operation,
    registered: &RegisteredTool,
    call: &ToolCall,
) -> Result<Vec<Target>, Reason> {
    let wanted = registered.target_arguments.as_ref().map_err(|fault| {
        invalid(format!(
            "the registration of the tool is of no use: `target_arguments` {fault}"
        ))
    })?;
    let targets = extract::targets(&operation.server, wanted, &call.arguments, MAX_TARGETS)
        .map_err(|fault| match fault {
            CallTargetError::Missing(place) => Reason::lacking(vec![place]),
            CallTargetError::Invalid(message) => invalid(message),
            CallTargetError::TooMany => too_many(),
        })?;
    for target in &targets {
        no_other_server(world, target, None, "an argument that names a target")?;
    }
    Ok(targets)
}

/// Rejects a URI whose scheme is the name of another server: `slack:C04` is also the canonical name of the id
/// `C04` on the server `slack`.
fn no_other_server(
    world: &DecisionInputs<'_>,
    target: &Target,
    own: Option<&SmolStr>,
    what: &str,
) -> Result<(), Reason> {
    let name: &str = target.uid().eid().as_ref();
    let scheme = name.split(':').next().unwrap_or_default();
    if target.kind != TargetKind::Uri
        || own.is_some_and(|own| own == scheme)
        || !world
            .snapshot
            .contains(&schema::server(&SmolStr::new(scheme)))
    {
        return Ok(());
    }
    Err(invalid(format!(
        "{what} can be read in two ways: `{scheme}` before its colon is a server, and `{name}` would be a thing of that"
    )))
}

fn too_many() -> Reason {
    invalid(format!(
        "the call acts upon more than {MAX_TARGETS} resources"
    ))
}

fn invalid(message: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::ContextInvalid, message)
}

/// The names of arguments that the pinned schema does not declare; all of them if no schema is pinned.
/// Missing required arguments are an error.
fn undeclared_arguments(tool: &RegisteredTool, call: &ToolCall) -> Result<Vec<SmolStr>, Reason> {
    let ArgumentReport {
        missing,
        undeclared,
    } = tool
        .arguments
        .as_ref()
        .unwrap_or(&ArgumentSchema::UNKNOWN)
        .check(&call.arguments)
        .map_err(|fault| Reason::new(ReasonCode::ContextInvalid, fault.to_string()))?;
    match missing.is_empty() {
        true => Ok(undeclared),
        false => Err(Reason::lacking(missing)),
    }
}

/// The action of a tool call, and whether the bundle declares it: the tool's own action if there is one,
/// except for reverse calls.
fn tool_action(
    snapshot: &Snapshot,
    operation: &Operation,
    tool: &str,
    registered: &RegisteredTool,
) -> (EntityUID, bool) {
    if operation.initiator == Initiator::Server {
        return (registered.access.reverse_call_action(), false);
    }
    let own = schema::tool_action_uid(&operation.server, tool);
    if snapshot.has_action(&own) {
        (own, true)
    } else {
        (registered.access.call_action(), false)
    }
}

fn of_server(action: &str, server: &SmolStr) -> CedarRequest {
    CedarRequest::new(schema::action(action), schema::server(server))
}

fn of_prompt(action: &str, server: &SmolStr, name: &str) -> CedarRequest {
    let uid = schema::prompt(server, name);
    let mut plan = CedarRequest::new(schema::action(action), uid.clone());
    plan.overlays.push(Overlay {
        parents: vec![schema::server(server)],
        ..Overlay::bare(uid)
    });
    plan
}

fn of_resource(
    world: &DecisionInputs<'_>,
    action: &str,
    server: &SmolStr,
    uri: &str,
) -> Result<CedarRequest, Reason> {
    let target =
        target::one(server, uri).map_err(|fault| invalid(format!("the resource's URI {fault}")))?;
    no_other_server(world, &target, Some(server), "the resource's URI")?;
    let mut plan = CedarRequest::new(schema::action(action), target.uid().clone());
    plan.targets.push(target);
    Ok(plan)
}

fn of_form(
    message: &str,
    requested_schema: &Json,
    gateway: EntityUID,
) -> Result<CedarRequest, Reason> {
    let Some(form) = elicitation::read_form(message, requested_schema) else {
        let mut reason = Reason::new(
            ReasonCode::ContextMissing,
            "the form lacks requestedSchema.properties, or they do not tell all of its fields",
        );
        reason.missing = vec!["requestedSchema.properties".to_owned()];
        return Err(reason);
    };
    let mut plan = CedarRequest::new(schema::action("elicit_form"), gateway);
    plan.own = OperationContext::Form(form);
    Ok(plan)
}

/// The request for a URL elicitation. [`Host`] rejects hosts that parsers read differently; this rejects
/// suspicious text around the host, such as a trailing dot that a user would not notice.
fn of_url(url: &str, gateway: EntityUID) -> Result<CedarRequest, Reason> {
    let no_host = "the URL to visit has no host";
    let parsed = Url::parse(url).map_err(|_| invalid(no_host))?;
    if parsed.host_str().is_none() {
        return Err(invalid(no_host));
    }
    if !["https", "http"].contains(&parsed.scheme()) {
        return Err(invalid("the URL to visit is neither https nor http"));
    }
    let host =
        visited_host(url, &parsed).map_err(|fault| invalid(format!("the URL to visit {fault}")))?;
    let mut plan = CedarRequest::new(schema::action("elicit_url"), gateway);
    plan.own = OperationContext::Url {
        scheme: parsed.scheme().into(),
        host,
    };
    Ok(plan)
}

fn visited_host(url: &str, parsed: &Url) -> Result<Host, TargetError> {
    // The whole URL is checked for user info, whitespace and look-alike characters, because the user reads
    // all of it.
    text::check(url)?;
    let rest = url
        .get(parsed.scheme().len()..)
        .and_then(|it| it.strip_prefix("://"));
    let rest = rest.ok_or(TargetError::Ambiguous("a URL without its slashes"))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = Host::of_authority(authority, parsed)?;
    let bare = authority.trim_end_matches(|c: char| c.is_ascii_digit());
    match authority.ends_with('.') || bare.ends_with(".:") {
        true => Err(TargetError::Ambiguous("a host that ends with a dot")),
        false => Ok(host),
    }
}

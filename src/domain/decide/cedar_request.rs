//! The Cedar request of an operation: its action, resource and operation-specific facts.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;
use smol_str::SmolStr;
use url::Url;

use callgate_engine::cedar::EntityUID;
use callgate_engine::{Overlay, Snapshot};
use serde_json::Value as Json;

use crate::authn::caller::Caller;
use crate::domain::authority::scope::RequestedAccess;
use crate::domain::decide::facts::inputs::OperationContext;
use crate::domain::decide::inputs::DecisionInputs;
use crate::domain::decide::tool_input::{self, ToolInput};
use crate::domain::decide::verify;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::registration::RegisteredTool;
use crate::domain::request::arguments::ArgumentReport;
use crate::domain::request::call_context::{Initiator, Operation, Told};
use crate::domain::request::definition::DefinitionDigests;
use crate::domain::request::elicitation::{self, ElicitationForm};
use crate::domain::request::operation::{OperationKind, ResourceOperation, ResultLabels, ToolCall};
use crate::domain::request::target::argument::TargetArgument;
use crate::domain::request::target::extract::{self, CallTargetError, FoundTargets};
use crate::domain::request::target::host::Host;
use crate::domain::request::target::{self, Target, TargetError, TargetKind, text};
use crate::domain::request::uri_template;
use crate::domain::schema::{self, AccessLevel, TYPES};
use crate::domain::shared_list::SharedList;

/// The maximum number of targets of one call, each of which is a Cedar request for each principal.
pub const MAX_TARGETS: usize = 128;

/// What a request adds to the entities: few calls name more principals that are not stored.
pub type OverlayList<'a> = SmallVec<[&'a Overlay; 8]>;

/// The Cedar request of an operation, without its principal.
#[derive(Debug)]
pub struct CedarRequest {
    /// The action.
    pub action: EntityUID,
    /// The resource.
    pub resource: EntityUID,
    /// The registered tool, if the resource is one.
    pub registered_tool: Option<Arc<RegisteredTool>>,
    /// Entities that exist for this request only, besides the targets.
    pub overlays: Vec<Overlay>,
    /// Facts of this operation, besides those of every call.
    pub operation: OperationContext,
    /// The targets acted upon. Each of them has to be allowed.
    pub targets: SharedList<Target>,
    /// Whether the call may act upon things of its server that it does not name: it names none of its targets, or returns
    /// the result of an earlier call.
    pub is_unnamed: bool,
    /// The access level that the call needs.
    pub access: AccessLevel,
    /// Whether authority for some of the server's tools is enough; see [`OperationKind::is_incidental`].
    pub is_incidental: bool,
    /// The labels that the result adds to a session.
    pub yields: SharedList<SmolStr>,
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
            registered_tool: None,
            overlays: Vec::new(),
            operation: OperationContext::Nothing,
            targets: SharedList::default(),
            is_unnamed: false,
            access: AccessLevel::Read,
            is_incidental: false,
            yields: SharedList::default(),
            is_declared: false,
        }
    }

    fn with_labels(self, yields: SharedList<SmolStr>) -> Self {
        Self { yields, ..self }
    }

    /// The tool, if the resource is one.
    pub fn tool(&self) -> Option<&EntityUID> {
        Some(&self.resource).filter(|uid| *uid.entity_type() == TYPES.tool)
    }

    /// The access that the call requests.
    pub fn requested_access<'p>(&'p self, server: &'p EntityUID) -> RequestedAccess<'p> {
        RequestedAccess {
            tool: self.tool(),
            server,
            access: self.access,
            is_incidental: self.is_incidental,
            targets: Some(&self.targets),
        }
    }

    /// The overlays of the request for one target: those of the caller's entities, of the request and of the
    /// target.
    pub fn overlays<'s>(
        &'s self,
        entities: &'s [Overlay],
        target: Option<&'s Target>,
    ) -> OverlayList<'s> {
        let target = target.map(|target| &target.overlay);
        let added = self.overlays.iter().chain(target);
        entities.iter().chain(added).collect()
    }
}

/// The Cedar request of an operation. `shown` is the tool definition that a list has shown; a digest stated
/// with the call takes precedence.
///
/// # Errors
///
/// The reason of the deny: an unknown or changed tool, invalid arguments or targets.
pub fn from_operation(
    inputs: &DecisionInputs<'_>,
    operation: &Operation,
    shown: Option<&DefinitionDigests>,
    caller: &Caller,
) -> Result<CedarRequest, Reason> {
    let server = &operation.server;
    let described = operation.kind.description();
    let action = described.action;
    let gateway = || schema::entity_uid(&TYPES.gateway, SmolStr::new(&caller.id));
    let request = match &operation.kind {
        OperationKind::CallTool(tool) => return from_tool_call(inputs, operation, tool, shown),
        // Which methods these are is known where messages are read: those with something to decide.
        OperationKind::Connect { .. } if operation.told != Told::All => {
            return Err(Reason::context_missing(vec!["params".to_owned()]));
        }
        OperationKind::Connect { .. } => CedarRequest {
            operation: OperationContext::Connection {
                earlier_result: operation.kind.brings() == ResultLabels::OfAnyCall,
            },
            ..on_server(action, server)
        },
        OperationKind::List(_) => on_server(action, server),
        OperationKind::OnResource {
            operation: ResourceOperation::Complete,
            uri,
        } => on_resource(inputs, action, server, &completed(uri, operation.told)?)?,
        OperationKind::OnResource { operation: _, uri } => {
            on_resource(inputs, action, server, uri)?
        }
        OperationKind::OnPrompt { operation: _, name } => on_prompt(action, server, name),
        OperationKind::GetPrompt { name, arguments } => {
            // No schema of a prompt is pinned.
            if operation.told != Told::All {
                return Err(Reason::context_missing(vec!["arguments".to_owned()]));
            }
            let mut request = on_prompt(action, server, name);
            let input = ToolInput::of_names(arguments.iter().cloned());
            request.operation = OperationContext::Arguments(input);
            request
        }
        OperationKind::Sample(sampling) => {
            let mut request = on_client(action, gateway());
            request.operation = OperationContext::Sampling(sampling.clone());
            request
        }
        OperationKind::ElicitForm {
            message,
            requested_schema,
        } => {
            let mut request = on_client(action, gateway());
            request.operation = OperationContext::Form(form(message, requested_schema)?);
            request
        }
        OperationKind::ElicitUrl { url } => {
            let mut request = on_client(action, gateway());
            request.operation = page(url)?;
            request
        }
        OperationKind::OnClient(_) => on_client(action, gateway()),
    };
    let request = CedarRequest {
        access: operation.kind.access(),
        is_incidental: operation.kind.is_incidental(),
        ..request
    };
    Ok(match operation.kind.brings() {
        ResultLabels::Nothing => request,
        ResultLabels::OfServer => request.with_labels(verify::server_labels(inputs, server)),
        ResultLabels::OfAnyCall => CedarRequest {
            is_unnamed: true,
            ..request.with_labels(verify::labels_of_any_call(inputs, server))
        },
    })
}

/// The Cedar request of a tool call of which only the tool's name is known.
///
/// # Errors
///
/// [`ReasonCode::ToolUnknown`], [`ReasonCode::Stopped`] or [`ReasonCode::ToolChanged`].
pub fn from_listed_tool(
    inputs: &DecisionInputs<'_>,
    operation: &Operation,
    tool: &SmolStr,
    definition: Option<&DefinitionDigests>,
) -> Result<CedarRequest, Reason> {
    let registered = verify::verify_tool(inputs, &operation.server, tool, definition)?;
    let (action, _) = tool_action(inputs.snapshot, operation, &registered);
    let mut request = CedarRequest::new(action.into_owned(), registered.uid.clone());
    request.access = registered.access;
    request.registered_tool = Some(registered);
    Ok(request)
}

fn from_tool_call(
    inputs: &DecisionInputs<'_>,
    operation: &Operation,
    call: &ToolCall,
    shown: Option<&DefinitionDigests>,
) -> Result<CedarRequest, Reason> {
    let told = call
        .definition_digest
        .clone()
        .map(DefinitionDigests::from_digest);
    let definition = told.as_ref().or(shown);
    let registered = verify::verify_tool(inputs, &operation.server, &call.tool, definition)?;
    let (action, is_declared) = tool_action(inputs.snapshot, operation, &registered);
    verify_told(operation, &registered, call)?;
    let undeclared = undeclared_arguments(&registered, call)?;
    let input = tool_input::read(inputs.snapshot, &action, &call.arguments)
        .map_err(|fault| Reason::new(ReasonCode::ContextInvalid, fault.to_string()))?;
    let mut request = CedarRequest::new(action.into_owned(), registered.uid.clone());
    request.operation = OperationContext::Arguments(ToolInput {
        undeclared: Some(undeclared),
        tool: Some(Arc::clone(&registered)),
        ..input
    });
    request.is_declared = is_declared;
    request.access = registered.access;
    request.yields = registered.yields.clone();
    request.registered_tool = Some(Arc::clone(&registered));
    let targets = targets(inputs, operation, &registered, call)?;
    request.targets = targets.into_iter().collect();
    request.is_unnamed = request.targets.is_empty() && registered.has_targets();
    Ok(request)
}

/// The targets that the arguments name, as the registration of the tool says, and the one that the gateway states. What the
/// gateway states takes nothing away from what the arguments name; it only stands in for an argument that is not there.
fn targets(
    inputs: &DecisionInputs<'_>,
    operation: &Operation,
    registered: &RegisteredTool,
    call: &ToolCall,
) -> Result<FoundTargets, Reason> {
    let wanted = registered.target_arguments.as_ref().map_err(|fault| {
        invalid(format!(
            "the registration of the tool is of no use: `target_arguments` {fault}"
        ))
    })?;
    let Some(stated) = &call.target else {
        return named_targets(inputs, operation, wanted, call);
    };
    let optional: Vec<TargetArgument> = wanted
        .iter()
        .map(|argument| TargetArgument {
            is_optional: true,
            ..argument.clone()
        })
        .collect();
    let mut targets = named_targets(inputs, operation, &optional, call)?;
    for target in stated_targets(inputs, &operation.server, stated)? {
        let is_same = |named: &Target| named.uid() == target.uid() && named.query == target.query;
        if !targets.iter().any(is_same) {
            targets.push(target);
        }
    }
    match targets.len() > MAX_TARGETS {
        true => Err(too_many()),
        false => Ok(targets),
    }
}

/// The targets of a text that the gateway states.
///
/// # Errors
///
/// [`ReasonCode::ContextInvalid`] if it names none, or can be read in two ways.
pub(super) fn stated_targets(
    inputs: &DecisionInputs<'_>,
    server: &SmolStr,
    text: &str,
) -> Result<Vec<Target>, Reason> {
    let targets = target::parse(server, None, text, None)
        .map_err(|fault| invalid(format!("the target {fault}")))?;
    for target in &targets {
        no_other_server(inputs, target, Some(server), "the target")?;
    }
    Ok(targets)
}

fn named_targets(
    inputs: &DecisionInputs<'_>,
    operation: &Operation,
    wanted: &[TargetArgument],
    call: &ToolCall,
) -> Result<FoundTargets, Reason> {
    let targets = extract::targets(&operation.server, wanted, &call.arguments, MAX_TARGETS)
        .map_err(|fault| match fault {
            CallTargetError::Missing(place) => Reason::context_missing(vec![place]),
            CallTargetError::Invalid(message) => invalid(message),
            CallTargetError::TooMany => too_many(),
        })?;
    for target in &targets {
        no_other_server(inputs, target, None, "an argument that names a target")?;
    }
    Ok(targets)
}

/// Rejects a URI whose scheme is the name of another server: `slack:C04` is also the canonical name of the id
/// `C04` on the server `slack`.
fn no_other_server(
    inputs: &DecisionInputs<'_>,
    target: &Target,
    own: Option<&SmolStr>,
    what: &str,
) -> Result<(), Reason> {
    let name: &str = target.uid().eid().as_ref();
    let scheme = name.split(':').next().unwrap_or_default();
    if target.kind != TargetKind::Uri
        || own.is_some_and(|own| own == scheme)
        || !inputs
            .snapshot
            .contains(&schema::server_uid(&SmolStr::new(scheme)))
    {
        return Ok(());
    }
    Err(invalid(format!(
        "{what} can be read in two ways: `{scheme}` before its colon is a server, and `{name}` would be a thing of that"
    )))
}

fn too_many() -> Reason {
    invalid(format!(
        "the call acts upon more than {MAX_TARGETS} resources: make several calls of it"
    ))
}

fn invalid(message: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::ContextInvalid, message)
}

/// Verifies that no argument may have been left out: what is not told is not what is not there.
fn verify_told(
    operation: &Operation,
    tool: &RegisteredTool,
    call: &ToolCall,
) -> Result<(), Reason> {
    if operation.told == Told::All {
        return Ok(());
    }
    let untold = tool.untold_arguments(&call.arguments);
    match untold.is_empty() {
        true => Ok(()),
        false => Err(Reason::context_missing(untold)),
    }
}

/// The names of arguments that the pinned schema does not declare; all of them if no schema is pinned.
/// Missing required arguments are an error.
fn undeclared_arguments(tool: &RegisteredTool, call: &ToolCall) -> Result<Vec<SmolStr>, Reason> {
    let ArgumentReport {
        missing,
        undeclared,
    } = tool
        .check_arguments(&call.arguments)
        .map_err(|fault| Reason::new(ReasonCode::ContextInvalid, fault.to_string()))?;
    match missing.is_empty() {
        true => Ok(undeclared.into_iter().collect()),
        false => Err(Reason::context_missing(missing)),
    }
}

/// The action of a tool call, and whether the bundle declares it: the tool's own action if there is one,
/// except for reverse calls.
pub(super) fn tool_action<'t>(
    snapshot: &Snapshot,
    operation: &Operation,
    registered: &'t RegisteredTool,
) -> (Cow<'t, EntityUID>, bool) {
    if operation.initiator == Initiator::Server {
        return (Cow::Owned(registered.access.reverse_call_action()), false);
    }
    if snapshot.has_action(&registered.own_action) {
        (Cow::Borrowed(&registered.own_action), true)
    } else {
        (Cow::Owned(registered.access.call_action()), false)
    }
}

fn on_server(action: &str, server: &SmolStr) -> CedarRequest {
    CedarRequest::new(schema::action_uid(action), schema::server_uid(server))
}

fn on_prompt(action: &str, server: &SmolStr, name: &str) -> CedarRequest {
    let uid = schema::prompt_uid(server, name);
    let mut request = CedarRequest::new(schema::action_uid(action), uid.clone());
    request.overlays.push(Overlay {
        parents: vec![schema::server_uid(server)],
        ..Overlay::bare(uid)
    });
    request
}

fn on_resource(
    inputs: &DecisionInputs<'_>,
    action: &str,
    server: &SmolStr,
    uri: &str,
) -> Result<CedarRequest, Reason> {
    let target = target::parse_one(server, uri)
        .map_err(|fault| invalid(format!("the resource's URI {fault}")))?;
    no_other_server(inputs, &target, Some(server), "the resource's URI")?;
    let mut request = CedarRequest::new(schema::action_uid(action), target.uid().clone());
    request.targets = [target].into();
    Ok(request)
}

/// What a completion is about: it answers with the names of what the template may stand for. A value that is not told may lead out
/// of the folder.
fn completed(uri: &str, told: Told) -> Result<Cow<'_, str>, Reason> {
    match told == Told::All || !uri.contains('{') {
        true => Ok(uri_template::fixed_folder(uri)),
        false => Err(Reason::context_missing(vec!["params.argument".to_owned()])),
    }
}

fn on_client(action: &str, gateway: EntityUID) -> CedarRequest {
    CedarRequest::new(schema::action_uid(action), gateway)
}

fn form(message: &str, requested_schema: &Json) -> Result<ElicitationForm, Reason> {
    elicitation::read_form(message, requested_schema).ok_or_else(|| {
        let mut reason = Reason::new(
            ReasonCode::ContextMissing,
            "the form lacks requestedSchema.properties, or they do not tell all of its fields",
        );
        reason.missing = vec!["requestedSchema.properties".to_owned()];
        reason
    })
}

/// The page of a URL elicitation. [`Host`] rejects hosts that parsers read differently; this rejects
/// suspicious text around the host, such as a trailing dot that a user would not notice.
fn page(url: &str) -> Result<OperationContext, Reason> {
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
    Ok(OperationContext::Url {
        scheme: parsed.scheme().into(),
        host,
    })
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

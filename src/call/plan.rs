//! What to ask Cedar: the action, the resource and the particular facts of each operation.

use smol_str::SmolStr;
use url::Url;

use cedar_policy_core::ast::EntityUID;
use serde_json::Value as Json;

use crate::call::arguments::{Checked, Shape};
use crate::call::context::{Initiator, Operation, OperationKind, ToolCall};
use crate::call::decision::{Reason, ReasonCode};
use crate::call::elicitation;
use crate::call::evidence;
use crate::call::facts::OwnFacts;
use crate::call::input;
use crate::call::live::scope::Reach;
use crate::call::model::{self, Effect, TYPES};
use crate::call::registration::RegisteredTool;
use crate::call::target;
use crate::call::world::World;
use crate::engine::evaluate::Overlay;
use crate::engine::snapshot::Snapshot;
use crate::identity::caller::Caller;

/// Most resources that one call may act upon.
pub const MAX_TARGETS: usize = 32;

/// One operation, in Cedar's terms.
#[derive(Debug)]
pub struct Plan {
    /// Which action is asked about.
    pub action: EntityUID,
    /// On which resource.
    pub resource: EntityUID,
    /// Entities that only this call knows: what it acts upon.
    pub overlays: Vec<Overlay>,
    /// Facts of this operation, beside the common ones.
    pub own: OwnFacts,
    /// What the call acts upon. All must be allowed.
    pub targets: Vec<EntityUID>,
    /// What it can do.
    pub effect: Effect,
    /// What its answer brings into a session.
    pub yields: Vec<SmolStr>,
    /// Whether the action is one that somebody declared, so that the facts have to be checked. The
    /// facts of the built-in actions are right by construction.
    pub is_declared: bool,
}

impl Plan {
    /// An action on a resource, with nothing particular about it.
    pub fn new(action: EntityUID, resource: EntityUID) -> Self {
        Self {
            action,
            resource,
            overlays: Vec::new(),
            own: OwnFacts::Nothing,
            targets: Vec::new(),
            effect: Effect::Read,
            yields: Vec::new(),
            is_declared: false,
        }
    }

    fn yielding(self, yields: Vec<SmolStr>) -> Self {
        Self { yields, ..self }
    }

    /// The tool it is about, if it is about one.
    pub fn tool(&self) -> Option<&EntityUID> {
        Some(&self.resource).filter(|uid| *uid.entity_type() == TYPES.tool)
    }

    /// What the call reaches for.
    pub fn reach<'p>(&'p self, server: &'p EntityUID) -> Reach<'p> {
        Reach {
            tool: self.tool(),
            server,
            effect: self.effect,
            targets: Some(&self.targets),
            overlays: &self.overlays,
        }
    }

    fn add_target(&mut self, server: &str, text: &str, what: &str) -> Result<EntityUID, Reason> {
        let overlay = target::resource(server, text)
            .map_err(|fault| Reason::new(ReasonCode::ContextInvalid, format!("{what} {fault}")))?;
        let uid = overlay.uid.clone();
        self.overlays.push(overlay);
        Ok(uid)
    }
}

/// What to ask about an operation. `shown` is the definition of its tool as a list has shown it; what the gateway says
/// of this very call comes first.
pub fn of_call(
    world: &World<'_>,
    operation: &Operation,
    shown: Option<&SmolStr>,
    caller: &Caller,
) -> Result<Plan, Reason> {
    let (snapshot, server) = (world.snapshot, &operation.server);
    let gateway = || model::entity(&TYPES.gateway, SmolStr::new(&caller.id));
    match &operation.kind {
        OperationKind::CallTool(tool) => of_tool_call(world, operation, tool, shown),
        OperationKind::Connect { .. } => Ok(of_server("connect", server)),
        OperationKind::ListTools => Ok(of_server("list_tools", server)),
        OperationKind::ListPrompts => Ok(of_server("list_prompts", server)),
        OperationKind::ListResources => Ok(of_server("list_resources", server)),
        OperationKind::ReadResource { uri } => {
            let plan = of_resource("read_resource", server, uri)?;
            Ok(plan.yielding(evidence::material_of(snapshot, server)))
        }
        OperationKind::Subscribe { uri } => {
            let plan = of_resource("subscribe", server, uri)?;
            Ok(plan.yielding(evidence::material_of(snapshot, server)))
        }
        OperationKind::CompleteResource { uri } => of_resource("complete", server, uri),
        OperationKind::CompletePrompt { name } => Ok(of_prompt("complete", server, name)),
        OperationKind::GetPrompt { name, arguments } => {
            let mut plan = of_prompt("get_prompt", server, name);
            let names = arguments.clone();
            let input = input::Input {
                untyped: names.clone(),
                undeclared: names.clone(),
                names,
                typed: None,
            };
            plan.own = OwnFacts::Arguments(input);
            Ok(plan.yielding(evidence::material_of(snapshot, server)))
        }
        OperationKind::Sample(sampling) => {
            let mut plan = Plan::new(model::action("sample"), gateway());
            plan.own = OwnFacts::Sampling(sampling.clone());
            Ok(plan)
        }
        OperationKind::ElicitForm {
            message,
            requested_schema,
        } => of_form(message, requested_schema, gateway()),
        OperationKind::ElicitUrl { url } => of_url(url, gateway()),
        OperationKind::ListRoots => Ok(Plan::new(model::action("list_roots"), gateway())),
    }
}

/// What to ask about a tool of which only the name is known.
pub fn of_listing(
    world: &World<'_>,
    operation: &Operation,
    tool: &SmolStr,
    definition: Option<&SmolStr>,
) -> Result<Plan, Reason> {
    let registered = evidence::verify_tool(world, &operation.server, tool, definition)?;
    let (action, _) = tool_action(world.snapshot, operation, tool, &registered);
    let mut plan = Plan::new(action, registered.uid.clone());
    plan.effect = registered.effect;
    Ok(plan)
}

fn of_tool_call(
    world: &World<'_>,
    operation: &Operation,
    call: &ToolCall,
    shown: Option<&SmolStr>,
) -> Result<Plan, Reason> {
    let definition = call.definition_digest.as_ref().or(shown);
    let registered = evidence::verify_tool(world, &operation.server, &call.tool, definition)?;
    let (action, is_declared) = tool_action(world.snapshot, operation, &call.tool, &registered);
    let undeclared = undeclared_arguments(&registered, call)?;
    let input = input::read(world.snapshot, &action, &call.arguments)
        .map_err(|fault| Reason::new(ReasonCode::ContextInvalid, fault.to_string()))?;
    let mut plan = Plan::new(action, registered.uid.clone());
    plan.own = OwnFacts::Arguments(input::Input {
        undeclared,
        ..input
    });
    plan.is_declared = is_declared;
    plan.effect = registered.effect;
    plan.yields = registered.yields.clone();
    if let Some(text) = &call.target {
        let uid = plan.add_target(&operation.server, text, "the target")?;
        plan.targets.push(uid);
        return Ok(plan);
    }
    for name in &registered.target_arguments {
        let what = format!("argument `{name}`");
        for text in target_texts(call, name)? {
            let uid = plan.add_target(&operation.server, text, &what)?;
            if !plan.targets.contains(&uid) {
                plan.targets.push(uid);
            }
        }
    }
    if plan.targets.len() > MAX_TARGETS {
        let message = format!("the call acts upon more than {MAX_TARGETS} resources");
        return Err(Reason::new(ReasonCode::ContextInvalid, message));
    }
    Ok(plan)
}

/// The arguments that the pinned schema does not know; without one it knows none. What the schema requires must be there.
fn undeclared_arguments(tool: &RegisteredTool, call: &ToolCall) -> Result<Vec<SmolStr>, Reason> {
    let Checked {
        missing,
        undeclared,
    } = tool
        .arguments
        .as_ref()
        .unwrap_or(&Shape::UNKNOWN)
        .check(&call.arguments)
        .map_err(|fault| Reason::new(ReasonCode::ContextInvalid, fault.to_string()))?;
    match missing.is_empty() {
        true => Ok(undeclared),
        false => Err(missing_facts(missing)),
    }
}

fn missing_facts(missing: Vec<String>) -> Reason {
    let message = format!("the call lacks {}", missing.join(", "));
    let mut reason = Reason::new(ReasonCode::ContextMissing, message);
    reason.missing = missing;
    reason
}

/// A tool with an action of its own is asked about under that; a reverse call never is. Tells as well
/// whether it is one.
fn tool_action(
    snapshot: &Snapshot,
    operation: &Operation,
    tool: &str,
    registered: &RegisteredTool,
) -> (EntityUID, bool) {
    if operation.initiator == Initiator::Server {
        return (registered.effect.reverse_action(), false);
    }
    let own = model::typed_action(&operation.server, tool);
    if snapshot.has_action(&own) {
        (own, true)
    } else {
        (registered.effect.call_action(), false)
    }
}

/// The texts of an argument that names what a call acts upon: one, or a list.
fn target_texts<'c>(call: &'c ToolCall, name: &SmolStr) -> Result<Vec<&'c str>, Reason> {
    let missing = || missing_facts(vec![format!("arguments.{name}")]);
    match call.arguments.get(name.as_str()) {
        Some(Json::String(text)) => Ok(vec![text]),
        Some(Json::Array(items)) if !items.is_empty() => items
            .iter()
            .map(|item| item.as_str().ok_or_else(missing))
            .collect(),
        _ => Err(missing()),
    }
}

fn of_server(action: &str, server: &SmolStr) -> Plan {
    Plan::new(model::action(action), model::server(server))
}

fn of_prompt(action: &str, server: &SmolStr, name: &str) -> Plan {
    let uid = model::prompt(server, name);
    let mut plan = Plan::new(model::action(action), uid.clone());
    plan.overlays.push(Overlay {
        parents: vec![model::server(server)],
        ..Overlay::bare(uid)
    });
    plan
}

fn of_resource(action: &str, server: &SmolStr, uri: &str) -> Result<Plan, Reason> {
    let mut plan = Plan::new(model::action(action), model::server(server));
    let uid = plan.add_target(server, uri, "the resource's URI")?;
    plan.resource = uid.clone();
    plan.targets.push(uid);
    Ok(plan)
}

fn of_form(message: &str, requested_schema: &Json, gateway: EntityUID) -> Result<Plan, Reason> {
    let Some(form) = elicitation::read_form(message, requested_schema) else {
        let mut reason = Reason::new(
            ReasonCode::ContextMissing,
            "the form lacks requestedSchema.properties, or they do not tell all of its fields",
        );
        reason.missing = vec!["requestedSchema.properties".to_owned()];
        return Err(reason);
    };
    let mut plan = Plan::new(model::action("elicit_form"), gateway);
    plan.own = OwnFacts::Form(form);
    Ok(plan)
}

/// The part of a host that somebody registered, by the Public Suffix List. A name under no suffix that is
/// on the list has none.
fn registered_domain(host: &str) -> Option<SmolStr> {
    let host = host.trim_end_matches('.').as_bytes();
    let domain = psl::domain(host).filter(|domain| domain.suffix().is_known())?;
    std::str::from_utf8(domain.as_bytes())
        .ok()
        .map(SmolStr::new)
}

/// Whether every reader finds the same host in a URL. Browsers, libraries and people differ in what they make
/// of users, backslashes, missing slashes and odd letters.
fn is_written_plainly(url: &str, parsed: &Url, host: &str) -> bool {
    let is_odd = |c: char| c == '\\' || c.is_control() || c.is_whitespace();
    let begin = format!("{}://{host}", parsed.scheme());
    let (Some(said), Some(rest)) = (url.get(..begin.len()), url.get(begin.len()..)) else {
        return false;
    };
    said.eq_ignore_ascii_case(&begin)
        && (rest.is_empty() || rest.starts_with(['/', '?', '#', ':']))
        && !url.contains(is_odd)
        && !host.ends_with('.')
        && parsed.username().is_empty()
        && parsed.password().is_none()
}

fn of_url(url: &str, gateway: EntityUID) -> Result<Plan, Reason> {
    let invalid = |said| Reason::new(ReasonCode::ContextInvalid, said);
    let no_host = "the URL to visit has no host";
    let parsed = Url::parse(url).map_err(|_| invalid(no_host))?;
    let host = parsed.host_str().ok_or_else(|| invalid(no_host))?;
    if !["https", "http"].contains(&parsed.scheme()) {
        return Err(invalid("the URL to visit is neither https nor http"));
    }
    if !is_written_plainly(url, &parsed, host) {
        let said = "the URL to visit can be read in two ways: it has a user, a backslash, a space or \
                    control character, a host in other letters than it is looked up by, or one that \
                    ends with a dot";
        return Err(invalid(said));
    }
    let mut plan = Plan::new(model::action("elicit_url"), gateway);
    plan.own = OwnFacts::Url {
        scheme: parsed.scheme().into(),
        host: host.into(),
        domain: parsed.domain().and_then(registered_domain),
    };
    Ok(plan)
}

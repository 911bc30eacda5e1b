//! Listing: which of the things that a server offers the subject could use in some way or other.
//!
//! Nobody knows yet with which arguments, and which approval may come. A policy that reads what is not
//! known counts as one that may yet allow, so a list shows too much rather than too little; the call
//! itself is decided when it comes.

use std::borrow::Cow;
use std::time::SystemTime;

use smol_str::SmolStr;

use crate::domain::decide::call::Requester;
use crate::domain::decide::cedar_request::{self, CedarRequest};
use crate::domain::decide::combine;
use crate::domain::decide::evaluate::{
    ClaimedParties, RequestEntities, RequestEvaluator, check_scopes,
};
use crate::domain::decide::facts::Facts;
use crate::domain::decide::inputs::DecisionInputs;
use crate::domain::decide::verdict::{Reason, ReasonCode};
use crate::domain::decide::verify;
use crate::domain::request::call_context::{CallContext, Initiator, Operation, OperationKind};
use crate::domain::request::definition::ToolDefinition;
use crate::domain::schema;
use callgate_engine::Query;

/// One thing that a server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListedItem {
    /// A tool.
    Tool {
        /// Its name on the server.
        name: SmolStr,
        /// Its definition, if the list shows it.
        definition: Option<ToolDefinition>,
    },
    /// A prompt, by its name on the server.
    Prompt(SmolStr),
    /// A resource, by its URI.
    Resource(SmolStr),
    /// Resources of a pattern, by their URI template (RFC 6570). It stands for the folder that its fixed
    /// part names.
    Template(SmolStr),
}

/// `None` if some use of it would be allowed, else why none would.
pub type HiddenReason = Option<ReasonCode>;

/// Looks at each in turn. The operation of `call` says of which server they are, and that they are listed.
///
/// The error is the reason why none may be used.
pub fn filter<'w, 'o>(
    world: impl Into<DecisionInputs<'w>>,
    call: &CallContext,
    offered: impl IntoIterator<Item = &'o ListedItem>,
    asker: Requester<'_>,
    now: SystemTime,
) -> Result<Vec<HiddenReason>, Reason> {
    let world = &world.into();
    let snapshot = world.snapshot;
    let evidence = verify::verify_call(world, call, &asker.caller.rights, now)?;
    // Nobody looks into an entity that no policy can come across.
    let task = evidence.task.filter(|_| snapshot.reads_context("task"));
    let scene = RequestEntities::of(
        snapshot,
        &call.subject,
        ClaimedParties::of(call, &evidence),
        task,
        asker,
    )?;
    let nothing = CedarRequest::new(
        schema::action("list_tools"),
        schema::server(&call.operation.server),
    );
    let asking = RequestEvaluator {
        world,
        call,
        evidence: &evidence,
        plan: &nothing,
        scene: &scene,
        now,
    };
    let listing = Listing {
        asking: &asking,
        asker,
        common: Facts::new(asking.ground(), &nothing.own, None),
    };
    Ok(offered
        .into_iter()
        .map(|offered| listing.verdict(offered).err())
        .collect())
}

/// What all of a list have in common.
struct Listing<'a> {
    asking: &'a RequestEvaluator<'a>,
    asker: Requester<'a>,
    /// Facts of whatever has none of its own.
    common: Facts<'a>,
}

impl Listing<'_> {
    fn verdict(&self, offered: &ListedItem) -> Result<(), ReasonCode> {
        let RequestEvaluator {
            world,
            call,
            evidence,
            scene,
            ..
        } = self.asking;
        let Use { plan, unknown } = self.use_of(offered).map_err(|reason| reason.code)?;
        let mut reach = plan.reach(&self.asking.plan.resource);
        if unknown.contains(&"target") {
            reach.targets = None;
        }
        let principals = evidence.principals(call);
        evidence
            .covers(world.snapshot, &reach)
            .and_then(|()| check_scopes(world.snapshot, &principals, &plan))
            .map_err(|reason| reason.code)?;
        let own;
        let target = plan.targets.first();
        let overlays = plan.overlays(&scene.overlays, target);
        let facts = if let Cow::Borrowed(_) = overlays {
            &self.common
        } else {
            own = Facts::new(self.asking.ground(), &plan.own, target);
            &own
        };
        let query = Query {
            action: &plan.action,
            resource: &plan.resource,
            context: facts,
            overlays: &overlays,
            unknown,
        };
        let evaluations = world.snapshot.evaluate_each(&query, &principals);
        for (principal, evaluation) in principals.iter().zip(evaluations) {
            if !evaluation.may_allow() {
                let is_subject = *principal == &call.subject.entity;
                return Err(combine::code_of(&evaluation, is_subject));
            }
        }
        Ok(())
    }

    /// How it would be used, and what is not known about that.
    fn use_of(&self, offered: &ListedItem) -> Result<Use, Reason> {
        let RequestEvaluator { world, call, .. } = self.asking;
        let operation = &call.operation;
        let used = |kind| {
            let used = Operation::new(operation.initiator, operation.server.clone(), kind);
            cedar_request::of_call(world, &used, None, self.asker.caller)
        };
        Ok(match offered {
            ListedItem::Tool { name, definition } => Use {
                plan: cedar_request::from_listed_tool(
                    world,
                    operation,
                    name,
                    definition.as_ref().map(ToolDefinition::digests),
                )?,
                unknown: &[
                    "answers",
                    "approval",
                    "arguments",
                    "input",
                    "target",
                    "target_role",
                ],
            },
            ListedItem::Prompt(name) => Use {
                plan: used(OperationKind::GetPrompt {
                    name: name.clone(),
                    arguments: Vec::new(),
                })?,
                unknown: &["answers", "approval", "arguments"],
            },
            ListedItem::Resource(uri) => Use {
                plan: used(OperationKind::ReadResource { uri: uri.clone() })?,
                unknown: &["answers", "approval"],
            },
            ListedItem::Template(template) => Use {
                plan: used(OperationKind::ReadResource {
                    uri: folder_of(template),
                })?,
                unknown: &["answers", "approval", "target"],
            },
        })
    }
}

struct Use {
    plan: CedarRequest,
    unknown: &'static [&'static str],
}

/// What stands before the first expression of a template, up to its last slash. A template that begins with
/// an expression is itself.
fn folder_of(template: &SmolStr) -> SmolStr {
    let fixed = template.split('{').next().unwrap_or_default();
    match fixed.rfind('/') {
        _ if fixed.len() == template.len() => template.clone(),
        Some(slash) => SmolStr::new(&fixed[..=slash]),
        None => template.clone(),
    }
}

/// A call of a tool as a look at a list with that tool in it.
pub fn as_listing(call: &CallContext) -> Option<(CallContext, ListedItem)> {
    let OperationKind::CallTool(tool) = &call.operation.kind else {
        return None;
    };
    let offered = ListedItem::Tool {
        name: tool.tool.clone(),
        definition: None,
    };
    let server = call.operation.server.clone();
    let operation = Operation::new(Initiator::Client, server, OperationKind::ListTools);
    let listing = CallContext {
        operation,
        ..call.clone()
    };
    Some((listing, offered))
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;

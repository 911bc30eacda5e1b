//! List filtering: which tools, prompts and resources of a server the subject may be able to use.
//!
//! Arguments and approvals are not known yet. A policy that reads an unknown attribute counts as one that may
//! allow, so a list contains too much rather than too little; the call itself is decided later.

use std::cell::RefCell;
use std::time::SystemTime;

use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::domain::authority::scope::RequestedAccess;
use crate::domain::decide::cedar_request::{self, CedarRequest};
use crate::domain::decide::combine;
use crate::domain::decide::evaluate::{
    ClaimedParties, RequestEntities, RequestEvaluator, check_scopes,
};
use crate::domain::decide::facts::Facts;
use crate::domain::decide::inputs::{self, DecisionInputs, Requester};
use crate::domain::decide::verify;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::request::call_context::{CallContext, Initiator, Operation};
use crate::domain::request::definition::{DefinitionDigests, ToolDefinition};
use crate::domain::request::operation::{Listing, OperationKind, ResourceOperation};
use crate::domain::request::uri_template;
use crate::domain::schema;
use callgate_engine::cedar::{EntityType, EntityUID};
use callgate_engine::{Evaluations, PolicyEvaluation, Query, SharedParts, SharedQuery};

/// An item of a list that a server returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListedItem {
    /// A tool.
    Tool {
        /// The name of the tool on the server.
        name: SmolStr,
        /// The definition, if the list contains it.
        definition: Option<ToolDefinition>,
    },
    /// The name of a prompt on the server.
    Prompt(SmolStr),
    /// The URI of a resource.
    Resource(SmolStr),
    /// A URI template (RFC 6570). The fixed part up to its last slash stands for the resources it expands to.
    Template(SmolStr),
}

/// What is not known of the call of a tool that is listed: what its arguments say, and what task and usage say of this tool and
/// its target, as all tools of a list are asked about with the same facts.
const UNKNOWN_OF_TOOLS: [&str; 17] = [
    "answers",
    "approval",
    "arguments",
    "input",
    "target",
    "target_role",
    "task.any_target",
    "task.bounds_arguments",
    "task.bounds_calls",
    "task.bounds_targets",
    "task.known_to_read",
    "task.known_to_send",
    "task.tool_calls_left",
    "usage.first_use",
    "usage.last_day",
    "usage.last_hour",
    "usage.last_minute",
];

/// What is not known of the read of a resource that a template may stand for.
const UNKNOWN_OF_TEMPLATES: [&str; 5] = [
    "answers",
    "approval",
    "target",
    "task.known_to_read",
    "task.known_to_send",
];

/// Actions of a list that are not looked up again. Most lists have items of two or three.
const KEPT_SCOPES: usize = 4;

/// Why an item is hidden; `None` if some use of it may be allowed.
pub type HiddenReason = Option<ReasonCode>;

/// The verdict on one item.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListedVerdict {
    /// Why the item is hidden; `None` if some use of it may be allowed.
    pub hidden: HiddenReason,
    /// Whether it stays hidden in observe mode: something is stopped, or a forbid marked `@mode("enforce")` applies. Not worked
    /// out for a list that is not observed.
    pub is_held: bool,
}

/// Why each of `count` items is hidden, by the result of [`filter`]: all of them for its reason, if none may be used. Fewer if it
/// was given fewer.
pub fn hidden_reasons(
    filtered: &Result<Vec<ListedVerdict>, Reason>,
    count: usize,
) -> Vec<HiddenReason> {
    match filtered {
        Ok(verdicts) => verdicts.iter().map(|it| it.hidden).collect(),
        Err(reason) => vec![Some(reason.code); count],
    }
}

/// Decides for each item whether it is hidden. The operation of `call` names the server and the kind of list. `is_observed`:
/// whether it has to be known what stays hidden in observe mode.
///
/// # Errors
///
/// The reason why none of the items may be used.
pub fn filter<'w, 'o>(
    inputs: impl Into<DecisionInputs<'w>>,
    call: &CallContext,
    offered: impl IntoIterator<Item = &'o ListedItem>,
    requester: Requester<'_>,
    now: SystemTime,
    is_observed: bool,
) -> Result<Vec<ListedVerdict>, Reason> {
    let inputs = &inputs.into();
    let snapshot = inputs.snapshot;
    let evidence = verify::verify_call(inputs, call, &requester.caller.rights, now)?;
    // Skip the task entity when no policy reads it.
    let task = evidence.task.filter(|_| snapshot.reads_context("task"));
    let entities = RequestEntities::new(
        snapshot,
        &call.subject,
        ClaimedParties::from_call(call, &evidence),
        task,
        requester,
    )?;
    let nothing = CedarRequest::new(
        schema::action_uid(call.operation.kind.description().action),
        schema::server_uid(&call.operation.server),
    );
    let evaluator = RequestEvaluator {
        inputs,
        call,
        evidence: &evidence,
        request: &nothing,
        entities: &entities,
        approver: None,
        now,
    };
    let principals = evidence.principals(call);
    let shared = SharedParts {
        context: &Facts::new(evaluator.context_inputs(), &nothing.operation, None),
        overlays: &nothing.overlays(&entities.overlays, None),
        unknown: &UNKNOWN_OF_TOOLS,
    };
    let listing = ListFilter {
        evaluator: &evaluator,
        requester,
        shared: snapshot.shared_query(&principals, shared),
        principals: &principals,
        is_observed,
        in_scope: RefCell::default(),
    };
    Ok(offered
        .into_iter()
        .map(|offered| listing.verdict(offered).err().unwrap_or_default())
        .collect())
}

impl From<ReasonCode> for ListedVerdict {
    /// An item that is hidden before policies are evaluated.
    fn from(code: ReasonCode) -> Self {
        Self {
            hidden: Some(code),
            is_held: code == ReasonCode::Stopped,
        }
    }
}

/// What the decisions on all items have in common.
struct ListFilter<'a> {
    evaluator: &'a RequestEvaluator<'a>,
    requester: Requester<'a>,
    principals: &'a [&'a EntityUID],
    /// What requests for tools have in common: these add nothing to the entities, and have no facts of their own.
    shared: SharedQuery<'a>,
    /// Whether all principals are asked about, rather than those up to the first that may not use an item.
    is_observed: bool,
    /// Actions of items that fit the schema, and the types of their resources: most items have one of a few.
    in_scope: RefCell<SmallVec<[(EntityUID, EntityType); KEPT_SCOPES]>>,
}

impl ListFilter<'_> {
    fn verdict(&self, offered: &ListedItem) -> Result<(), ListedVerdict> {
        let read = |uri| OperationKind::OnResource {
            operation: ResourceOperation::Read,
            uri,
        };
        let evaluations = match offered {
            ListedItem::Tool { name, definition } => {
                self.evaluate_tool(name, definition.as_ref().map(ToolDefinition::digests))
            }
            ListedItem::Prompt(name) => {
                let got = OperationKind::GetPrompt {
                    name: name.clone(),
                    arguments: Vec::new(),
                };
                self.evaluate_use(got, &["answers", "approval", "arguments"])
            }
            ListedItem::Resource(uri) => {
                self.evaluate_use(read(uri.clone()), &["answers", "approval"])
            }
            ListedItem::Template(template) => {
                let folder = uri_template::fixed_folder(template).into();
                self.evaluate_use(read(folder), &UNKNOWN_OF_TEMPLATES)
            }
        };
        let evaluations = evaluations.map_err(|reason| ListedVerdict::from(reason.code))?;
        let mut denied =
            (self.principals.iter().zip(&evaluations)).filter(|(_, it)| !it.may_allow());
        let Some((principal, evaluation)) = denied.next() else {
            return Ok(());
        };
        let is_subject = *principal == &self.evaluator.call.subject.entity;
        Err(ListedVerdict {
            hidden: Some(combine::code_of(evaluation, is_subject)),
            is_held: evaluations
                .iter()
                .any(|it| it.always_enforced().next().is_some()),
        })
    }

    /// Evaluates some call of a tool for each principal, once it is verified. All that it takes is in the registration.
    fn evaluate_tool(
        &self,
        name: &str,
        definition: Option<&DefinitionDigests>,
    ) -> Result<Evaluations, Reason> {
        let RequestEvaluator {
            inputs,
            call,
            evidence,
            request: listing,
            ..
        } = self.evaluator;
        let operation = &call.operation;
        let tool = verify::verify_tool(inputs, &operation.server, name, definition)?;
        let (action, _) = cedar_request::tool_action(inputs.snapshot, operation, &tool);
        let access = RequestedAccess {
            tool: Some(&tool.uid),
            server: &listing.resource,
            access: tool.access,
            is_incidental: false,
            targets: None,
        };
        evidence.covers(inputs.snapshot, &access)?;
        self.check_budget(&tool.uid)?;
        self.check_scope(&action, &tool.uid)?;
        let is_last = |it: &PolicyEvaluation| !self.is_observed && !it.may_allow();
        Ok(self.shared.evaluate(&action, &tool.uid, is_last))
    }

    /// Evaluates the use of another item for each principal, once it is verified. `unknown` are the attributes that are not known
    /// about that use.
    fn evaluate_use(&self, kind: OperationKind, unknown: &[&str]) -> Result<Evaluations, Reason> {
        let RequestEvaluator {
            inputs,
            call,
            evidence,
            request: listing,
            entities,
            ..
        } = self.evaluator;
        let Operation {
            initiator, server, ..
        } = &call.operation;
        let used = Operation::new(*initiator, server.clone(), kind);
        let request = cedar_request::from_operation(inputs, &used, None, self.requester.caller)?;
        let mut access = request.requested_access(&listing.resource);
        if unknown.contains(&"target") {
            access.targets = None;
        }
        evidence.covers(inputs.snapshot, &access)?;
        self.check_scope(&request.action, &request.resource)?;
        let target = request.targets.first();
        let inputs_of = self.evaluator.context_inputs();
        let query = Query {
            action: &request.action,
            resource: &request.resource,
            context: &Facts::new(inputs_of, &request.operation, target),
            overlays: &request.overlays(&entities.overlays, target),
            unknown,
        };
        Ok(inputs.snapshot.evaluate_each(&query, self.principals))
    }

    /// Checks that a tool's own budget in the task is not spent.
    fn check_budget(&self, tool: &EntityUID) -> Result<(), Reason> {
        let RequestEvaluator {
            inputs, evidence, ..
        } = self.evaluator;
        match evidence.task {
            Some(task) if inputs.history.spent_tools.contains(tool) => {
                Err(inputs::tool_budget_spent(&task.id, tool))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the action of an item applies to the principals and its resource.
    fn check_scope(&self, action: &EntityUID, resource: &EntityUID) -> Result<(), Reason> {
        let of_type = resource.entity_type();
        let mut in_scope = self.in_scope.borrow_mut();
        let is_same = |(known, known_type): &(EntityUID, EntityType)| {
            known == action && known_type == of_type
        };
        if in_scope.iter().any(is_same) {
            return Ok(());
        }
        let snapshot = self.evaluator.inputs.snapshot;
        check_scopes(snapshot, self.principals, action, resource)?;
        if in_scope.len() < KEPT_SCOPES {
            in_scope.push((action.clone(), of_type.clone()));
        }
        Ok(())
    }
}

/// A tool call as the list request that shows only this tool.
pub fn as_listing(call: &CallContext) -> Option<(CallContext, ListedItem)> {
    let tool = call.operation.kind.tool_call()?;
    let offered = ListedItem::Tool {
        name: tool.tool.clone(),
        definition: None,
    };
    let server = call.operation.server.clone();
    let operation = Operation::new(
        Initiator::Client,
        server,
        OperationKind::List(Listing::Tools),
    );
    let listing = CallContext {
        operation,
        ..call.clone()
    };
    Some((listing, offered))
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;

//! What the verdicts in a record leave out, as the record has named it before: left out by the writer ([`Named`]), filled in for
//! readers ([`fill_in`]).

use callgate_engine::cedar::EntityUID;

use crate::audit::decision_record::{DecisionRecord, RecordedRequest};
use crate::audit::wire;
use crate::domain::request::call_context::CallContext;
use crate::domain::request::operation::OperationKind;
use crate::domain::schema::TYPES;
use crate::proto::audit::Decision;

/// What a record names before its verdicts, which therefore leave it out.
pub struct Named<'a> {
    /// Who calls.
    pub subject: Option<&'a EntityUID>,
    /// For whom, in the end.
    pub root: Option<&'a EntityUID>,
    /// The server and its tool.
    tool: Option<(&'a str, &'a str)>,
}

impl<'a> Named<'a> {
    /// What the record of a request names.
    pub fn in_record(record: &DecisionRecord<'a>) -> Self {
        let (subject, call) = match record.question {
            RecordedRequest::Call(call) | RecordedRequest::Filter { call, .. } => {
                (Some(&call.subject.entity), Some(call))
            }
            RecordedRequest::Cedar { principal, .. } => (Some(principal), None),
            RecordedRequest::Search { principal, .. } => (principal, None),
        };
        let tool = |call: &'a CallContext| match &call.operation.kind {
            OperationKind::CallTool(called) => Some((&*call.operation.server, &*called.tool)),
            _ => None,
        };
        Self {
            subject,
            root: record.on_behalf_of().map(|it| it.root),
            tool: call.and_then(tool),
        }
    }

    /// Whether an entity is the tool, and [`tool_name`] what it is written as.
    pub fn is_tool(&self, uid: &EntityUID) -> bool {
        let id: &str = uid.eid().as_ref();
        let is_named = self.tool.is_some_and(|(server, tool)| {
            let behind = id.strip_prefix(server).and_then(|it| it.strip_prefix('/'));
            behind == Some(tool)
        });
        is_named && *uid.entity_type() == TYPES.tool && wire::is_plain(id)
    }
}

/// The name of a tool as it is written where a record names its entity.
fn tool_name(server: &str, tool: &str) -> String {
    format!("Mcp::Tool::\"{server}/{tool}\"")
}

/// Fills in what verdicts leave out: the subject, the root of the chain and the tool of the call, and actions and resources
/// that are those of the verdict before.
pub fn fill_in(decision: &mut Decision) {
    let or = |own: &mut String, said: &str| {
        if own.is_empty() {
            said.clone_into(own);
        }
    };
    // Records of before say of a dry run what it would have used in the place of what was used.
    if decision.is_dry_run && decision.would_use.is_none() {
        decision.would_use = decision.side_effects.take();
    }
    let root = decision.chain.as_ref().map_or("", |chain| &chain.root);
    let Some((first, rest)) = decision.principals.split_first_mut() else {
        return;
    };
    or(&mut first.principal, &decision.subject);
    if !decision.tool.is_empty() {
        or(
            &mut first.resource,
            &tool_name(&decision.server, &decision.tool),
        );
    }
    let mut before = first;
    for verdict in rest {
        or(&mut verdict.principal, root);
        or(&mut verdict.action, &before.action);
        or(&mut verdict.resource, &before.resource);
        before = verdict;
    }
}

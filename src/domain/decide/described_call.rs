//! A call as an approval describes it: what of it is recorded, and the call made from that again.

use std::sync::Arc;

use callgate_engine::cedar::{EntityUID, Value};
use callgate_engine::{Overlay, Snapshot};
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::config::claims::ClaimMapping;
use crate::domain::authority::approval::{ApprovalContext, ApprovedCall};
use crate::domain::authority::call_facts::{CallFacts, PartyClaims};
use crate::domain::authority::chain::DelegationChain;
use crate::domain::authority::labels::CarriedLabels;
use crate::domain::authority::session::Session;
use crate::domain::authority::state::Authority;
use crate::domain::decide::cedar_request::CedarRequest;
use crate::domain::decide::evaluate::RequestEvaluator;
use crate::domain::decide::inputs::History;
use crate::domain::decide::verify::VerifiedEvidence;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::request::call_context::{
    ActorChain, CallContext, Operation, Scopes, Subject, Workflow,
};
use crate::domain::request::claims;
use crate::domain::request::client_responses::ClientResponses;
use crate::domain::request::operation::{OperationKind, ToolCall};
use crate::domain::request::target::stored;
use crate::domain::schema::{self, AccessLevel};

/// The facts to record of a call that is evaluated.
pub fn facts(evaluator: &RequestEvaluator<'_>, mapping: &ClaimMapping) -> CallFacts {
    let RequestEvaluator {
        inputs,
        call,
        evidence,
        ..
    } = evaluator;
    let (chain, history) = (evidence.chain.as_ref(), &inputs.history);
    let delegations = chain.map_or(&[] as &[_], |chain| &chain.delegations);
    CallFacts {
        delegations: delegations.iter().map(|it| it.id.clone()).collect(),
        scopes: chain.map_or_else(Vec::new, |chain| chain.scopes.to_vec()),
        is_chain_verified: chain.is_some_and(|chain| chain.is_verified),
        claims: stated(call)
            .filter_map(|(party, claims)| {
                let claims = claims::mapped(claims, mapping);
                (!claims.is_empty()).then(|| PartyClaims {
                    party: party.clone(),
                    claims,
                })
            })
            .collect(),
        session: history.session.map(Into::into),
        labels: history.carried.map(Into::into),
        usage: history.usage,
        calls_left: history.calls_left,
        tool_calls_left: history.tool_calls_left,
    }
}

/// The claims about the parties of a call, each with its party.
pub fn stated(call: &CallContext) -> impl Iterator<Item = (&EntityUID, &Map<String, Json>)> {
    let chain = call.actor_chain.iter().flat_map(|it| &it.claims);
    let chain = chain.map(|(party, claims)| (party, claims));
    std::iter::once((&call.subject.entity, &call.subject.claims)).chain(chain)
}

/// A call on record, with the facts that were recorded with it.
pub struct DescribedCall {
    /// The call.
    pub call: CallContext,
    facts: Option<Arc<CallFacts>>,
    session: Option<Session>,
    carried: Option<CarriedLabels>,
}

impl DescribedCall {
    /// Makes the call that an approval describes.
    ///
    /// # Errors
    ///
    /// [`ReasonCode::Internal`] if the description cannot be read.
    pub fn new(approved: &ApprovedCall, context: &ApprovalContext) -> Result<Self, Reason> {
        let facts = context.facts.as_deref();
        let claims = facts.map_or(&[] as &[_], |facts| &facts.claims);
        let (own, others): (Vec<_>, Vec<_>) =
            claims.iter().partition(|it| it.party == approved.subject);
        let subject = Subject {
            entity: approved.subject.clone(),
            identity: Default::default(),
            claims: own.first().map_or_else(Map::new, |it| it.claims.clone()),
        };
        let others = others.into_iter();
        let chain = approved.root.clone().map(|root| ActorChain {
            actors: approved.actors.clone(),
            scopes: facts.map_or_else(Scopes::new, |it| it.scopes.iter().cloned().collect()),
            // Stored delegations say themselves that they are. If they are gone, nobody does.
            verified: facts.is_some_and(|it| it.is_chain_verified && it.delegations.is_empty()),
            delegation_ids: facts.map_or_else(Vec::new, |it| it.delegations.clone()),
            claims: others
                .map(|it| (it.party.clone(), it.claims.clone()))
                .collect(),
            ..ActorChain::verified_from(root)
        });
        Ok(Self {
            call: CallContext {
                actor_chain: chain,
                workflow: Workflow {
                    task_id: approved.task.clone(),
                    purpose: context.purpose.clone(),
                    ..Workflow::default()
                },
                ..CallContext::new(subject, operation(approved)?)
            },
            session: facts.and_then(|it| it.session.as_ref().map(Into::into)),
            carried: facts.and_then(|it| it.labels.as_ref().map(Into::into)),
            facts: context.facts.clone(),
        })
    }

    /// What had happened when the facts were recorded; `now` if none were.
    pub fn history<'h>(&'h self, now: History<'h>) -> History<'h> {
        let Some(facts) = &self.facts else {
            return now;
        };
        History {
            session: self.session.as_ref(),
            carried: self.carried.as_ref(),
            usage: facts.usage,
            calls_left: facts.calls_left,
            tool_calls_left: facts.tool_calls_left,
            ..now
        }
    }

    /// The evidence of the call as far as it is on record, whether or not it is in force. Only a call is denied for that.
    ///
    /// # Errors
    ///
    /// [`ReasonCode::DelegationChainBroken`] if the chain has no root.
    pub fn evidence<'c>(
        &'c self,
        authority: &'c Authority,
    ) -> Result<VerifiedEvidence<'c>, Reason> {
        let (subject, chain) = (&self.call.subject.entity, self.call.actor_chain.as_ref());
        let chain = chain.map(|chain| DelegationChain::recorded(authority, chain, subject));
        let task = self.call.workflow.task_id.as_ref();
        Ok(VerifiedEvidence {
            chain: chain.transpose()?,
            task: task.and_then(|id| authority.tasks.get(id).map(Arc::as_ref)),
        })
    }
}

/// The Cedar request of a call on record whose tool is stopped, gone, or takes other arguments by now: about the tool and the
/// targets that were recorded. Of a tool that is gone, policies find what was recorded and nothing else.
pub fn recorded_request(
    snapshot: &Snapshot,
    approved: &ApprovedCall,
    context: &ApprovalContext,
) -> CedarRequest {
    let tool = schema::tool_uid(&approved.server, &approved.tool);
    let is_server = |server: &str| snapshot.contains(&schema::server_uid(&SmolStr::new(server)));
    let targets = context.targets.iter();
    let targets = targets.filter_map(|uid| stored::read(uid.eid().as_ref(), is_server).ok());
    let gone = (!snapshot.contains(&tool)).then(|| {
        let access = context.access.unwrap_or(AccessLevel::Admin);
        Overlay {
            parents: vec![schema::server_uid(&approved.server)],
            attributes: vec![
                ("access".into(), Value::new(access.as_str(), None)),
                ("confirmed".into(), Value::new(true, None)),
            ],
            ..Overlay::bare(tool.clone())
        }
    });
    CedarRequest {
        targets: targets.collect(),
        overlays: gone.into_iter().collect(),
        ..CedarRequest::new(schema::action_uid("approve_call"), tool)
    }
}

fn operation(approved: &ApprovedCall) -> Result<Operation, Reason> {
    let arguments = serde_json::from_str(&approved.arguments).map_err(unreadable)?;
    let kind = OperationKind::CallTool(ToolCall {
        tool: approved.tool.clone(),
        arguments,
        definition_digest: None,
        target: approved.target.clone(),
    });
    let responses = approved.responses.as_deref().map(serde_json::from_str);
    let responses = responses
        .transpose()
        .map_err(unreadable)?
        .unwrap_or_default();
    let answers = ClientResponses::from_json(&responses).map_err(unreadable)?;
    Ok(Operation {
        answers: answers.map(Box::new),
        request_state: approved.request_state.clone().map(Into::into),
        ..Operation::new(approved.initiator, approved.server.clone(), kind)
    })
}

fn unreadable(_: impl std::error::Error) -> Reason {
    Reason::new(ReasonCode::Internal, "the approval cannot be read")
}

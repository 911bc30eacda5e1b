//! Decides all calls of a tool by the same parties at once.
//!
//! Callgate's decision, not one of Cedar's: evidence comes first, every principal of the chain has to be allowed, and a
//! policy that cannot be evaluated denies.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::cedar::{
    Context, Entities, Entity, EntityUID, EntityUIDEntry, Evaluator, Extensions, NoEntitiesSchema,
    Request, TCComputation,
};
use callgate_engine::{Candidate, Overlay, Snapshot};
use serde_json::Map;
use smol_str::SmolStr;

use crate::analysis::access::known::{self, KnownRecord, Parties, as_bool};
use crate::analysis::access::outcome::{Denial, Outcome, PrincipalConditions, Residual};
use crate::analysis::access::partial::{Partial, PartialEvaluator, may_fail, reads};
use crate::analysis::access::words;
use crate::authn::caller::Rights;
use crate::domain::decide::cedar_request::{self, CedarRequest};
use crate::domain::decide::evaluate::check_scopes;
use crate::domain::decide::inputs::DecisionInputs;
use crate::domain::decide::verify;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::request::call_context::{
    ActorChain, CallContext, Identity, Initiator, Operation, Scopes, Subject,
};
use crate::domain::request::operation::{OperationKind, ToolCall};
use crate::domain::schema::{self, TYPES};

/// Decides all calls of a tool by the same parties at once, against one snapshot and without live authority.
pub struct Analyser<'s> {
    snapshot: &'s Snapshot,
    rights: Rights,
    entities: &'s KnownEntities,
    evaluator: Evaluator<'s>,
    memo: RefCell<HashMap<MemoKey, Arc<Own>>>,
}

/// The stored entities in Cedar's form, and the parties of calls among them.
pub struct KnownEntities {
    entities: Entities,
    overlays: Vec<Overlay>,
}

/// A principal and whether it is the subject, the parties without their root unless it matters, and the tool.
type MemoKey = (EntityUID, bool, Parties, EntityUID);

/// What the policies say of one principal.
#[derive(Debug, Clone)]
enum Own {
    Denied(Denial),
    Allowed,
    Conditional {
        conditions: PrincipalConditions,
        needs_approval: bool,
        reads_root: bool,
    },
}

impl KnownEntities {
    /// All stored entities, with those parties that are not stored: users may be known to the identity provider only.
    /// `groups` are assumed of everyone, as claims may add them.
    pub fn new<'a>(
        snapshot: &Snapshot,
        parties: impl IntoIterator<Item = &'a EntityUID>,
        groups: &[EntityUID],
    ) -> Self {
        let mut overlays: Vec<Overlay> = Vec::new();
        for uid in parties {
            let is_new = !overlays.iter().any(|known| known.uid == *uid);
            if is_new && (!snapshot.contains(uid) || !groups.is_empty()) {
                overlays.push(Overlay {
                    parents: groups.to_vec(),
                    ..Overlay::bare(uid.clone())
                });
            }
        }
        let added: Vec<&Overlay> = overlays.iter().collect();
        let seen = |uid: &EntityUID| snapshot.cedar_entity_with(uid, &added);
        let own: Vec<Entity> = overlays.iter().filter_map(|it| seen(&it.uid)).collect();
        let stored = snapshot.cedar_entities();
        let stored = stored
            .into_iter()
            .filter(|it| !overlays.iter().any(|own| own.uid == *it.uid()));
        let entities = Entities::new().add_entities(
            stored.chain(own).map(Arc::new),
            None::<&NoEntitiesSchema>,
            TCComputation::AssumeAlreadyComputed,
            Extensions::all_available(),
        );
        Self {
            // No uid is there twice, so adding them cannot fail. Without entities nothing would be known to be in a
            // group, and what looks at an entity would fail: neither makes an allow.
            entities: entities.unwrap_or_default(),
            overlays,
        }
    }
}

impl<'s> Analyser<'s> {
    /// `rights` are those of the caller whose calls are analysed.
    pub fn new(snapshot: &'s Snapshot, rights: Rights, entities: &'s KnownEntities) -> Self {
        let nobody = || {
            let uid = schema::entity_uid(&TYPES.user, SmolStr::new_static(""));
            EntityUIDEntry::known(uid, None)
        };
        let request = Request::new_unchecked(nobody(), nobody(), nobody(), Some(Context::empty()));
        Self {
            snapshot,
            rights,
            entities,
            evaluator: Evaluator::new(request, &entities.entities, Extensions::all_available()),
            memo: RefCell::default(),
        }
    }

    /// What is decided on all calls of a tool by these parties whose evidence holds, which are well-formed, and which
    /// rely on no narrower delegation or task.
    pub fn outcome(&self, parties: &Parties, server: &SmolStr, tool: &SmolStr) -> Outcome {
        let request = match self.request(parties, server, tool) {
            Ok(request) => request,
            Err(reason) => {
                return Outcome::Never {
                    because: vec![denial(reason)],
                };
            }
        };
        let each = parties.principals().into_iter();
        let each: Vec<_> = each
            .map(|principal| self.own(principal, parties, server, &request))
            .collect();
        let denied = each.iter().filter_map(|own| match &**own {
            Own::Denied(denial) => Some(denial.clone()),
            _ => None,
        });
        let because: Vec<Denial> = denied.collect();
        if !because.is_empty() {
            return Outcome::Never { because };
        }
        let mut principals = Vec::new();
        let mut is_approval_needed = false;
        for own in &each {
            if let Own::Conditional {
                conditions,
                needs_approval,
                ..
            } = &**own
            {
                is_approval_needed |= needs_approval;
                principals.push(conditions.clone());
            }
        }
        match principals.is_empty() {
            true => Outcome::Always,
            false => Outcome::Conditional {
                needs_approval: is_approval_needed,
                principals,
            },
        }
    }

    /// Verifies what evidence says of every such call, and finds its action and resource.
    #[expect(
        clippy::result_large_err,
        reason = "a reason is made once for a cell of the matrix"
    )]
    fn request(
        &self,
        parties: &Parties,
        server: &SmolStr,
        tool: &SmolStr,
    ) -> Result<CedarRequest, Reason> {
        let inputs = DecisionInputs::from(self.snapshot);
        let call = call_of(parties, server, tool);
        verify::verify_call(&inputs, &call, &self.rights, SystemTime::UNIX_EPOCH)?;
        let request = cedar_request::from_listed_tool(&inputs, &call.operation, tool, None)?;
        let principals = parties.principals();
        check_scopes(
            self.snapshot,
            &principals,
            &request.action,
            &request.resource,
        )?;
        Ok(request)
    }

    /// What the policies say of one principal.
    fn own(
        &self,
        principal: &EntityUID,
        parties: &Parties,
        server: &SmolStr,
        request: &CedarRequest,
    ) -> Arc<Own> {
        let anyone = Parties {
            subject: subject_for_memo(parties),
            root: parties.root.as_ref().map(any_of_type),
            actors: parties.actors.clone(),
        };
        let is_subject = *principal == parties.subject;
        let tool = &request.resource;
        let key = (principal.clone(), is_subject, anyone, tool.clone());
        let for_anyone = self.remembered(key, || {
            self.of_policies(principal, parties, server, request, false)
        });
        match &*for_anyone {
            Own::Conditional {
                reads_root: true, ..
            } => {
                let these = Parties {
                    subject: subject_for_memo(parties),
                    ..parties.clone()
                };
                let key = (principal.clone(), is_subject, these, tool.clone());
                self.remembered(key, || {
                    self.of_policies(principal, parties, server, request, true)
                })
            }
            _ => for_anyone,
        }
    }

    fn remembered(&self, key: MemoKey, find: impl FnOnce() -> Own) -> Arc<Own> {
        if let Some(known) = self.memo.borrow().get(&key) {
            return Arc::clone(known);
        }
        let found = Arc::new(find());
        self.memo.borrow_mut().insert(key, Arc::clone(&found));
        found
    }

    fn of_policies(
        &self,
        principal: &EntityUID,
        parties: &Parties,
        server: &SmolStr,
        request: &CedarRequest,
        is_root_known: bool,
    ) -> Own {
        let (snapshot, action) = (self.snapshot, &request.action);
        let has_server = action != &schema::tool_action_uid(server, tool_name(request, server))
            || snapshot.declares_context_attribute(action, "server");
        let server = schema::server_uid(server);
        let server = Some(&server).filter(|_| has_server);
        let known = known::of_tool_calls(parties, server, is_root_known);
        let overlays: Vec<&Overlay> = self.entities.overlays.iter().collect();
        let policies = snapshot.applicable(principal, action, &request.resource, &overlays);
        let policies: Vec<_> = policies
            .into_iter()
            .filter(|it| !it.info.is_shadow)
            .collect();
        let is_subject = *principal == parties.subject;
        let asked = PrincipalQuestion {
            analyser: self,
            principal,
            request,
            is_subject,
        };
        let own = asked.answer(&policies, &known);
        let Own::Conditional {
            conditions,
            reads_root,
            ..
        } = own
        else {
            return own;
        };
        let reads_approval = conditions
            .residuals()
            .any(|it| reads(&it.condition, &["approval"]));
        let needs_approval = reads_approval
            && matches!(
                asked.answer(&policies, &known.without_approval()),
                Own::Denied(_)
            );
        Own::Conditional {
            conditions,
            needs_approval,
            reads_root,
        }
    }
}

/// The question whether one principal may use a tool.
struct PrincipalQuestion<'a> {
    analyser: &'a Analyser<'a>,
    principal: &'a EntityUID,
    request: &'a CedarRequest,
    is_subject: bool,
}

impl PrincipalQuestion<'_> {
    /// The answer, as far as the known part of the context tells.
    fn answer(&self, policies: &[Candidate<'_>], known: &KnownRecord) -> Own {
        let mut any_of = Vec::new();
        let mut none_of = Vec::new();
        let (mut forbids, mut errors) = (Vec::new(), Vec::new());
        let mut is_permitted = false;
        for candidate in policies {
            let info = candidate.info;
            match self.condition(candidate, known) {
                Partial::Known(value) => match as_bool(&value.into()) {
                    Some(false) => {}
                    Some(true) if info.is_forbid => forbids.push(info),
                    Some(true) => is_permitted = true,
                    None => errors.push(info),
                },
                Partial::Fails => errors.push(info),
                Partial::Open(condition) => {
                    let list = if info.is_forbid {
                        &mut none_of
                    } else {
                        &mut any_of
                    };
                    list.push(residual(candidate, condition));
                }
            }
        }
        let ids =
            |of: &[&Arc<callgate_engine::PolicyInfo>]| of.iter().map(|it| it.id.clone()).collect();
        if let Some(first) = forbids.first() {
            let why = first.reason.as_deref().unwrap_or("a policy forbids it");
            return self.denied(ReasonCode::Forbidden, why, ids(&forbids));
        }
        if !errors.is_empty() {
            let why = "a policy that applies cannot be evaluated";
            return self.denied(ReasonCode::EvaluationError, why, ids(&errors));
        }
        if !is_permitted && any_of.is_empty() {
            return self.denied(ReasonCode::NoPermit, "no policy permits it", Vec::new());
        }
        // The only permit that is left has to hold, so it has a value. Of several, and beside one that holds, each may fail.
        let mut no_error_in: Vec<Residual> = Vec::new();
        if is_permitted || any_of.len() > 1 {
            let failing = any_of.iter().filter(|it: &&Residual| it.may_fail);
            no_error_in.extend(failing.cloned());
        }
        if is_permitted {
            any_of.clear();
        }
        let conditions = PrincipalConditions {
            principal: self.principal.to_string(),
            any_of,
            none_of,
            no_error_in,
        };
        if conditions.residuals().next().is_none() {
            return Own::Allowed;
        }
        let reads_root = |it: &Residual| {
            ["root", "root_agent"]
                .iter()
                .any(|name| reads(&it.condition, &["delegation", name]))
        };
        let reads_root = conditions.residuals().any(reads_root);
        Own::Conditional {
            conditions,
            needs_approval: false,
            reads_root,
        }
    }

    fn condition(&self, candidate: &Candidate<'_>, known: &KnownRecord) -> Partial {
        let Some(condition) = candidate.policy.non_scope_constraints() else {
            return Partial::from(true);
        };
        let evaluator = PartialEvaluator {
            evaluator: &self.analyser.evaluator,
            principal: self.principal,
            action: &self.request.action,
            resource: &self.request.resource,
            known,
            slots: candidate.policy.env(),
        };
        evaluator.evaluate(condition)
    }

    fn denied(&self, code: ReasonCode, why: &str, policies: Vec<SmolStr>) -> Own {
        let code = match self.is_subject {
            true => code,
            false => ReasonCode::DelegatorDenied,
        };
        Own::Denied(Denial {
            code: code.as_str(),
            message: why.to_owned(),
            principal: Some(self.principal.to_string()),
            policies,
        })
    }
}

impl PrincipalConditions {
    /// All that is left of policies.
    pub fn residuals(&self) -> impl Iterator<Item = &Residual> {
        let rest = self.none_of.iter().chain(&self.no_error_in);
        self.any_of.iter().chain(rest)
    }
}

fn residual(candidate: &Candidate<'_>, condition: callgate_engine::cedar::Expr) -> Residual {
    Residual {
        policy: candidate.info.id.clone(),
        reason: candidate.info.reason.clone(),
        words: match candidate.info.is_forbid {
            true => words::contrary(&condition),
            false => words::of(&condition),
        },
        cedar: condition.to_string(),
        may_fail: may_fail(&condition),
        condition: Arc::new(condition),
    }
}

fn denial(reason: Reason) -> Denial {
    Denial {
        code: reason.code.as_str(),
        message: reason.message,
        principal: reason.principal.map(|it| it.to_string()),
        policies: reason.policies,
    }
}

/// Conditions depend on the subject only in whether it is a server.
fn subject_for_memo(parties: &Parties) -> EntityUID {
    any_of_type(&parties.subject)
}

fn any_of_type(uid: &EntityUID) -> EntityUID {
    schema::entity_uid(uid.entity_type(), SmolStr::new_static(""))
}

fn tool_name<'r>(request: &'r CedarRequest, server: &str) -> &'r str {
    let id: &str = request.resource.eid().as_ref();
    id.strip_prefix(server)
        .and_then(|rest| rest.strip_prefix('/'))
        .unwrap_or(id)
}

/// A call of a tool of which only the parties and the tool are known.
pub fn call_of(parties: &Parties, server: &SmolStr, tool: &SmolStr) -> CallContext {
    let is_server = *parties.subject.entity_type() == TYPES.server;
    let subject = Subject {
        entity: parties.subject.clone(),
        identity: Identity {
            verified: true,
            ..Identity::default()
        },
        claims: Map::new(),
    };
    let kind = OperationKind::CallTool(ToolCall {
        tool: tool.clone(),
        arguments: Map::new(),
        definition_digest: None,
        target: None,
    });
    let initiator = match is_server {
        true => Initiator::Server,
        false => Initiator::Client,
    };
    let operation = Operation::new(initiator, server.clone(), kind);
    let mut call = CallContext::new(subject, operation);
    call.actor_chain = parties.root.as_ref().map(|root| ActorChain {
        root: Some(root.clone()),
        actors: parties.actors.clone(),
        scopes: Scopes::new(),
        verified: true,
        delegation_ids: Vec::new(),
        not_before: None,
        expires_at: None,
        claims: Vec::new(),
    });
    call
}

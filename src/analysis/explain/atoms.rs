//! Which changes are worth trying, given a deny: each would turn round one condition that the deny hangs on, or one piece
//! of evidence.

use std::cell::RefCell;
use std::time::SystemTime;

use callgate_engine::Query;
use callgate_engine::cedar::{
    BinaryOp, EntityReference, EntityUID, Evaluator, Expr, ExprKind, Literal, Policy,
    PrincipalOrResourceConstraint, SlotEnv, UnaryOp, Value, ValueKind, Var,
};
use smol_str::SmolStr;

use crate::analysis::access::known::context_path;
use crate::analysis::clauses::{ClauseTree, Truth};
use crate::analysis::explain::change::{Change, World, assumed_approval};
use crate::analysis::explain::{policies, values};
use crate::domain::authority::approval::Approval;
use crate::domain::authority::chain;
use crate::domain::decide::inputs::DecisionInputs;
use crate::domain::decide::observer::{EvaluationObserver, ObservedEvaluation};
use crate::domain::decide::verdict::{ReasonCode, Verdict};
use crate::domain::ids::DelegationId;
use crate::domain::schema::{self, AccessLevel, TYPES};

/// The most users that are tried as the one for whom a call is made.
const MAX_ROOTS: usize = 24;
/// The most elements of a set that an attribute is tried with.
const MAX_ELEMENTS: usize = 8;
/// The most users that are tried as approvers.
const MAX_APPROVERS: usize = 24;

/// Collects changes from the Cedar requests of a decision.
#[derive(Debug, Default)]
pub struct AtomCollector {
    atoms: RefCell<Vec<Change>>,
}

impl AtomCollector {
    /// The changes worth trying after this verdict, each once, those that give away least first.
    pub fn atoms(
        self,
        inputs: &DecisionInputs<'_>,
        world: &World,
        verdict: &Verdict,
        now: SystemTime,
    ) -> Vec<Change> {
        let mut atoms = self.atoms.into_inner();
        let delegations = world.call().actor_chain.iter();
        let delegations: Vec<&DelegationId> =
            delegations.flat_map(|it| &it.delegation_ids).collect();
        for reason in &verdict.reasons {
            of_evidence(reason.code, inputs, world, &delegations, &mut atoms);
        }
        if atoms.iter().any(|it| matches!(it, Change::Delegate { .. })) {
            // The condition tells that somebody is missing, not who.
            atoms.retain(|it| !matches!(it, Change::Delegate { .. }));
            atoms.extend(roots(inputs, world).map(|root| Change::Delegate { root }));
        }
        if let Some(challenge) = &verdict.challenge {
            let approval = assumed_approval(challenge, now);
            let users = approvers(inputs, &approval).into_iter().take(MAX_APPROVERS);
            atoms.extend(users.map(|by| Change::Approve { by }));
        }
        let mut unique: Vec<Change> = Vec::with_capacity(atoms.len());
        for atom in atoms {
            if !unique.contains(&atom) {
                unique.push(atom);
            }
        }
        unique.sort_by_key(Change::weight);
        unique
    }
}

impl EvaluationObserver for AtomCollector {
    fn evaluated(&self, evaluation: ObservedEvaluation<'_>) {
        if evaluation.result.is_allow() {
            return;
        }
        let (snapshot, query) = (evaluation.snapshot, evaluation.query);
        let Some(request) = snapshot.materialize(query, evaluation.principal) else {
            return;
        };
        let evaluator = request.evaluator();
        let mut atoms = self.atoms.borrow_mut();
        let mut finder = AtomFinder {
            evaluator: &evaluator,
            query,
            principal: evaluation.principal,
            atoms: &mut atoms,
        };
        let forbids = !evaluation.result.forbids.is_empty();
        for candidate in &request.candidates {
            // With a forbid in force, more permits do not help yet; without one, only permits do.
            let concerns = candidate.info.is_forbid == forbids && !candidate.info.is_shadow;
            if concerns {
                finder.of_policy(candidate.policy, candidate.info.is_forbid);
            }
        }
        if !forbids && evaluation.result.permits.is_empty() {
            for (candidate, scope) in policies::missed_permits(&evaluation, &evaluator) {
                let constraints = [
                    (
                        scope.principal,
                        candidate.policy.principal_constraint().as_inner().clone(),
                        evaluation.principal,
                    ),
                    (
                        scope.resource,
                        candidate.policy.resource_constraint().as_inner().clone(),
                        query.resource,
                    ),
                ];
                if constraints
                    .into_iter()
                    .all(|(matches, constraint, uid)| matches || finder.of_scope(&constraint, uid))
                {
                    finder.of_policy(candidate.policy, false);
                }
            }
        }
        let tool = query.resource;
        if *tool.entity_type() == TYPES.tool {
            for access in [AccessLevel::Read, AccessLevel::Write] {
                let tool = tool.clone();
                atoms.push(Change::RegisterAccess { tool, access });
            }
        }
    }
}

/// Changes of the evidence that a reason names.
fn of_evidence(
    code: ReasonCode,
    inputs: &DecisionInputs<'_>,
    world: &World,
    delegations: &[&DelegationId],
    atoms: &mut Vec<Change>,
) {
    let call = world.call();
    match code {
        ReasonCode::Stopped => {
            let stops = inputs.authority.stops.keys().cloned();
            atoms.extend(stops.map(|entity| Change::Resume { entity }));
        }
        ReasonCode::TaskOutOfScope => {
            let task = call.workflow.task_id.clone();
            atoms.extend(task.map(|id| Change::WidenTask { id }));
        }
        ReasonCode::DelegationOutOfScope => {
            let chains = delegations.iter().filter_map(|id| {
                let last = inputs.authority.delegations.get(*id)?;
                chain::resolve_chain(inputs.authority, last).ok()
            });
            atoms.extend(
                chains
                    .flatten()
                    .map(|it| Change::WidenDelegation { id: it.id.clone() }),
            );
        }
        ReasonCode::ContextMissing if call.actor_chain.is_none() => {
            atoms.extend(roots(inputs, world).map(|root| Change::Delegate { root }));
        }
        ReasonCode::ServerUnknown => {
            let entity = schema::server_uid(&call.operation.server);
            atoms.push(Change::SetAttribute {
                entity,
                attribute: SmolStr::new_static("active"),
                value: Value::new(true, None),
            });
        }
        _ => {}
    }
}

/// Users for whom the call may be made: the owner of the agent first.
fn roots(inputs: &DecisionInputs<'_>, world: &World) -> impl Iterator<Item = EntityUID> {
    let (snapshot, subject) = (inputs.snapshot, &world.call().subject.entity);
    let owner = values::entity_attribute(snapshot, subject, "owner");
    let page = snapshot.list_entities(&TYPES.user, None, MAX_ROOTS);
    let mut users: Vec<EntityUID> = page
        .map(|page| page.entities.into_iter().map(|(uid, _)| uid).collect())
        .unwrap_or_default();
    users.sort();
    users.retain(|uid| Some(uid) != owner.as_ref());
    owner.into_iter().chain(users).take(MAX_ROOTS)
}

/// The users that may be able to approve a call: for whom it is made, the owners of what it concerns, and the users that
/// policies about approvals name.
fn approvers(inputs: &DecisionInputs<'_>, approval: &Approval) -> Vec<EntityUID> {
    let snapshot = inputs.snapshot;
    let call = &approval.call;
    let tool = schema::tool_uid(&call.server, &call.tool);
    let things = std::iter::once(&tool).chain(&approval.circumstances.targets);
    let owners = things.filter_map(|uid| values::entity_attribute(snapshot, uid, "owner"));
    let named = inputs.named_approvers.iter().cloned();
    let all = call.root.iter().cloned().chain(owners).chain(named);
    let mut users: Vec<EntityUID> = Vec::new();
    for uid in all.filter(|uid| *uid.entity_type() == TYPES.user && *uid != call.subject) {
        if !users.contains(&uid) {
            users.push(uid);
        }
    }
    users
}

/// Finds changes that turn round conditions of one Cedar request.
struct AtomFinder<'a> {
    evaluator: &'a Evaluator<'a>,
    query: &'a Query<'a>,
    principal: &'a EntityUID,
    atoms: &'a mut Vec<Change>,
}

impl AtomFinder<'_> {
    /// Changes that would make a permit apply, or a forbid not.
    fn of_policy(&mut self, policy: &Policy, is_forbid: bool) {
        let tree = ClauseTree::from_policy(policy.template());
        let outcome = tree.evaluate(self.evaluator, policy.env());
        if outcome.truth == Truth::from(!is_forbid) {
            return;
        }
        let reached = || outcome.conditions.iter().filter(|it| it.is_reached);
        let has_decisive = reached().any(|it| it.is_decisive);
        for it in reached().filter(|it| it.is_decisive || !has_decisive) {
            if let Some(truth) = it.truth.as_bool() {
                self.turn(&tree.node(it.node).expr, policy.env(), !truth);
            }
        }
    }

    /// Changes that make a scope match. Whether there are any.
    fn of_scope(&mut self, constraint: &PrincipalOrResourceConstraint, uid: &EntityUID) -> bool {
        let group = match constraint {
            PrincipalOrResourceConstraint::In(EntityReference::EUID(group)) => group,
            PrincipalOrResourceConstraint::IsIn(ty, EntityReference::EUID(group))
                if **ty == *uid.entity_type() =>
            {
                group
            }
            _ => return false,
        };
        self.join(uid, group)
    }

    /// Changes that give an expression the truth `wanted`, which it has not.
    fn turn(&mut self, expr: &Expr, slots: &SlotEnv, wanted: bool) {
        match expr.expr_kind() {
            ExprKind::UnaryApp {
                op: UnaryOp::Not,
                arg,
            } => self.turn(arg, slots, !wanted),
            ExprKind::And { left, right } => {
                // `x is T in y`
                self.turn(left, slots, wanted);
                self.turn(right, slots, wanted);
            }
            ExprKind::BinaryApp { op, arg1, arg2 } => match op {
                BinaryOp::In => self.turn_membership(arg1, arg2, slots, wanted),
                BinaryOp::Eq => self.turn_equality(arg1, arg2, slots, wanted),
                BinaryOp::Contains => self.turn_element(arg1, arg2, slots, wanted),
                _ => {}
            },
            ExprKind::GetAttr { .. } => self.turn_state(expr, slots, wanted),
            ExprKind::HasAttr { expr, attr } if wanted => self.turn_presence(expr, attr),
            ExprKind::ExtHasAttr { expr, attrs } if wanted => {
                self.turn_presence(expr, attrs.first());
            }
            _ => {}
        }
    }

    fn turn_membership(&mut self, one: &Expr, other: &Expr, slots: &SlotEnv, wanted: bool) {
        let (Some(uid), Some(group)) = (self.entity(one, slots), self.value(other, slots)) else {
            return;
        };
        let groups: Vec<EntityUID> = match &group.value {
            ValueKind::Lit(Literal::EntityUID(group)) => vec![EntityUID::clone(group)],
            ValueKind::Set(set) => set.iter().filter_map(as_entity).collect(),
            _ => Vec::new(),
        };
        for group in groups {
            match wanted {
                true => {
                    self.join(&uid, &group);
                }
                false => self.atoms.push(Change::RemoveFromGroup {
                    entity: uid.clone(),
                    group,
                }),
            }
        }
    }

    /// An attribute of a stored entity that has to equal something. Whether it may not, no change can promise.
    fn turn_equality(&mut self, one: &Expr, other: &Expr, slots: &SlotEnv, wanted: bool) {
        if !wanted {
            return;
        }
        for (attribute, value) in [(one, other), (other, one)] {
            if let Some(value) = self.value(value, slots) {
                self.set(attribute, slots, value);
            }
        }
    }

    /// An element that has to be in a set attribute of a stored entity, or may not be.
    fn turn_element(&mut self, set: &Expr, of: &Expr, slots: &SlotEnv, wanted: bool) {
        let (Some(current), Some(element)) = (self.value(set, slots), self.value(of, slots)) else {
            return;
        };
        match &current.value {
            ValueKind::Set(items) => {
                let kept = items.iter().filter(|it| **it != element).cloned();
                let added = wanted.then(|| element.clone());
                let value = Value::set(kept.chain(added), None);
                self.set(set, slots, value);
            }
            _ => return,
        }
        // `["read", "write"].contains(resource.access)`: any of the values would do.
        if let (true, ValueKind::Set(items), ExprKind::Set(_)) =
            (wanted, &current.value, set.expr_kind())
        {
            for item in items.iter().take(MAX_ELEMENTS) {
                self.set(of, slots, item.clone());
            }
        }
    }

    fn turn_state(&mut self, expr: &Expr, slots: &SlotEnv, wanted: bool) {
        let path = context_path(expr).map(|path| {
            let path: Vec<&str> = path.iter().map(|it| it.as_str()).collect();
            path.join(".")
        });
        match path.as_deref() {
            Some("identity.verified") if wanted => self.atoms.push(Change::VerifyIdentity),
            Some("delegation.verified") if wanted => self.atoms.push(Change::VerifyDelegation),
            _ => self.set(expr, slots, Value::new(wanted, None)),
        }
    }

    fn turn_presence(&mut self, of: &Expr, attribute: &SmolStr) {
        let path = context_path(of).unwrap_or_default();
        let is_context = matches!(of.expr_kind(), ExprKind::Var(Var::Context));
        let attribute = match (path.first(), is_context) {
            (_, true) => attribute.as_str(),
            (Some(first), _) => first.as_str(),
            _ => return,
        };
        match attribute {
            // Who it is, is found out later.
            "delegation" => self.atoms.push(Change::Delegate {
                root: self.principal.clone(),
            }),
            "purpose" => self.atoms.push(Change::StatePurpose),
            "session" => self.atoms.push(Change::NameSession),
            _ => {}
        }
    }

    /// Sets the attribute that an expression reads, if it is one of a stored entity.
    fn set(&mut self, expr: &Expr, slots: &SlotEnv, value: Value) {
        let ExprKind::GetAttr { expr: of, attr } = expr.expr_kind() else {
            return;
        };
        let Some(entity) = self.entity(of, slots) else {
            return;
        };
        let access = match (&value.value, attr.as_str()) {
            (ValueKind::Lit(Literal::String(text)), "access") => AccessLevel::from_name(text),
            // Confirmed as what it counts as already.
            (ValueKind::Lit(Literal::Bool(true)), "confirmed") => Some(AccessLevel::Admin),
            _ => None,
        };
        self.atoms.push(match access {
            Some(access) if *entity.entity_type() == TYPES.tool => Change::RegisterAccess {
                tool: entity,
                access,
            },
            _ => Change::SetAttribute {
                entity,
                attribute: attr.clone(),
                value,
            },
        });
    }

    /// Puts an entity into a group, if entities of its type are in groups of that type.
    fn join(&mut self, uid: &EntityUID, group: &EntityUID) -> bool {
        let (of, into) = (uid.entity_type(), group.entity_type());
        let members = [
            &TYPES.user,
            &TYPES.agent,
            &TYPES.server,
            &TYPES.tool,
            &TYPES.group,
        ];
        let fits = match (*into == TYPES.group, *into == TYPES.resource) {
            (true, _) => members.contains(&of),
            (_, true) => *of == TYPES.resource && uid != group,
            _ => false,
        };
        if fits {
            self.atoms.push(Change::AddToGroup {
                entity: uid.clone(),
                group: group.clone(),
            });
        }
        fits
    }

    fn value(&self, expr: &Expr, slots: &SlotEnv) -> Option<Value> {
        self.evaluator.interpret(expr, slots).ok()
    }

    fn entity(&self, expr: &Expr, slots: &SlotEnv) -> Option<EntityUID> {
        match expr.expr_kind() {
            ExprKind::Var(Var::Principal) => Some(self.principal.clone()),
            ExprKind::Var(Var::Resource) => Some(self.query.resource.clone()),
            _ => as_entity(&self.value(expr, slots)?),
        }
    }
}

fn as_entity(value: &Value) -> Option<EntityUID> {
    match &value.value {
        ValueKind::Lit(Literal::EntityUID(uid)) => Some(EntityUID::clone(uid)),
        _ => None,
    }
}

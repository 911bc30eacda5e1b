//! The changes that are made of one policy.

use callgate_engine::cedar::{
    ActionConstraint, Effect, Expr, PrincipalConstraint, PrincipalOrResourceConstraint,
    ResourceConstraint, Template,
};
use serde::Serialize;

use crate::analysis::clauses::{ClauseKind, ClauseTree, Edit, NodeId, NodeKind};

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MutationKind {
    /// The whole policy is taken away.
    PolicyRemoved,
    /// A permit becomes a forbid, or the reverse.
    EffectFlipped,
    /// Principal, action or resource may be any.
    ScopeWidened,
    /// A condition is negated.
    ConditionNegated,
    /// A condition is left out of its `&&` or `||`.
    ConditionDropped,
    /// A `when` with several conditions is left out.
    WhenDropped,
    /// An `unless` is left out.
    UnlessEmptied,
}

impl MutationKind {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PolicyRemoved => "policy removed",
            Self::EffectFlipped => "effect flipped",
            Self::ScopeWidened => "scope widened",
            Self::ConditionNegated => "condition negated",
            Self::ConditionDropped => "condition dropped",
            Self::WhenDropped => "`when` dropped",
            Self::UnlessEmptied => "`unless` emptied",
        }
    }
}

/// A mutant before it was tested.
pub(super) struct Mutant<'a> {
    pub(super) template: &'a Template,
    pub(super) kind: MutationKind,
    pub(super) line: u32,
    pub(super) part: String,
    /// What stands in the place of the policy; `None`: nothing.
    pub(super) changed: Option<Template>,
}

/// All changes of one policy.
pub(super) fn mutants_of(template: &Template, line: u32) -> Vec<Mutant<'_>> {
    let mut mutants = Vec::new();
    let mut push = |kind, line, part: String, changed| {
        mutants.push(Mutant {
            template,
            kind,
            line,
            part,
            changed,
        });
    };
    push(MutationKind::PolicyRemoved, line, String::new(), None);
    let flipped = match template.effect() {
        Effect::Permit => Effect::Forbid,
        Effect::Forbid => Effect::Permit,
    };
    let own = PolicyParts::from_template(template);
    let changed = PolicyParts {
        effect: flipped,
        ..own.clone()
    };
    push(
        MutationKind::EffectFlipped,
        line,
        flipped.to_string(),
        Some(changed.build(template)),
    );
    for (part, changed) in own.widened() {
        push(
            MutationKind::ScopeWidened,
            line,
            part,
            Some(changed.build(template)),
        );
    }
    let tree = ClauseTree::from_policy(template);
    for (kind, node, edit) in edits(&tree) {
        let place = tree.node(node).place.as_ref();
        let changed = PolicyParts {
            condition: tree.to_expr(&|id| (id == node).then_some(edit)),
            ..own.clone()
        };
        let at = place.map_or(line, |place| place.line);
        let part = place.map_or_else(String::new, |place| place.text.clone());
        push(kind, at, part, Some(changed.build(template)));
    }
    mutants
}

/// The changes of the clauses.
fn edits(tree: &ClauseTree) -> Vec<(MutationKind, NodeId, Edit)> {
    let mut edits = Vec::new();
    for (id, node) in tree.conditions() {
        edits.push((MutationKind::ConditionNegated, id, Edit::Negate));
        let is_operand = node.parent.is_some_and(|parent| {
            matches!(tree.node(parent).kind, NodeKind::All(_) | NodeKind::Any(_))
        });
        if is_operand {
            edits.push((MutationKind::ConditionDropped, id, Edit::Drop));
        }
    }
    for clause in &tree.clauses {
        let kind = match clause.kind {
            ClauseKind::When => MutationKind::WhenDropped,
            ClauseKind::Unless => MutationKind::UnlessEmptied,
        };
        edits.push((kind, clause.body, Edit::Drop));
    }
    edits
}

/// The parts of a policy that mutants change.
#[derive(Clone)]
struct PolicyParts {
    effect: Effect,
    principal: PrincipalConstraint,
    action: ActionConstraint,
    resource: ResourceConstraint,
    condition: Option<Expr>,
}

impl PolicyParts {
    fn from_template(template: &Template) -> Self {
        Self {
            effect: template.effect(),
            principal: template.principal_constraint().clone(),
            action: template.action_constraint().clone(),
            resource: template.resource_constraint().clone(),
            condition: template.non_scope_constraints().cloned(),
        }
    }

    /// Each part of the scope made any, with what it was.
    fn widened(&self) -> Vec<(String, Self)> {
        let mut widened = Vec::new();
        let is_any = |constraint: &PrincipalOrResourceConstraint| {
            *constraint == PrincipalOrResourceConstraint::Any
        };
        if !is_any(self.principal.as_inner()) {
            let changed = Self {
                principal: PrincipalConstraint::any(),
                ..self.clone()
            };
            widened.push((self.principal.to_string(), changed));
        }
        if self.action != ActionConstraint::Any {
            let changed = Self {
                action: ActionConstraint::Any,
                ..self.clone()
            };
            widened.push((self.action.to_string(), changed));
        }
        if !is_any(self.resource.as_inner()) {
            let changed = Self {
                resource: ResourceConstraint::any(),
                ..self.clone()
            };
            widened.push((self.resource.to_string(), changed));
        }
        widened
    }

    fn build(self, of: &Template) -> Template {
        Template::new(
            of.id().clone(),
            of.loc().cloned(),
            of.annotations_arc().as_ref().clone(),
            self.effect,
            self.principal,
            self.action,
            self.resource,
            self.condition,
        )
    }
}

//! Checks the entities that links put into templates.
//!
//! Start at [`check`].

use callgate_engine::cedar::{EntityType, PrincipalOrResourceConstraint, SlotId, Template};

use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::parse::json::{self, Step};
use crate::bundle::validate::references::canonical_text::Refusal;
use crate::bundle::validate::references::group_members::MemberTypes;
use crate::bundle::validate::references::known_entities::{KnownEntities, unknown_entity};
use crate::bundle::validate::references::value_sources::PolicyScopes;
use crate::bundle::validate::references::{MAX_TOLD, ReferenceCheck};

/// Checks the entities that fill the slots of links.
pub(super) fn check<'a>(
    scene: ReferenceCheck<'a>,
    known: &KnownEntities<'_>,
    members: &MemberTypes<'_>,
    scopes: &mut PolicyScopes<'a>,
    warnings: &mut Vec<BundleDiagnostic>,
) {
    let linked = scene.policies.set.policies();
    for link in linked.filter(|policy| !policy.is_static()) {
        let id: &str = link.id().as_ref();
        let Some((source, index)) = scene.links.get(id) else {
            continue;
        };
        for (slot, uid) in link.env() {
            let refusal = match known.has(uid) {
                true => within_slot(link.template(), slot, scopes)
                    .and_then(|types| members.refusal(&types, uid)),
                false => Some(Refusal {
                    message: unknown_entity(uid),
                    help: known.help(uid),
                }),
            };
            let Some(refusal) = refusal.filter(|_| warnings.len() < MAX_TOLD) else {
                continue;
            };
            let message = format!("for policy `{id}`, {}", refusal.message);
            let slot = slot.to_string();
            let path = [Step::Index(*index), Step::Key(slot.trim_start_matches('?'))];
            let fault = json::diagnostic_at(source.origin(), &path, message);
            warnings.push(fault.with_help(refusal.help));
        }
    }
}

/// The types of entities that have to be in the one that fills a slot.
fn within_slot<'a>(
    template: &Template,
    slot: &SlotId,
    scopes: &mut PolicyScopes<'a>,
) -> Option<Vec<&'a EntityType>> {
    use PrincipalOrResourceConstraint::{In, IsIn};
    let constraint = match slot.is_principal() {
        true => template.principal_constraint().as_inner(),
        false => template.resource_constraint().as_inner(),
    };
    if !matches!(constraint, In(_) | IsIn(..)) {
        return None;
    }
    let scope = scopes.scope_of(template);
    Some(match slot.is_principal() {
        true => scope.principals,
        false => scope.resources,
    })
}

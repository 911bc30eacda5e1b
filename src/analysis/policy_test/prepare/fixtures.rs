//! What is wrong with fixtures whether or not a case refers to them.

use callgate_engine::cedar::Entity;

use crate::analysis::policy_test::form::ApprovalForm;
use crate::analysis::policy_test::prepare::{CaseFault, Resolver, call, entities, live};

/// The entities of the fixtures, and every fault of any fixture.
pub(super) fn check(resolver: &Resolver<'_>) -> (Vec<Entity>, Vec<CaseFault>) {
    let fixtures = resolver.fixtures;
    let (entities, mut faults) = entities::from_fixtures(&resolver.bundle.snapshot, fixtures);
    for (name, form) in &fixtures.calls {
        if let Err(fault) = call::operation(form) {
            let field = fault.field.strip_prefix("call").unwrap_or(&fault.field);
            let field = format!("fixtures.calls.{name}{field}");
            faults.push(CaseFault { field, ..fault });
        }
    }
    for (name, form) in &fixtures.delegations {
        faults.extend(live::delegation(name, form, resolver.now).err());
        if let Some(parent) = &form.parent
            && !fixtures.delegations.contains_key(parent)
        {
            let message = format!("there is no delegation `{parent}` in the file");
            let field = format!("fixtures.delegations.{name}.parent");
            faults.push(CaseFault::new(field, message));
        }
    }
    for (name, ApprovalForm { policies, .. }) in &fixtures.approvals {
        let field = format!("fixtures.approvals.{name}.policies");
        faults.extend(resolver.known_policies(&field, policies.as_ref()).err());
    }
    (entities, faults)
}

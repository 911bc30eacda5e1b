//! What "Callgate allows" means to the solver.
//!
//! Cedar passes over a policy that fails and decides by the others; Callgate denies. So Callgate allows a request if Cedar allows
//! it *and* no enforced policy fails. [`compile`] asks Cedar about other policies that say just that: the forbids as they are, and one
//! permit that holds if every policy has a value and some permit is true. `policy || true` has a value exactly where the
//! policy has one. What follows is proven and shown by a request as ever, and nothing is left open.
//!
//! Where no policy can fail, which the compiler tells without a solver, the policies are asked about as they are.
//!
//! The solver knows entities by their types alone. What no store of Callgate holds ([`IMPOSSIBLE`]) is forbidden to it, on both sides
//! of a comparison and of what a property matches, so that it proves and shows nothing of that.

use std::sync::LazyLock;

use callgate_engine::cedar::{Expr, Policy, PolicySet, api};
use cedar_policy_symcc::{CompiledPolicy, CompiledPolicySet, never_errors_asserts};

/// A tool that is not confirmed and counts as less than the most restricted one
/// ([`crate::domain::unconfirmed_tool`]).
const IMPOSSIBLE: &str = r#"
    forbid (principal, action, resource is Mcp::Tool)
    unless {
        resource.confirmed ||
        (resource.access == "admin" && resource.egress && resource.sensitivity == "restricted" &&
         resource.yields.contains("untrusted"))
    };
"#;

static POSSIBLE: LazyLock<Result<api::Policy, String>> = LazyLock::new(|| {
    // With a policy of the same id nothing would be proven.
    let id = api::PolicyId::new("\0possible");
    api::Policy::parse(Some(id), IMPOSSIBLE).map_err(|error| error.to_string())
});

/// The policies, over what there can be.
///
/// # Errors
///
/// If two of them have the same id.
pub fn possible(policies: impl IntoIterator<Item = api::Policy>) -> Result<api::PolicySet, String> {
    let policies = policies.into_iter().chain([POSSIBLE.clone()?]);
    api::PolicySet::from_policies(policies).map_err(|error| error.to_string())
}

/// `Mcp::Agent Mcp::Action::"call_read" Mcp::Tool`.
pub fn type_name(environment: &api::RequestEnv) -> String {
    format!(
        "{} {} {}",
        environment.principal(),
        environment.action(),
        environment.resource()
    )
}

/// Compiles enforced policies for one kind of request, so that the solver allows what Callgate allows.
///
/// # Errors
///
/// If a policy is not well typed for it.
pub fn compile(
    policies: &[api::Policy],
    environment: &api::RequestEnv,
    schema: &api::Schema,
) -> Result<CompiledPolicySet, String> {
    compile_by(policies, &|_| true, environment, schema)
}

/// The same of those requests alone that one of these permits matches.
///
/// # Errors
///
/// As [`compile`].
pub fn compile_by(
    policies: &[api::Policy],
    counts: &dyn Fn(&api::Policy) -> bool,
    environment: &api::RequestEnv,
    schema: &api::Schema,
) -> Result<CompiledPolicySet, String> {
    let wrong =
        |error: cedar_policy_symcc::err::Error| format!("{}: {error}", type_name(environment));
    let mut fallible = Vec::new();
    for policy in policies {
        let compiled = CompiledPolicy::compile(policy, environment, schema).map_err(wrong)?;
        if may_fail(&compiled) {
            fallible.push(policy);
        }
    }
    let counts = |it: &&api::Policy| it.effect() == api::Effect::Forbid || counts(it);
    let counted: Vec<&api::Policy> = policies.iter().filter(counts).collect();
    let set = match fallible.is_empty() {
        true => possible(counted.into_iter().cloned())?,
        false => possible(strict(&counted, &fallible)?.policies().cloned())?,
    };
    CompiledPolicySet::compile(&set, environment, schema).map_err(wrong)
}

/// Whether a policy may fail for the kind of request that it is compiled for. `false` is certain; `true` is for the solver to
/// decide.
pub fn may_fail(policy: &CompiledPolicy) -> bool {
    let asserts = never_errors_asserts(policy);
    !asserts.asserts().iter().any(|term| *term == false.into())
}

/// A permit that matches every request for which the policy does not fail.
pub fn has_value(policy: &api::Policy) -> api::Policy {
    let policy: &Policy = policy.as_ref();
    permit(policy, value_or_error(policy)).into()
}

/// Policies by which Cedar allows what these allow if none of the fallible ones fails.
fn strict(policies: &[&api::Policy], fallible: &[&api::Policy]) -> Result<api::PolicySet, String> {
    let mut set = PolicySet::new();
    let mut permits: Vec<&Policy> = Vec::new();
    for policy in policies {
        let core: &Policy = (*policy).as_ref();
        match policy.effect() {
            api::Effect::Permit => permits.push(core),
            api::Effect::Forbid => set.add(core.clone()).map_err(|error| error.to_string())?,
        }
    }
    let values = fallible.iter().map(|it| value_or_error((*it).as_ref()));
    let any = joined(permits.iter().map(|it| it.condition()), Expr::or);
    // Without a permit nothing is allowed.
    if let (Some(first), Some(any), Some(all)) = (permits.first(), any, joined(values, Expr::and)) {
        // The id of a permit that it stands for, which no other policy has.
        let one = permit(first, Expr::and(all, any));
        set.add(one).map_err(|error| error.to_string())?;
    }
    Ok(set.into())
}

/// True, or an error where the policy fails.
fn value_or_error(policy: &Policy) -> Expr {
    Expr::or(policy.condition(), Expr::val(true))
}

fn permit(named_as: &Policy, when: Expr) -> Policy {
    let effect = api::Effect::Permit;
    Policy::from_when_clause(effect, when, named_as.id().clone(), None)
}

/// One expression of many, no deeper than needed.
fn joined(parts: impl Iterator<Item = Expr>, join: fn(Expr, Expr) -> Expr) -> Option<Expr> {
    let mut parts: Vec<Expr> = parts.collect();
    while parts.len() > 1 {
        let mut fewer = Vec::with_capacity(parts.len().div_ceil(2));
        let mut each = parts.into_iter();
        while let Some(first) = each.next() {
            fewer.push(match each.next() {
                Some(second) => join(first, second),
                None => first,
            });
        }
        parts = fewer;
    }
    parts.pop()
}

//! Whether a changed policy means the same as the one it was made from, by proof.
//!
//! Cedar's symbolic compiler turns the question into formulas, and an external solver, `cvc5` of `$CVC5` or of the search
//! path, answers them. A policy is compared with its change first: do they match the same requests? If not, the sets with
//! and without the change are: do they decide the same? Both are asked for every kind of request that the schema allows,
//! over all entities that conform to it.
//!
//! Invariant: [`Equivalence::Equivalent`] is a proof. Without a solver, or if it gives up, nothing is equivalent.

use callgate_engine::cedar::PolicySet;

use crate::bundle::Bundle;

/// What is known of a changed policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Equivalence {
    /// It decides every request as before.
    Equivalent,
    /// Some request is decided otherwise.
    Different,
    /// Nothing is proven, for this reason.
    Unproven(String),
}

/// Compares each policy with its change. A pair holds the policy alone and what stands in its place, which may be nothing;
/// `whole` gives the whole set with the change of that pair, and `own` is the set without.
#[cfg(not(feature = "prove"))]
pub fn find_equivalent(
    _bundle: &Bundle,
    _own: &PolicySet,
    pairs: &[(PolicySet, PolicySet)],
    _whole: &dyn Fn(usize) -> PolicySet,
) -> Vec<Equivalence> {
    let said = "this program was built without the feature `prove`";
    pairs
        .iter()
        .map(|_| Equivalence::Unproven(said.to_owned()))
        .collect()
}

/// Compares each policy with its change. A pair holds the policy alone and what stands in its place, which may be nothing;
/// `whole` gives the whole set with the change of that pair, and `own` is the set without.
#[cfg(feature = "prove")]
pub fn find_equivalent(
    bundle: &Bundle,
    own: &PolicySet,
    pairs: &[(PolicySet, PolicySet)],
    whole: &dyn Fn(usize) -> PolicySet,
) -> Vec<Equivalence> {
    let all_unproven = |said: String| -> Vec<Equivalence> {
        pairs
            .iter()
            .map(|_| Equivalence::Unproven(said.clone()))
            .collect()
    };
    let Some(schema) = bundle.snapshot.schema() else {
        return all_unproven("the bundle has no schema".to_owned());
    };
    let schema = (**schema).clone().into();
    let mut prover = match solver::Prover::new(&schema, own) {
        Ok(prover) => prover,
        Err(said) => return all_unproven(said),
    };
    let each = pairs.iter().enumerate().map(|(index, (policy, changed))| {
        let answer = prover.compare(policy, changed, || whole(index));
        answer.unwrap_or_else(Equivalence::Unproven)
    });
    each.collect()
}

#[cfg(feature = "prove")]
mod solver {
    use callgate_engine::cedar::{PolicySet, api};
    use cedar_policy_symcc::{CompiledPolicy, CompiledPolicySet};

    use super::Equivalence;
    use crate::analysis::prove::QuestionKind;
    use crate::analysis::prove::process::Process;

    /// A solver with what all questions have in common.
    pub(super) struct Prover<'a> {
        process: Process,
        schema: &'a api::Schema,
        environments: Vec<api::RequestEnv>,
        own: api::PolicySet,
    }

    impl<'a> Prover<'a> {
        pub(super) fn new(schema: &'a api::Schema, own: &PolicySet) -> Result<Self, String> {
            Ok(Self {
                process: Process::start()?,
                schema,
                environments: schema.request_envs().collect(),
                own: api::PolicySet::from(own.clone()),
            })
        }

        /// Compares one policy with its change.
        pub(super) fn compare(
            &mut self,
            policy: &PolicySet,
            changed: &PolicySet,
            whole: impl FnOnce() -> PolicySet,
        ) -> Result<Equivalence, String> {
            let policy = api::PolicySet::from(policy.clone());
            let changed = api::PolicySet::from(changed.clone());
            let environments = self.environments.clone();
            let mut differing = Vec::new();
            for environment in environments {
                if !self.matches_the_same(&policy, &changed, &environment)? {
                    differing.push(environment);
                }
            }
            if differing.is_empty() {
                return Ok(Equivalence::Equivalent);
            }
            let whole = api::PolicySet::from(whole());
            for environment in &differing {
                let own = self.compile_set(&self.own, environment)?;
                let other = self.compile_set(&whole, environment)?;
                let same = self.process.ask(QuestionKind::Equivalence, async |it| {
                    it.check_equivalent_opt(&own, &other).await
                });
                if !same? {
                    return Ok(Equivalence::Different);
                }
            }
            Ok(Equivalence::Equivalent)
        }

        /// Whether policy and change match the same requests of one kind; without a change, or if the effect differs,
        /// whether neither matches any.
        fn matches_the_same(
            &mut self,
            policy: &api::PolicySet,
            changed: &api::PolicySet,
            environment: &api::RequestEnv,
        ) -> Result<bool, String> {
            let Some(policy) = policy.policies().next() else {
                return Err("templates are not compared by proof".to_owned());
            };
            let own = self.compile(policy, environment)?;
            match changed.policies().next() {
                Some(other) if other.effect() == policy.effect() => {
                    let other = self.compile(other, environment)?;
                    self.process.ask(QuestionKind::Equivalence, async |it| {
                        it.check_matches_equivalent_opt(&own, &other).await
                    })
                }
                _ => self.process.ask(QuestionKind::Equivalence, async |it| {
                    it.check_never_matches_opt(&own).await
                }),
            }
        }

        fn compile(
            &self,
            policy: &api::Policy,
            environment: &api::RequestEnv,
        ) -> Result<CompiledPolicy, String> {
            CompiledPolicy::compile(policy, environment, self.schema)
                .map_err(|error| error.to_string())
        }

        fn compile_set(
            &self,
            set: &api::PolicySet,
            environment: &api::RequestEnv,
        ) -> Result<CompiledPolicySet, String> {
            CompiledPolicySet::compile(set, environment, self.schema)
                .map_err(|error| error.to_string())
        }
    }
}

//! Whether a changed policy means the same as the one it was made from, by proof.
//!
//! Cedar's symbolic compiler turns the question into formulas, and an external solver, `cvc5` of `$CVC5` or of the search
//! path, answers them. A policy is compared with its change first: do they match the same requests, and fail for the same? If
//! not, the sets with and without the change are: does Callgate, which denies whatever fails, allow the same? Both are asked for
//! every kind of request that the schema allows, over all entities that conform to it.
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
    use cedar_policy_symcc::CompiledPolicy;

    use super::Equivalence;
    use crate::analysis::answer_marks::AnswerMarks;
    use crate::analysis::prove::QuestionKind;
    use crate::analysis::prove::allowed;
    use crate::analysis::prove::process::Process;
    use crate::analysis::prove::solver::enforced;

    /// A solver with what all questions have in common.
    pub(super) struct Prover<'a> {
        process: Process,
        schema: &'a api::Schema,
        environments: Vec<api::RequestEnv>,
        own: Vec<api::Policy>,
    }

    /// Whether it is a forbid that says more than no: of one that matches, the answer has the marks whatever else denies.
    fn marks_denies(policy: &api::Policy) -> bool {
        policy.effect() == api::Effect::Forbid
            && !AnswerMarks::new(true, |name| policy.annotation(name)).is_empty()
    }

    impl<'a> Prover<'a> {
        pub(super) fn new(schema: &'a api::Schema, own: &PolicySet) -> Result<Self, String> {
            Ok(Self {
                process: Process::start()?,
                schema,
                environments: schema.request_envs().collect(),
                own: enforced(own).map_err(|error| error.to_string())?,
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
            let Some(policy) = policy.policies().next() else {
                return Err("templates are not compared by proof".to_owned());
            };
            let environments = self.environments.clone();
            let mut differing = Vec::new();
            for environment in environments {
                if !self.does_the_same(policy, changed.policies().next(), &environment)? {
                    differing.push(environment);
                }
            }
            if differing.is_empty() {
                return Ok(Equivalence::Equivalent);
            }
            // A policy in shadow mode decides nothing, and what it would have done is told.
            if policy.annotation("mode") == Some("shadow")
                || marks_denies(policy)
                || changed.policies().next().is_some_and(marks_denies)
            {
                return Ok(Equivalence::Different);
            }
            let marks = AnswerMarks::new(false, |name| policy.annotation(name));
            let whole = enforced(&whole()).map_err(|error| error.to_string())?;
            for environment in &differing {
                let own = allowed::compile(&self.own, environment, self.schema)?;
                let other = allowed::compile(&whole, environment, self.schema)?;
                let same = self.process.ask(QuestionKind::Equivalence, async |it| {
                    it.check_equivalent_opt(&own, &other).await
                });
                if !same? {
                    return Ok(Equivalence::Different);
                }
                for obligation in &marks.obligations {
                    if !self.obliges_the_same(&whole, obligation, environment)? {
                        return Ok(Equivalence::Different);
                    }
                }
            }
            Ok(Equivalence::Equivalent)
        }

        /// Whether both sets allow the same requests of one kind with an obligation.
        fn obliges_the_same(
            &mut self,
            whole: &[api::Policy],
            obligation: &str,
            environment: &api::RequestEnv,
        ) -> Result<bool, String> {
            let obliges = |it: &api::Policy| {
                let marks = AnswerMarks::new(false, |name| it.annotation(name));
                marks.obligations.contains(obligation)
            };
            let own = allowed::compile_by(&self.own, &obliges, environment, self.schema)?;
            let other = allowed::compile_by(whole, &obliges, environment, self.schema)?;
            self.process.ask(QuestionKind::Equivalence, async |it| {
                it.check_equivalent_opt(&own, &other).await
            })
        }

        /// Whether policy and change match the same requests of one kind and fail for the same; without a change, or if the
        /// effect differs, whether neither matches any.
        fn does_the_same(
            &mut self,
            policy: &api::Policy,
            changed: Option<&api::Policy>,
            environment: &api::RequestEnv,
        ) -> Result<bool, String> {
            let own = self.compile(policy, environment)?;
            let other = changed.map(|it| self.compile(it, environment));
            let other = other.transpose()?;
            let matches = match &other {
                Some(other) if other.effect() == own.effect() => {
                    self.process.ask(QuestionKind::Equivalence, async |it| {
                        it.check_matches_equivalent_opt(&own, other).await
                    })
                }
                _ => self.process.ask(QuestionKind::Equivalence, async |it| {
                    it.check_never_matches_opt(&own).await
                }),
            };
            if !matches? {
                return Ok(false);
            }
            if !allowed::may_fail(&own) && !other.as_ref().is_some_and(allowed::may_fail) {
                return Ok(true);
            }
            let Some(changed) = changed else {
                return self.process.ask(QuestionKind::Equivalence, async |it| {
                    it.check_never_errors_opt(&own).await
                });
            };
            let own = self.compile(&allowed::has_value(policy), environment)?;
            let other = self.compile(&allowed::has_value(changed), environment)?;
            self.process.ask(QuestionKind::Equivalence, async |it| {
                it.check_matches_equivalent_opt(&own, &other).await
            })
        }

        fn compile(
            &self,
            policy: &api::Policy,
            environment: &api::RequestEnv,
        ) -> Result<CompiledPolicy, String> {
            CompiledPolicy::compile(policy, environment, self.schema)
                .map_err(|error| error.to_string())
        }
    }
}

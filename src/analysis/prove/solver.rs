//! Asks the solver, one kind of request after the other.

use callgate_engine::cedar::{PolicySet, api};
use cedar_policy_symcc::{CompiledPolicySet, Env};
use serde_json::{Value as Json, json};

use crate::analysis::prove::allowed::{self, type_name};
use crate::analysis::prove::process::{Compiler, Process};
use crate::analysis::prove::properties::{Properties, PropertyKind};
use crate::analysis::prove::question::{CedarQuestion, QuestionBundle};
use crate::analysis::prove::{
    Answer, Counterexample, ProofError, PropertyReport, QuestionKind, QuestionTime,
};
use crate::domain::decide::verdict::{Decision, Verdict};

/// A directory, prepared for proofs.
pub struct Subject<'a> {
    /// The directory.
    pub bundle: &'a QuestionBundle,
    /// Its schema.
    pub schema: api::Schema,
    /// Its kinds of requests.
    pub environments: Vec<api::RequestEnv>,
    /// Its enforced policies, with template links instantiated.
    pub policies: Vec<api::Policy>,
    /// The same as a set.
    pub set: api::PolicySet,
}

impl<'a> Subject<'a> {
    /// Prepares a directory: instantiates its links and leaves out policies in shadow mode.
    ///
    /// # Errors
    ///
    /// If Cedar cannot write a linked policy out.
    pub fn new(bundle: &'a QuestionBundle) -> Result<Self, ProofError> {
        let schema = bundle.schema().map_err(ProofError::Other)?;
        let schema = api::Schema::from((**schema).clone());
        let policies = enforced(&bundle.policies.set)?;
        let set = set_of(policies.iter().cloned())?;
        let mut environments: Vec<api::RequestEnv> = schema.request_envs().collect();
        environments.sort_by_key(type_name);
        Ok(Self {
            bundle,
            environments,
            schema,
            policies,
            set,
        })
    }

    /// The number of kinds of requests.
    pub fn request_types(&self) -> usize {
        self.environments.len()
    }

    /// A counterexample of the solver, and whether the engine agrees.
    pub fn counterexample(
        &self,
        env: &Env,
        agrees: impl FnOnce(&CedarQuestion, &Verdict) -> bool,
    ) -> Result<Counterexample, String> {
        let question = question_from(env)?;
        Ok(match self.bundle.answer(&question) {
            Ok(verdict) => Counterexample {
                confirmed: agrees(&question, &verdict),
                engine: worded(&verdict),
                question,
            },
            Err(said) => Counterexample {
                question,
                confirmed: false,
                engine: said,
            },
        })
    }

    /// Whether the engine allows a question by other policies than those of the directory.
    pub fn allows_by(&self, set: &api::PolicySet, question: &CedarQuestion) -> bool {
        let verdict = self.bundle.schema().and_then(|schema| {
            let policies: &PolicySet = set.as_ref();
            question.decide(schema, policies)
        });
        verdict.is_ok_and(|verdict| verdict.outcome == Decision::Allow)
    }
}

/// What the engine said, in a line.
fn worded(verdict: &Verdict) -> String {
    match verdict.outcome {
        Decision::Allow => {
            let by = verdict.determining_policies.iter().map(|it| it.id.as_str());
            format!("ALLOW by {}", by.collect::<Vec<_>>().join(", "))
        }
        Decision::Deny => {
            let reasons = verdict.reasons.iter().map(|it| it.message.as_str());
            format!("DENY: {}", reasons.collect::<Vec<_>>().join("; "))
        }
    }
}

fn question_from(env: &Env) -> Result<CedarQuestion, String> {
    let lacking = || "the solver's request lacks a part".to_owned();
    let part = |uid: Option<&api::EntityUid>| uid.map(ToString::to_string).ok_or_else(lacking);
    let context: Json = match env.request.context() {
        Some(context) => context.to_json_value().map_err(|error| error.to_string())?,
        None => json!({}),
    };
    let entities = env
        .entities
        .to_json_value()
        .map_err(|error| error.to_string())?;
    let Json::Array(mut entities) = entities else {
        return Err(lacking());
    };
    // The schema brings its actions along.
    entities.retain(|entity| {
        let ty = entity.pointer("/uid/type").and_then(Json::as_str);
        !ty.is_some_and(|ty| ty == "Action" || ty.ends_with("::Action"))
    });
    entities.sort_by_key(|entity| entity.get("uid").map(ToString::to_string));
    Ok(CedarQuestion {
        principal: part(env.request.principal())?,
        action: part(env.request.action())?,
        resource: part(env.request.resource())?,
        context,
        entities,
    })
}

/// The enforced policies, links written out.
///
/// # Errors
///
/// If Cedar cannot write a link out.
pub fn enforced(set: &PolicySet) -> Result<Vec<api::Policy>, ProofError> {
    let mut found = Vec::new();
    for policy in api::PolicySet::from(set.clone()).policies() {
        if policy.annotation("mode") == Some("shadow") {
            continue;
        }
        found.push(match policy.is_static() {
            true => policy.clone(),
            false => changed(policy, |_| {})?,
        });
    }
    found.sort_by(|a, b| a.id().cmp(b.id()));
    Ok(found)
}

/// A policy written out as JSON, changed, and read again.
fn changed(
    policy: &api::Policy,
    change: impl FnOnce(&mut Json),
) -> Result<api::Policy, ProofError> {
    let wrong = |error: String| ProofError::Other(format!("`{}`: {error}", policy.id()));
    let mut json = policy.to_json().map_err(|error| wrong(error.to_string()))?;
    change(&mut json);
    let read = api::Policy::from_json(Some(policy.id().clone()), json);
    read.map_err(|error| wrong(error.to_string()))
}

/// The policy as a permit.
///
/// # Errors
///
/// If Cedar cannot write it out.
pub fn as_permit(policy: &api::Policy) -> Result<api::Policy, ProofError> {
    changed(policy, |json| {
        if let Some(effect) = json.get_mut("effect") {
            *effect = json!("permit");
        }
    })
}

/// A set of policies with different ids.
pub fn set_of(
    policies: impl IntoIterator<Item = api::Policy>,
) -> Result<api::PolicySet, ProofError> {
    let set = api::PolicySet::from_policies(policies);
    set.map_err(|error| ProofError::Other(error.to_string()))
}

/// Asks a solver about a directory.
pub struct Prover {
    process: Process,
}

impl Prover {
    /// Starts the solver.
    ///
    /// # Errors
    ///
    /// [`ProofError::Solver`] if there is none.
    pub fn new() -> Result<Self, ProofError> {
        let process = Process::start().map_err(ProofError::Solver)?;
        Ok(Self::with(process))
    }

    /// Asks this solver.
    pub fn with(process: Process) -> Self {
        Self { process }
    }

    /// Asks one question.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub fn ask<T>(
        &mut self,
        kind: QuestionKind,
        question: impl AsyncFnOnce(&mut Compiler) -> Result<T, cedar_policy_symcc::err::Error>,
    ) -> Result<T, String> {
        self.process.ask(kind, question)
    }

    /// How many questions of each kind were asked, and how long they took.
    pub fn asked(&self) -> Vec<QuestionTime> {
        self.process.asked()
    }

    /// Proves each property.
    ///
    /// # Errors
    ///
    /// If a property cannot be written out.
    pub fn properties(
        &mut self,
        subject: &Subject<'_>,
        properties: &Properties,
        is_chosen: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<PropertyReport>, ProofError> {
        let mut open = Vec::new();
        let set = api::PolicySet::from(properties.set().clone());
        for entry in properties.entries().iter().filter(|it| is_chosen(&it.id)) {
            let Some(policy) = set.policy(&api::PolicyId::new(&entry.id)) else {
                continue;
            };
            let kind = match entry.is_forbid {
                true => PropertyKind::NeverAllowed,
                false => PropertyKind::AlwaysAllowed,
            };
            let alone = allowed::possible([as_permit(policy)?]).map_err(ProofError::Other)?;
            let report = PropertyReport {
                id: entry.id.clone(),
                file: entry.file.to_string(),
                line: entry.line,
                kind,
                answer: Answer::Holds { vacuous: true },
            };
            open.push((alone, report));
        }
        for environment in &subject.environments {
            if !open.iter().any(|(_, it)| is_open(&it.answer)) {
                break;
            }
            let whole = allowed::possible(subject.policies.iter().cloned())
                .and_then(|whole| compile(&whole, environment, &subject.schema));
            for (alone, report) in open.iter_mut().filter(|(_, it)| is_open(&it.answer)) {
                let answer = whole
                    .as_ref()
                    .map_err(Clone::clone)
                    .and_then(|whole| self.property(subject, environment, whole, alone, report));
                report.answer = answer.unwrap_or_else(|why| Answer::Unproven { why });
            }
        }
        Ok(open.into_iter().map(|(_, report)| report).collect())
    }

    /// What is known of a property after one more kind of request.
    fn property(
        &mut self,
        subject: &Subject<'_>,
        environment: &api::RequestEnv,
        whole: &CompiledPolicySet,
        alone: &api::PolicySet,
        report: &PropertyReport,
    ) -> Result<Answer, String> {
        let matched = compile(alone, environment, &subject.schema)?;
        if self.ask(QuestionKind::Properties, async |it| {
            it.check_always_denies_opt(&matched).await
        })? {
            return Ok(report.answer.clone());
        }
        let found = match report.kind {
            PropertyKind::NeverAllowed => self.ask(QuestionKind::Properties, async |it| {
                it.check_disjoint_with_counterexample_opt(whole, &matched)
                    .await
            }),
            PropertyKind::AlwaysAllowed => self.ask(QuestionKind::Properties, async |it| {
                it.check_implies_with_counterexample_opt(&matched, whole)
                    .await
            }),
        };
        let Some(env) = found? else {
            return Ok(Answer::Holds { vacuous: false });
        };
        let wanted = match report.kind {
            PropertyKind::NeverAllowed => Decision::Allow,
            PropertyKind::AlwaysAllowed => Decision::Deny,
        };
        let counterexample = subject.counterexample(&env, |question, verdict| {
            verdict.outcome == wanted && subject.allows_by(alone, question)
        })?;
        Ok(Answer::Broken {
            counterexample: Box::new(counterexample),
        })
    }

    /// Proves that the directory allows nothing that the ceiling does not allow. In both, what fails denies.
    ///
    /// # Errors
    ///
    /// If a policy of the ceiling cannot be used.
    pub fn ceiling(
        &mut self,
        subject: &Subject<'_>,
        ceiling: &Properties,
    ) -> Result<Answer, ProofError> {
        let ceiling = enforced(ceiling.set())?;
        let mut answer = Answer::Holds { vacuous: true };
        for environment in &subject.environments {
            match self.within(subject, environment, &ceiling) {
                Ok(Some(found)) => answer = found,
                Ok(None) => {}
                Err(why) => answer = Answer::Unproven { why },
            }
            if !is_open(&answer) {
                break;
            }
        }
        Ok(answer)
    }

    /// `None` if nothing is allowed anyway.
    fn within(
        &mut self,
        subject: &Subject<'_>,
        environment: &api::RequestEnv,
        ceiling: &[api::Policy],
    ) -> Result<Option<Answer>, String> {
        let own = allowed::compile(&subject.policies, environment, &subject.schema)?;
        if self.ask(QuestionKind::Ceiling, async |it| {
            it.check_always_denies_opt(&own).await
        })? {
            return Ok(None);
        }
        let most = allowed::compile(ceiling, environment, &subject.schema)?;
        let found = self.ask(QuestionKind::Ceiling, async |it| {
            it.check_implies_with_counterexample_opt(&own, &most).await
        })?;
        let Some(env) = found else {
            return Ok(Some(Answer::Holds { vacuous: false }));
        };
        let ceiling = set_of(ceiling.iter().cloned()).map_err(|error| error.to_string())?;
        let counterexample = subject.counterexample(&env, |question, verdict| {
            verdict.outcome == Decision::Allow && !subject.allows_by(&ceiling, question)
        })?;
        Ok(Some(Answer::Broken {
            counterexample: Box::new(counterexample),
        }))
    }
}

fn is_open(answer: &Answer) -> bool {
    matches!(answer, Answer::Holds { .. })
}

/// Compiles a set for one kind of request.
///
/// # Errors
///
/// If a policy is not well typed for it.
pub fn compile(
    set: &api::PolicySet,
    environment: &api::RequestEnv,
    schema: &api::Schema,
) -> Result<CompiledPolicySet, String> {
    CompiledPolicySet::compile(set, environment, schema)
        .map_err(|error| format!("{}: {error}", type_name(environment)))
}

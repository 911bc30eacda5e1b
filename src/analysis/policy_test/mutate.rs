//! Mutation testing of policies: small changes of one policy at a time, of which some test should fail.
//!
//! A change that no longer validates against the schema cannot be loaded, so it needs no test. A change that means the
//! same as the policy cannot be noticed: with a solver, such changes are found by proof and left out
//! ([`crate::analysis::equivalence`]).

use std::collections::BTreeSet;
use std::sync::Arc;

use callgate_engine::cedar::{PolicyID, PolicySet, StaticPolicy, Template, ValidatorSchema};
use callgate_engine::{Reach, Snapshot};
use serde::Serialize;

use crate::analysis::equivalence::{self, Equivalence};
use crate::analysis::policy_test::mutants::{Mutant, mutants_of};
use crate::analysis::policy_test::prepare::{PreparedCase, PreparedFile};
use crate::analysis::policy_test::run;
use crate::analysis::policy_test::{TestedBundle, World};
use crate::bundle::Bundle;
use crate::bundle::diagnostic::BundleError;
use crate::bundle::parallel::map_parallel;
use crate::bundle::validate::policy_validator::PolicyValidator;
use crate::domain::decide::observer::{EvaluationObserver, ObservedEvaluation};

pub use crate::analysis::policy_test::mutants::MutationKind;

/// What became of a mutant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "fate")]
pub enum Fate {
    /// A test fails with it.
    Killed {
        /// The test.
        by: String,
    },
    /// It does not validate, so it cannot be loaded.
    Invalid,
    /// It is proven to mean the same as the policy.
    Equivalent,
    /// No test fails with it, and it is proven to mean something else, or nothing is proven.
    Survived {
        /// What the solver said; `None` if it was not asked.
        unproven: Option<String>,
    },
}

/// One changed policy.
#[derive(Debug, Clone, Serialize)]
pub struct MutantReport {
    /// The policy.
    pub policy: String,
    /// The file.
    pub file: String,
    /// The line of the change, from 1.
    pub line: u32,
    /// What was changed.
    pub kind: MutationKind,
    /// The part that was changed, as written.
    pub part: String,
    /// What became of it.
    #[serde(flatten)]
    pub fate: Fate,
}

/// All mutants.
#[derive(Debug, Serialize)]
pub struct MutationReport {
    /// In the order of files and lines.
    pub mutants: Vec<MutantReport>,
}

impl MutationReport {
    /// The mutants that no test noticed and that are not proven equivalent.
    pub fn survivors(&self) -> impl Iterator<Item = &MutantReport> {
        let survived = |it: &&MutantReport| matches!(it.fate, Fate::Survived { .. });
        self.mutants.iter().filter(survived)
    }

    /// How many mutants met this fate.
    pub fn count(&self, is_meant: impl Fn(&Fate) -> bool) -> usize {
        self.mutants.iter().filter(|it| is_meant(&it.fate)).count()
    }
}

/// Mutates every policy whose id contains `only`, and runs the tests with each mutant. All tests have to pass without.
///
/// # Errors
///
/// If the entities of a test file cannot be added to the bundle's.
pub fn mutate(
    tested: &TestedBundle,
    only: Option<&str>,
    is_proven: bool,
) -> Result<MutationReport, BundleError> {
    let bundle = &tested.bundle;
    let policies = BundlePolicies::new(bundle);
    let mut mutants = Vec::new();
    for entry in &bundle.policies {
        let is_chosen = only.is_none_or(|text| entry.id.contains(text));
        let id = PolicyID::from_string(&entry.id);
        if let Some(template) = policies.set.get_template(&id).filter(|_| is_chosen) {
            mutants.extend(mutants_of(template, entry.line));
        }
    }
    let worlds = tested
        .files
        .iter()
        .map(|file| World::new(&bundle.snapshot, &file.file, &file.entities))
        .collect::<Result<Vec<_>, _>>()?;
    let tests = Tests {
        tested,
        policies: &policies,
        relevant: relevant(tested, &worlds),
    };
    let fates = map_parallel(mutants.iter().collect(), true, |mutant| tests.fate(mutant));
    let fates: Vec<Fate> = fates.into_iter().collect::<Result<_, _>>()?;
    let fates = match is_proven {
        true => prove(bundle, &policies, &mutants, fates),
        false => fates,
    };
    let reports = mutants.iter().zip(fates).map(|(mutant, fate)| {
        let id: &str = mutant.template.id().as_ref();
        let entry = bundle.policies.iter().find(|policy| policy.id == id);
        MutantReport {
            policy: id.to_owned(),
            file: entry.map_or_else(String::new, |entry| entry.file.to_string()),
            line: mutant.line,
            kind: mutant.kind,
            part: mutant.part.clone(),
            fate,
        }
    });
    Ok(MutationReport {
        mutants: reports.collect(),
    })
}

/// The policies of a bundle.
struct BundlePolicies {
    set: PolicySet,
    schema: Option<Arc<ValidatorSchema>>,
    level: u32,
}

impl BundlePolicies {
    fn new(bundle: &Bundle) -> Self {
        let mut set = PolicySet::new();
        for candidate in bundle.snapshot.policies() {
            // Ids are unique in the bundle; a template is added with its first link.
            let _ = set.add((*candidate.policy).clone());
        }
        Self {
            set,
            schema: bundle.snapshot.schema().cloned(),
            level: bundle.config.schema.max_dereference_level,
        }
    }

    /// The set with one policy or template changed, or without it.
    fn with(&self, id: &PolicyID, changed: Option<&Template>) -> PolicySet {
        let mut set = PolicySet::new();
        for template in self.set.all_templates() {
            let template = match template.id() == id {
                true => match changed {
                    Some(changed) => changed,
                    None => continue,
                },
                false => template,
            };
            add(&mut set, template);
        }
        for link in self.set.policies().filter(|policy| !policy.is_static()) {
            let values = link.env().clone();
            let _ = set.link(link.template().id().clone(), link.id().clone(), values);
        }
        set
    }

    /// Whether a changed policy still validates as the bundle's have to.
    fn is_valid(&self, changed: &Template) -> bool {
        let Some(schema) = &self.schema else {
            return true;
        };
        let mut one = PolicySet::new();
        add(&mut one, changed);
        let found = PolicyValidator::new(schema, &one).all(self.level);
        // A warning is a fault as well: the policy is found to be impossible.
        found.errors.is_empty() && found.warnings.is_empty()
    }
}

fn add(set: &mut PolicySet, template: &Template) {
    // Ids are unique in the set that the template comes from.
    let _ = match StaticPolicy::try_from(template.clone()) {
        Ok(policy) => set.add_static(policy),
        Err(_) => set.add_template(template.clone()),
    };
}

/// The tests, and which of them evaluate which policy.
struct Tests<'a> {
    tested: &'a TestedBundle,
    policies: &'a BundlePolicies,
    /// For each file the indexes of its cases, with the templates that are candidates in them.
    relevant: Vec<Vec<(usize, BTreeSet<PolicyID>)>>,
}

/// Runs every case once to see which policies it evaluates.
fn relevant(tested: &TestedBundle, worlds: &[World]) -> Vec<Vec<(usize, BTreeSet<PolicyID>)>> {
    let files = tested.files.iter().zip(worlds);
    files
        .map(|(file, world)| {
            let cases = file.cases.iter().enumerate();
            cases
                .map(|(index, case)| {
                    let seen = CandidateObserver::default();
                    run::run(case, world, &tested.bundle.config, Some(&seen));
                    (index, seen.0.into_inner())
                })
                .collect()
        })
        .collect()
}

/// Collects the templates whose scope matches some request.
#[derive(Debug, Default)]
struct CandidateObserver(std::cell::RefCell<BTreeSet<PolicyID>>);

impl EvaluationObserver for CandidateObserver {
    fn evaluated(&self, seen: ObservedEvaluation<'_>) {
        if let Some(request) = seen.snapshot.materialize(seen.query, seen.principal) {
            let ids = request.candidates.iter();
            let ids = ids.map(|it| it.policy.template().id().clone());
            self.0.borrow_mut().extend(ids);
        }
    }
}

impl Tests<'_> {
    fn fate(&self, mutant: &Mutant<'_>) -> Result<Fate, BundleError> {
        if let Some(changed) = &mutant.changed
            && !self.policies.is_valid(changed)
        {
            return Ok(Fate::Invalid);
        }
        let id = mutant.template.id();
        let set = self.policies.with(id, mutant.changed.as_ref());
        let reach = Reach::Level(self.policies.level);
        let snapshot = self.tested.bundle.snapshot.with_policies(&set, reach);
        let is_wider = mutant.kind == MutationKind::ScopeWidened;
        // The cases that evaluate the policy come first; only a wider scope can be noticed by another.
        for is_first in [true, false] {
            if !is_first && !is_wider {
                break;
            }
            for (file, relevant) in self.tested.files.iter().zip(&self.relevant) {
                let mut chosen = relevant
                    .iter()
                    .filter(|(_, seen)| seen.contains(id) == is_first)
                    .filter_map(|(index, _)| file.cases.get(*index))
                    .peekable();
                if chosen.peek().is_none() {
                    continue;
                }
                if let Some(case) = self.killer(&snapshot, file, chosen)? {
                    let by = format!("{}:{} {}", case.file, case.line, case.name);
                    return Ok(Fate::Killed { by });
                }
            }
        }
        Ok(Fate::Survived { unproven: None })
    }

    /// The first case that fails.
    fn killer<'c>(
        &self,
        snapshot: &Snapshot,
        file: &PreparedFile,
        mut cases: impl Iterator<Item = &'c PreparedCase>,
    ) -> Result<Option<&'c PreparedCase>, BundleError> {
        let world = World::new(snapshot, &file.file, &file.entities)?;
        let config = &self.tested.bundle.config;
        Ok(cases.find(|case| !run::run(case, &world, config, None).is_passed(case)))
    }
}

/// Asks the solver about the survivors.
fn prove(
    bundle: &Bundle,
    policies: &BundlePolicies,
    mutants: &[Mutant<'_>],
    fates: Vec<Fate>,
) -> Vec<Fate> {
    let survivors: Vec<usize> = (0..fates.len())
        .filter(|index| matches!(fates[*index], Fate::Survived { .. }))
        .collect();
    if survivors.is_empty() {
        return fates;
    }
    let pairs: Vec<(PolicySet, PolicySet)> = survivors
        .iter()
        .map(|index| {
            let mutant = &mutants[*index];
            let mut own = PolicySet::new();
            add(&mut own, mutant.template);
            let mut changed = PolicySet::new();
            if let Some(template) = &mutant.changed {
                add(&mut changed, template);
            }
            (own, changed)
        })
        .collect();
    let whole = |index: usize| {
        let mutant = &mutants[survivors[index]];
        policies.with(mutant.template.id(), mutant.changed.as_ref())
    };
    let found = equivalence::find_equivalent(bundle, &policies.set, &pairs, &whole);
    let mut fates = fates;
    for (index, found) in survivors.iter().zip(found) {
        fates[*index] = match found {
            Equivalence::Equivalent => Fate::Equivalent,
            Equivalence::Different => Fate::Survived { unproven: None },
            Equivalence::Unproven(said) => Fate::Survived {
                unproven: Some(said),
            },
        };
    }
    fates
}

//! Tests of policies, written as YAML beside them: calls under stated circumstances, and the decisions they must get.
//!
//! Start at [`TestedBundle::load`], then [`TestedBundle::run`]. [`form`] is the language of the files, [`prepare`]
//! resolves names and builds the inputs of decisions, [`run`] decides and compares, [`coverage`] says which conditions
//! were exercised, [`mutate`] which changes of the policies no test would notice, [`report`] writes JUnit and TAP.
//!
//! Invariant: a case is decided by the same function as a call in service ([`crate::domain::decide`]), with nothing but
//! what its file states: no server, no store, no clock.

pub mod coverage;
pub mod files;
pub mod form;
mod given;
mod json;
mod mutants;
pub mod mutate;
mod places;
pub mod prepare;
pub mod report;
pub mod run;
mod why;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use callgate_engine::Snapshot;
use callgate_engine::cedar::{Entity, EntityUID};

use crate::analysis::policy_test::coverage::{Coverage, CoverageObserver};
use crate::analysis::policy_test::prepare::PreparedFile;
use crate::analysis::policy_test::run::{CaseReport, RunReport};
use crate::bundle::diagnostic::{BundleDiagnostic, BundleError};
use crate::bundle::{self, Bundle, files as bundle_files};
use crate::domain::decide::verdict::Verdict;
use crate::domain::schema;

/// The name of the directory with the tests, in the directory of the policies.
pub const TESTS_DIR: &str = "tests";

/// A bundle with its tests, ready to run.
#[derive(Debug)]
pub struct TestedBundle {
    /// The bundle.
    pub bundle: Bundle,
    /// Its test files.
    pub files: Vec<PreparedFile>,
    /// Files beside the policies and the tests that are not read but look as if they should be.
    pub warnings: Vec<BundleDiagnostic>,
}

impl TestedBundle {
    /// Compiles a directory and reads its tests from `tests`, a directory or one file; by default from `tests/` in
    /// the directory.
    ///
    /// # Errors
    ///
    /// All faults of the bundle, or all faults of the test files.
    pub fn load(dir: &Path, tests: Option<&Path>) -> Result<Self, BundleError> {
        Self::load_with(dir, None, tests)
    }

    /// The same, with this configuration in the place of that of the directory if there is one.
    ///
    /// # Errors
    ///
    /// As of [`Self::load`].
    pub fn load_with(
        dir: &Path,
        config: Option<&Path>,
        tests: Option<&Path>,
    ) -> Result<Self, BundleError> {
        let sources = bundle_files::read_with(dir, config)?;
        let bundle = bundle::compile(&sources)?;
        let default = dir.join(TESTS_DIR);
        let read = files::read(tests.unwrap_or(&default))?;
        let files = prepare::prepare(&bundle, read.files)?;
        let mut warnings = sources.warnings;
        let is_new = |it: &BundleDiagnostic| !warnings.iter().any(|own| own.file == it.file);
        let of_tests: Vec<_> = read.warnings.into_iter().filter(is_new).collect();
        warnings.extend(of_tests);
        Ok(Self {
            bundle,
            files,
            warnings,
        })
    }

    /// The verdicts on the cases of one file's text, in their order, whatever they want.
    ///
    /// # Errors
    ///
    /// All faults of the text.
    pub fn verdicts(bundle: &Bundle, text: &str) -> Result<Vec<Verdict>, BundleError> {
        let name: Arc<str> = Arc::from("<text>");
        let form = files::parse_text(&name, text).map_err(BundleError::single)?;
        let parsed = files::ParsedFile {
            file: name,
            text: text.to_owned(),
            form,
        };
        let mut verdicts = Vec::new();
        for file in prepare::prepare_questions(bundle, vec![parsed])? {
            let world = World::new(&bundle.snapshot, &file.file, &file.entities)?;
            let cases = file.cases.iter();
            verdicts.extend(cases.map(|case| run::run(case, &world, &bundle.config, None).verdict));
        }
        Ok(verdicts)
    }

    /// The number of cases.
    pub fn len(&self) -> usize {
        self.files.iter().map(|file| file.cases.len()).sum()
    }

    /// Whether there is no case.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs every case whose name or file contains `only`. With `with_coverage` also says which conditions of the
    /// policies were exercised; that takes about three times as long.
    ///
    /// # Errors
    ///
    /// If the entities of a test file cannot be added to the bundle's.
    pub fn run(&self, only: Option<&str>, with_coverage: bool) -> Result<RunReport, BundleError> {
        let started = std::time::Instant::now();
        let observer = CoverageObserver::new(&self.bundle);
        let mut cases = Vec::with_capacity(self.len());
        for file in &self.files {
            let world = World::new(&self.bundle.snapshot, &file.file, &file.entities)?;
            for case in file.cases.iter().filter(|case| case.is_chosen(only)) {
                let seen = with_coverage.then_some(&observer as _);
                let began = std::time::Instant::now();
                let outcome = run::run(case, &world, &self.bundle.config, seen);
                let took = began.elapsed();
                cases.push(self.report(case, &world, outcome, took));
            }
        }
        let took = started.elapsed();
        let coverage = with_coverage.then(|| Coverage::new(&self.bundle, observer));
        Ok(RunReport {
            cases,
            took,
            coverage,
        })
    }

    fn report(
        &self,
        case: &prepare::PreparedCase,
        world: &World,
        outcome: run::CaseOutcome,
        took: Duration,
    ) -> CaseReport {
        let differences = outcome.differences(case);
        let why = match differences.is_empty() {
            true => Vec::new(),
            false => why::explain(case, world, &self.bundle, &outcome),
        };
        CaseReport {
            file: case.file.to_string(),
            line: case.line,
            name: case.name.clone(),
            micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            differences,
            why,
        }
    }
}

/// The policies and entities that the cases of one file are decided with.
#[derive(Debug)]
pub struct World {
    /// The bundle's, with the entities of the file's fixtures.
    pub snapshot: Snapshot,
    /// The users and groups that approval policies name.
    pub named_approvers: Vec<EntityUID>,
}

impl World {
    /// Adds the entities of a file to a snapshot.
    ///
    /// # Errors
    ///
    /// If they cannot be added: their groups form a circle, for example.
    pub fn new(
        snapshot: &Snapshot,
        file: &Arc<str>,
        entities: &[Entity],
    ) -> Result<Self, BundleError> {
        let snapshot = match entities.is_empty() {
            true => snapshot.clone(),
            false => snapshot
                .upsert(entities.iter().cloned())
                .map_err(|error| files::whole(file, error.to_string()))?,
        };
        let approving = schema::action_uid("approve_call");
        let named_approvers = snapshot.entities_named_where("approval", &approving);
        Ok(Self {
            snapshot,
            named_approvers,
        })
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

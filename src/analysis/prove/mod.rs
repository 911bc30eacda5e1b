//! Proofs about a directory: for every request that its schema allows, over every store of entities that conforms to it.
//!
//! Start at [`prove`]. [`properties`] reads what is to be proved, [`solver`] asks the [`process`], [`allowed`] tells it what Callgate allows,
//! [`compare`] compares two sets of policies, [`findings`] looks at each policy, [`revision`] gets the directory of a git revision, [`question`] answers a
//! counterexample with the engine that serves.
//!
//! Cedar's symbolic compiler turns a question into formulas, and an external solver answers them: `cvc5` of `$CVC5` or of
//! the search path. Template links are instantiated first, and policies in shadow mode take no part.
//!
//! Invariant: [`Answer::Holds`] is a proof. Without a solver, or if it gives up, nothing holds.
//!
//! A proof is about the answer for one principal. Callgate allows a call only if Cedar allows it for every principal
//! and no policy errs. Properties are about Cedar's answer: "never allowed" carries over to Callgate, and "always allowed" does
//! not. Comparisons and ceilings are about what Callgate allows ([`allowed`]).

#[cfg(feature = "prove")]
pub mod allowed;
#[cfg(feature = "prove")]
pub mod compare;
#[cfg(feature = "prove")]
pub mod findings;
#[cfg(feature = "prove")]
pub mod process;
pub mod properties;
pub mod question;
pub mod revision;
#[cfg(feature = "prove")]
pub mod solver;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::analysis::answer_changes::AnswerChange;
use crate::analysis::prove::properties::PropertyKind;
use crate::analysis::prove::question::CedarQuestion;
use crate::bundle::diagnostic::{BundleDiagnostic, BundleError};

/// What to prove.
#[derive(Debug, Clone, Default)]
pub struct ProofRequest {
    /// The directory.
    pub dir: PathBuf,
    /// The configuration in the place of that of the directory, also of the older one.
    pub config: Option<PathBuf>,
    /// The properties, a directory or one file; by default `proofs/` in the directory.
    pub proofs: Option<PathBuf>,
    /// Policies that allow at least what the directory may allow: a directory or one file.
    pub ceiling: Option<PathBuf>,
    /// The directory to compare with, the older one.
    pub against: Option<PathBuf>,
    /// Prove only properties, and look only at policies, whose id contains this.
    pub only: Option<String>,
    /// Whether to look at each policy by itself.
    pub with_policies: bool,
    /// How long that may take; `None`: as long as it takes.
    pub limit: Option<Duration>,
}

/// Why nothing was proved.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// A directory or a property has faults.
    #[error("{0}")]
    Faults(BundleError),
    /// There is no solver, or it cannot be used; the message says how to get one.
    #[error("{0}")]
    Solver(String),
    /// Something else, in words.
    #[error("{0}")]
    Other(String),
}

impl From<BundleError> for ProofError {
    fn from(faults: BundleError) -> Self {
        Self::Faults(faults)
    }
}

/// What was proved.
#[derive(Debug, Clone, Serialize)]
pub struct ProofReport {
    /// Kinds of requests: principal type, action, resource type.
    pub request_types: usize,
    /// Policies that are enforced, links included.
    pub policies: usize,
    /// Each property, in the order of its file.
    pub properties: Vec<PropertyReport>,
    /// Whether the directory allows nothing that the ceiling does not allow.
    pub ceiling: Option<Answer>,
    /// What was found of single policies.
    pub findings: Vec<PolicyFinding>,
    /// Whether single policies were looked at.
    pub looked_at_policies: bool,
    /// How many were not, because the time was up.
    pub policies_left_out: usize,
    /// Each kind of request with how the directory differs from the older one.
    pub comparison: Option<Vec<TypeComparison>>,
    /// What differs from the answers of the older directory besides allow or deny, by what policies and configuration say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<AnswerChange>,
    /// Files of the properties and of the ceiling that are not read but look as if they should be.
    pub warnings: Vec<BundleDiagnostic>,
    /// How many questions of each kind the solver was asked.
    pub questions: Vec<QuestionTime>,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// What a question to the solver is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QuestionKind {
    /// A property.
    Properties,
    /// The ceiling.
    Ceiling,
    /// Whether a policy can fail.
    CanErr,
    /// Whether a policy ever applies.
    NeverApplies,
    /// Whether a policy always applies.
    AlwaysApplies,
    /// Whether other policies match or forbid whatever a policy matches.
    Others,
    /// What is allowed beside what an older directory allowed.
    Comparison,
    /// Whether a changed policy means the same.
    Equivalence,
}

impl QuestionKind {
    /// Its name, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Properties => "properties",
            Self::Ceiling => "ceiling",
            Self::CanErr => "can_err",
            Self::NeverApplies => "never_applies",
            Self::AlwaysApplies => "always_applies",
            Self::Others => "others",
            Self::Comparison => "comparison",
            Self::Equivalence => "equivalence",
        }
    }
}

/// How many questions of a kind the solver was asked, and how long they took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct QuestionTime {
    /// What they are about.
    pub kind: QuestionKind,
    /// How many there were.
    pub asked: usize,
    /// How long they took together, in milliseconds.
    pub millis: u64,
}

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// It holds for every request.
    Holds {
        /// It holds of no request, because none matches: most likely a mistake.
        vacuous: bool,
    },
    /// It does not, and this shows it.
    Broken {
        /// A request that shows it.
        counterexample: Box<Counterexample>,
    },
    /// Nothing is proven.
    Unproven {
        /// Why.
        why: String,
    },
}

/// A request with all entities, for which something does not hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Counterexample {
    /// The request and its entities.
    pub question: CedarQuestion,
    /// Whether the engine that serves answers as the solver says.
    pub confirmed: bool,
    /// What the engine answers, in words.
    pub engine: String,
}

/// A property with its answer.
#[derive(Debug, Clone, Serialize)]
pub struct PropertyReport {
    /// Its id.
    pub id: String,
    /// Its file.
    pub file: String,
    /// Its line, from 1.
    pub line: u32,
    /// What it says.
    pub kind: PropertyKind,
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer,
}

/// What can be found of one policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// No request matches it.
    NeverApplies,
    /// Every request within its scope matches it, so its conditions say nothing.
    AlwaysApplies,
    /// Some request makes it fail, and Callgate denies whatever fails.
    CanErr,
    /// Another policy of the same effect, or several together, match whatever it matches, and each gives what it adds to an answer.
    Shadowed,
    /// A forbid, or several together, match whatever this permit matches.
    Overridden,
    /// Nothing is known.
    Unproven,
}

/// Something found of one policy.
#[derive(Debug, Clone, Serialize)]
pub struct PolicyFinding {
    /// The policy.
    pub policy: String,
    /// Its file; empty for a template link.
    pub file: String,
    /// Its line, from 1; 0 for a template link.
    pub line: u32,
    /// What was found.
    pub kind: FindingKind,
    /// The other policies, separated by `, `, or why nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// A request that makes it fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counterexample: Option<Counterexample>,
}

/// How what is allowed differs from before, for one kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The same is allowed.
    Equal,
    /// More is allowed.
    Wider,
    /// Less is allowed.
    Narrower,
    /// Something is allowed that was not, and something is not that was.
    Incomparable,
    /// There was no such kind of request.
    Added,
    /// There is no such kind of request any more.
    Removed,
    /// Nothing is proven.
    Unproven,
}

/// One kind of request, compared.
#[derive(Debug, Clone, Serialize)]
pub struct TypeComparison {
    /// The kind of request: principal type, action, resource type.
    pub request_type: String,
    /// How it differs.
    pub relation: Relation,
    /// A request that is allowed now and was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_now: Option<Counterexample>,
    /// A request that was allowed and is not now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_before: Option<Counterexample>,
    /// Why nothing is proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl ProofReport {
    /// Whether everything asked for is proven, and every policy was looked at and none is found to be without effect or able to
    /// fail.
    pub fn is_proven(&self) -> bool {
        let holds = |answer: &Answer| matches!(answer, Answer::Holds { vacuous: false });
        self.properties.iter().all(|it| holds(&it.answer))
            && self.ceiling.iter().all(holds)
            && self.findings.is_empty()
            && self.policies_left_out == 0
    }

    /// Whether a comparison found a difference.
    pub fn is_different(&self) -> bool {
        let types = self.comparison.iter().flatten();
        types.clone().any(|it| it.relation != Relation::Equal) || !self.answers.is_empty()
    }
}

/// Proves what is asked for.
///
/// # Errors
///
/// [`ProofError`] if a directory or property has faults or there is no solver.
#[cfg(not(feature = "prove"))]
pub fn prove(_request: &ProofRequest) -> Result<ProofReport, ProofError> {
    let said = "this program was built without the feature `prove`";
    Err(ProofError::Solver(said.to_owned()))
}

/// Proves what is asked for.
///
/// # Errors
///
/// [`ProofError`] if a directory or property has faults or there is no solver.
#[cfg(feature = "prove")]
pub fn prove(request: &ProofRequest) -> Result<ProofReport, ProofError> {
    use std::time::Instant;

    use crate::analysis::answer_changes;
    use crate::analysis::prove::properties::Properties;
    use crate::analysis::prove::question::QuestionBundle;
    use crate::analysis::prove::solver::{Prover, Subject};

    let started = Instant::now();
    let config = request.config.as_deref();
    let loaded = QuestionBundle::load_with(&request.dir, config)?;
    let is_chosen = |id: &str| request.only.iter().all(|only| id.contains(only.as_str()));
    let proofs = match &request.proofs {
        Some(path) => Properties::read(path, &loaded)?,
        None => Properties::read_default(&request.dir, &loaded)?,
    };
    let ceiling = match &request.ceiling {
        Some(path) => Some(Properties::read_ceiling(path, &loaded)?),
        None => None,
    };
    let older = match &request.against {
        Some(path) => Some(QuestionBundle::load_with(path, config)?),
        None => None,
    };
    let subject = Subject::new(&loaded)?;
    let chosen = |policies: &[callgate_engine::cedar::api::Policy]| {
        policies.iter().any(|it| is_chosen(it.id().as_ref()))
    };
    let is_asked = proofs.entries().iter().any(|it| is_chosen(&it.id))
        || (request.with_policies && chosen(&subject.policies))
        || ceiling.is_some()
        || older.is_some();
    // What proves nothing must not look like a proof.
    if !is_asked {
        return Err(ProofError::Other(match &request.only {
            Some(only) => format!("nothing to prove: no property or policy has `{only}` in its id"),
            None => "nothing to prove: there is no property and no policy".to_owned(),
        }));
    }
    let read = [Some(&proofs), ceiling.as_ref()].into_iter().flatten();
    let warnings = read.flat_map(|it| it.unread().iter().cloned()).collect();
    let mut prover = Prover::new()?;
    let properties = prover.properties(&subject, &proofs, &is_chosen)?;
    let ceiling = match &ceiling {
        Some(ceiling) => Some(prover.ceiling(&subject, ceiling)?),
        None => None,
    };
    let found = match request.with_policies {
        true => {
            let until = request.limit.and_then(|it| Instant::now().checked_add(it));
            findings::find(&mut prover, &subject, &is_chosen, until)?
        }
        false => findings::Found::default(),
    };
    let answers = older
        .as_ref()
        .map(|older| answer_changes::compare(&older.bundle, &loaded.bundle));
    let comparison = match &older {
        Some(older) => {
            let older = Subject::new(older)?;
            Some(compare::compare(&mut prover, &subject, &older)?)
        }
        None => None,
    };
    Ok(ProofReport {
        request_types: subject.request_types(),
        policies: subject.policies.len(),
        properties,
        ceiling,
        findings: found.findings,
        looked_at_policies: request.with_policies,
        policies_left_out: found.left_out,
        comparison,
        answers: answers.unwrap_or_default(),
        warnings,
        questions: prover.asked(),
        millis: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

#[cfg(all(test, feature = "prove"))]
#[path = "tests.rs"]
mod tests;

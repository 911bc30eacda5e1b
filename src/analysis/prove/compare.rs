//! What a directory allows beside what an older one allowed, for each kind of request: what Callgate allows, for which no policy may fail.

use callgate_engine::cedar::api;

use crate::analysis::prove::allowed::{self, type_name};
use crate::analysis::prove::solver::{Prover, Subject};
use crate::analysis::prove::{Counterexample, ProofError, QuestionKind, Relation, TypeComparison};
use crate::domain::decide::verdict::Decision;

/// Compares a directory with an older one. Both are proved over the newer schema; what only the older one has is
/// [`Relation::Removed`].
///
/// # Errors
///
/// None yet: what cannot be compared is [`Relation::Unproven`].
pub fn compare(
    prover: &mut Prover,
    subject: &Subject<'_>,
    older: &Subject<'_>,
) -> Result<Vec<TypeComparison>, ProofError> {
    let mut found = Vec::new();
    for environment in &subject.environments {
        let name = type_name(environment);
        if !older.environments.iter().any(|it| type_name(it) == name) {
            found.push(plain(name, Relation::Added));
            continue;
        }
        found.push(match one(prover, subject, older, environment) {
            Ok(comparison) => comparison,
            Err(why) => TypeComparison {
                why: Some(why),
                ..plain(name, Relation::Unproven)
            },
        });
    }
    for environment in &older.environments {
        let name = type_name(environment);
        if !subject.environments.iter().any(|it| type_name(it) == name) {
            found.push(plain(name, Relation::Removed));
        }
    }
    found.sort_by(|a, b| (a.relation, &a.request_type).cmp(&(b.relation, &b.request_type)));
    Ok(found)
}

fn plain(request_type: String, relation: Relation) -> TypeComparison {
    TypeComparison {
        request_type,
        relation,
        allowed_now: None,
        allowed_before: None,
        why: None,
    }
}

fn one(
    prover: &mut Prover,
    subject: &Subject<'_>,
    older: &Subject<'_>,
    environment: &api::RequestEnv,
) -> Result<TypeComparison, String> {
    let now = allowed::compile(&subject.policies, environment, &subject.schema)?;
    let before = allowed::compile(&older.policies, environment, &subject.schema)?;
    let wider = prover.ask(QuestionKind::Comparison, async |it| {
        it.check_implies_with_counterexample_opt(&now, &before)
            .await
    })?;
    let narrower = prover.ask(QuestionKind::Comparison, async |it| {
        it.check_implies_with_counterexample_opt(&before, &now)
            .await
    })?;
    let relation = match (&wider, &narrower) {
        (None, None) => Relation::Equal,
        (Some(_), None) => Relation::Wider,
        (None, Some(_)) => Relation::Narrower,
        (Some(_), Some(_)) => Relation::Incomparable,
    };
    let example = |env: Option<cedar_policy_symcc::Env>,
                   allowed_now: bool|
     -> Result<Option<Counterexample>, String> {
        let Some(env) = env else {
            return Ok(None);
        };
        let found = subject.counterexample(&env, |question, verdict| {
            (verdict.outcome == Decision::Allow) == allowed_now
                && subject.allows_by(&older.set, question) != allowed_now
        });
        found.map(Some)
    };
    Ok(TypeComparison {
        allowed_now: example(wider, true)?,
        allowed_before: example(narrower, false)?,
        ..plain(type_name(environment), relation)
    })
}

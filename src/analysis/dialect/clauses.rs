//! Rewrites the `when` and `unless` of a policy, and says what follows where a claim is missing that they read.
//!
//! Reading what is missing is an error in ToolHive, which denies the call. Here a permit does not apply then, and a forbid does:
//! from the first part on that reads it, wherever in that part it stands.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::analysis::dialect::condition::{Conditions, MAX_DEPTH, Safe};
use crate::analysis::dialect::expression::{and, not, single, tagged, unless_lacking};

/// A `when` or `unless`.
struct Clause {
    kind: &'static str,
    /// What has to be true one after the other; of `unless` there is one.
    parts: Vec<Part>,
}

struct Part {
    body: Json,
    /// The claims that it reads and that may be missing.
    unknown: BTreeSet<String>,
}

/// Rewrites all conditions of a policy.
///
/// # Errors
///
/// Why one cannot be carried over.
pub fn rewrite(conditions: &Conditions<'_, '_>, json: &Json) -> Result<Vec<Json>, String> {
    let mut clauses = Vec::new();
    for clause in json["conditions"].as_array().into_iter().flatten() {
        clauses.push(Clause::rewrite(conditions, clause)?);
    }
    let mut written = Vec::new();
    for clause in clauses.into_iter().rev() {
        if !conditions.is_forbid() {
            for claim in clause.parts.iter().flat_map(|it| &it.unknown) {
                conditions.note(format!(
                    "without the claim `{claim}` ToolHive denies the call; here this policy does not apply to it"
                ));
            }
        }
        written = match (clause.is_certain(), conditions.is_forbid()) {
            (true, _) => clause.certain(written),
            (false, false) => clause.permitting(written),
            (false, true) => clause.forbidding(&written),
        };
    }
    Ok(written)
}

impl Clause {
    fn rewrite(conditions: &Conditions<'_, '_>, clause: &Json) -> Result<Self, String> {
        let is_unless = clause["kind"] == "unless";
        let safe = match conditions.is_forbid() != is_unless {
            true => Safe::True,
            false => Safe::False,
        };
        let body = &clause["body"];
        let bodies = match is_unless {
            true => vec![body],
            false => conjuncts(body)?,
        };
        let mut parts = Vec::new();
        for body in bodies {
            let rewritten = conditions.rewrite(body, safe)?;
            parts.push(Part {
                body: rewritten,
                unknown: conditions.take_unknown(),
            });
            conditions.assume(body, !is_unless);
        }
        let kind = if is_unless { "unless" } else { "when" };
        Ok(Self { kind, parts })
    }

    fn is_certain(&self) -> bool {
        self.parts.iter().all(|it| it.unknown.is_empty())
    }

    fn is_unless(&self) -> bool {
        self.kind == "unless"
    }

    /// As it is, before what follows.
    fn certain(self, mut following: Vec<Json>) -> Vec<Json> {
        let kind = self.kind;
        let body = self.parts.into_iter().map(|it| it.body).reduce(and);
        if let Some(body) = body {
            following.insert(0, json!({"kind": kind, "body": body}));
        }
        following
    }

    /// False where a claim is missing.
    fn permitting(self, mut following: Vec<Json>) -> Vec<Json> {
        let is_unless = self.is_unless();
        let holds = self.parts.into_iter().flat_map(|part| {
            let tags = part.unknown.iter().map(|it| tagged(it));
            let own = if is_unless { not(part.body) } else { part.body };
            tags.chain([own]).collect::<Vec<_>>()
        });
        if let Some(body) = holds.reduce(and) {
            following.insert(0, json!({"kind": "when", "body": body}));
        }
        following
    }

    /// True where a claim is missing, whatever follows.
    fn forbidding(self, following: &[Json]) -> Vec<Json> {
        let rest = following
            .iter()
            .map(|clause| match clause["kind"] == "unless" {
                true => not(clause["body"].clone()),
                false => clause["body"].clone(),
            });
        let mut rest = rest.reduce(and);
        let is_unless = self.is_unless();
        for part in self.parts.into_iter().rev() {
            let own = if is_unless { not(part.body) } else { part.body };
            let joined = match rest {
                Some(rest) => and(own, rest),
                None => own,
            };
            let unknown = part.unknown.iter().rev();
            rest = Some(unknown.fold(joined, |inner, claim| unless_lacking(claim, inner)));
        }
        rest.map(|body| json!({"kind": "when", "body": body}))
            .into_iter()
            .collect()
    }
}

/// What has to be true one after the other for an expression to be true.
fn conjuncts(expr: &Json) -> Result<Vec<&Json>, String> {
    let (mut found, mut rest) = (Vec::new(), vec![expr]);
    while let Some(expr) = rest.pop() {
        match single(expr) {
            Some(("&&", operands)) => rest.extend([&operands["right"], &operands["left"]]),
            _ => found.push(expr),
        }
        if found.len() + rest.len() > MAX_DEPTH {
            return Err("its conditions nest too deep".to_owned());
        }
    }
    Ok(found)
}

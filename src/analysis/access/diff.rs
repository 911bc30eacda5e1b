//! What a change of a directory widens and what it narrows.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::analysis::access::outcome::{Access, Outcome, PrincipalConditions, Residual};
use crate::analysis::access::{AccessReport, Cell};

/// How access has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// What was allowed is allowed, and possibly more.
    Wider,
    /// What was denied is denied, and possibly more.
    Narrower,
    /// The conditions are others; which calls they allow has to be looked at.
    Different,
}

/// A changed outcome.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The subject.
    pub who: String,
    /// For whom it acts; empty if on its own authority.
    #[serde(rename = "for")]
    pub on_behalf_of: Vec<String>,
    /// The tool.
    pub tool: String,
    /// How access has changed.
    pub direction: Direction,
    /// What was decided; a party or tool that was not there could do nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Arc<Outcome>>,
    /// What is decided now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Arc<Outcome>>,
}

/// A subject, for whom it acts, and a tool.
type CellKey<'r> = (&'r str, Option<&'r str>, &'r str);

/// Compares two reports on the same question. A party or tool of only one of them could do nothing in the other.
pub fn compare(before: &AccessReport, after: &AccessReport) -> Vec<Change> {
    let (old, new) = (outcomes(before), outcomes(after));
    let mut keys: Vec<&CellKey<'_>> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    let mut changes: Vec<Change> = Vec::new();
    for key in keys {
        let (before, after) = (old.get(key).copied(), new.get(key).copied());
        let Some(direction) = direction(before, after) else {
            continue;
        };
        let (who, for_whom, tool) = *key;
        let for_whom: Vec<String> = for_whom.into_iter().map(str::to_owned).collect();
        let same = changes.iter_mut().find(|it| {
            (it.who == who && it.tool == tool && it.direction == direction)
                && it.on_behalf_of.is_empty() == for_whom.is_empty()
                && is_same(it.before.as_deref(), before.map(|it| &**it), it, &for_whom)
                && is_same(it.after.as_deref(), after.map(|it| &**it), it, &for_whom)
        });
        match same {
            Some(change) => change.on_behalf_of.extend(for_whom),
            None => changes.push(Change {
                who: who.to_owned(),
                on_behalf_of: for_whom,
                tool: tool.to_owned(),
                direction,
                before: before.cloned(),
                after: after.cloned(),
            }),
        }
    }
    changes
}

fn is_same(
    one: Option<&Outcome>,
    other: Option<&Outcome>,
    change: &Change,
    for_whom: &[String],
) -> bool {
    let root = |roots: &[String]| roots.first().cloned();
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one.is_same_but_for_root(
            root(&change.on_behalf_of).as_deref(),
            other,
            root(for_whom).as_deref(),
        ),
        _ => false,
    }
}

fn outcomes(report: &AccessReport) -> BTreeMap<CellKey<'_>, &Arc<Outcome>> {
    let mut outcomes = BTreeMap::new();
    let cells = report
        .rows
        .iter()
        .flat_map(|row| row.cells.iter().map(move |cell| (row, cell)));
    for (row, Cell { tool, cases, .. }) in cells {
        for case in cases {
            let roots = case.on_behalf_of.iter().map(|root| Some(root.as_str()));
            let alone = case.on_behalf_of.is_empty().then_some(None);
            for root in roots.chain(alone) {
                outcomes.insert((row.who.as_str(), root, tool.as_str()), &case.outcome);
            }
        }
    }
    outcomes
}

/// How one outcome differs from another; `None` if not.
fn direction(before: Option<&Arc<Outcome>>, after: Option<&Arc<Outcome>>) -> Option<Direction> {
    let access = |outcome: Option<&Arc<Outcome>>| outcome.map_or(Access::Never, |it| it.access());
    match (access(before), access(after)) {
        (Access::Conditional, Access::Conditional) => {}
        (before, after) if before == after => return None,
        (before, after) if before < after => return Some(Direction::Wider),
        _ => return Some(Direction::Narrower),
    }
    let (
        Outcome::Conditional {
            principals: old, ..
        },
        Outcome::Conditional {
            principals: new, ..
        },
    ) = (&**before?, &**after?)
    else {
        return None;
    };
    match (implies(old, new), implies(new, old)) {
        (true, true) => None,
        (true, false) => Some(Direction::Wider),
        (false, true) => Some(Direction::Narrower),
        (false, false) => Some(Direction::Different),
    }
}

/// Whether every call that fulfils the `stricter` conditions surely fulfils the others: by what the conditions are, not
/// by what they mean.
fn implies(stricter: &[PrincipalConditions], others: &[PrincipalConditions]) -> bool {
    others.iter().all(|other| {
        let own = stricter.iter().find(|it| it.principal == other.principal);
        own.is_some_and(|own| {
            let is_permitted = other.any_of.is_empty()
                || (!own.any_of.is_empty() && is_part(&own.any_of, &other.any_of));
            // A further permit may fail where nothing failed before.
            let fails = |it: &&Residual| it.may_fail;
            let evaluated =
                |of: &PrincipalConditions, it: &Residual| of.residuals().any(|own| own == it);
            is_permitted
                && is_part(&other.none_of, &own.none_of)
                && other.residuals().filter(fails).all(|it| evaluated(own, it))
        })
    })
}

fn is_part(some: &[Residual], of: &[Residual]) -> bool {
    some.iter().all(|it| of.contains(it))
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;

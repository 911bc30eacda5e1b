//! Finds the smallest sets of changes that would allow a denied call.
//!
//! Sets are tried in the order of their size, each by deciding the call in the changed state. A set is proposed only if
//! the call is allowed with all of it, and denied with every part of it left out.

use std::time::SystemTime;

use crate::analysis::explain::atoms::AtomCollector;
use crate::analysis::explain::change::{Change, World};
use crate::analysis::explain::limits::ExplainLimits;
use crate::domain::decide::inputs::{DecisionInputs, Requester};
use crate::domain::decide::verdict::Verdict;
use crate::domain::request::call_context::CallContext;

/// The most changes of one proposal.
const MAX_CHANGES: usize = 3;

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// The sets of changes, those first that give away least.
    pub proposals: Vec<Vec<Change>>,
    /// Whether the search ended by itself, and not at a limit.
    pub is_exhaustive: bool,
    /// Whether it ended because its time was up.
    pub is_out_of_time: bool,
}

/// One search.
struct Search<'a> {
    inputs: &'a DecisionInputs<'a>,
    call: &'a CallContext,
    requester: Requester<'a>,
    now: SystemTime,
    limits: ExplainLimits,
    decisions: usize,
}

/// Finds changes for a denied call.
pub fn search(
    inputs: &DecisionInputs<'_>,
    call: &CallContext,
    requester: Requester<'_>,
    now: SystemTime,
    limits: ExplainLimits,
) -> Found {
    let mut search = Search {
        inputs,
        call,
        requester,
        now,
        limits,
        decisions: 0,
    };
    let mut found = search.run();
    found
        .proposals
        .sort_by_key(|set| set.iter().map(|change| 1 + change.weight()).sum::<u32>());
    found
}

impl Search<'_> {
    fn run(&mut self) -> Found {
        let mut found = Found::default();
        let mut level: Vec<Vec<Change>> = vec![Vec::new()];
        for _ in 0..MAX_CHANGES {
            let mut next: Vec<Vec<Change>> = Vec::new();
            for changes in &level {
                if self.is_over(&mut found) {
                    return found;
                }
                for atom in self.worth_trying(changes) {
                    let set = with(changes, atom);
                    let is_known = next.iter().any(|known| is_same(known, &set))
                        || found.proposals.iter().any(|known| is_part(known, &set));
                    if is_known {
                        continue;
                    }
                    if self.is_over(&mut found) {
                        return found;
                    }
                    match self.verdict(&set) {
                        Some(verdict)
                            if verdict.is_allow()
                                && self.is_minimal(&set)
                                && !is_repeated(&found.proposals, &set) =>
                        {
                            found.proposals.push(set);
                        }
                        Some(verdict) if verdict.is_allow() => {}
                        Some(_) => next.push(set),
                        None => {}
                    }
                }
            }
            level = next;
        }
        found.is_exhaustive = true;
        found
    }

    /// Whether a limit is reached; notes if it is that of time.
    fn is_over(&self, found: &mut Found) -> bool {
        let is_over = self.decisions >= self.limits.decisions
            || found.proposals.len() >= self.limits.proposals;
        found.is_out_of_time = !is_over && self.limits.is_late();
        is_over || found.is_out_of_time
    }

    /// The state with these changes, in this order; `None` if one of them cannot be made.
    fn world(&mut self, changes: &[Change]) -> Option<World> {
        let mut world = World::new(self.inputs, self.call);
        for change in changes {
            if let Change::Approve { .. } = change {
                // The approval answers the challenge of the state so far.
                let verdict = self.decide(&world);
                world = world.with_challenge(&verdict);
            }
            world = world.with(change, self.inputs, self.requester, self.now)?;
        }
        Some(world)
    }

    fn decide(&mut self, world: &World) -> Verdict {
        self.decisions += 1;
        world.decide(self.inputs, self.requester, self.now, None)
    }

    fn verdict(&mut self, changes: &[Change]) -> Option<Verdict> {
        let world = self.world(changes)?;
        Some(self.decide(&world))
    }

    /// The changes that may help further.
    fn worth_trying(&mut self, changes: &[Change]) -> Vec<Change> {
        let Some(world) = self.world(changes) else {
            return Vec::new();
        };
        let collector = AtomCollector::default();
        self.decisions += 1;
        let verdict = world.decide(self.inputs, self.requester, self.now, Some(&collector));
        let inputs = world.inputs(self.inputs, None);
        collector.atoms(&inputs, &world, &verdict, self.now)
    }

    /// Whether the call is denied with any part of the set left out.
    fn is_minimal(&mut self, set: &[Change]) -> bool {
        let whole = (1_u32 << set.len()) - 1;
        (0..whole).all(|kept| {
            let kept = |(place, _): &(usize, &Change)| kept & (1 << place) != 0;
            let part: Vec<Change> = set
                .iter()
                .enumerate()
                .filter(kept)
                .map(|(_, change)| change.clone())
                .collect();
            !self
                .verdict(&part)
                .is_some_and(|verdict| verdict.is_allow())
        })
    }
}

/// A set with one more change. An approval comes last: it is for the call as it is then.
fn with(changes: &[Change], atom: Change) -> Vec<Change> {
    let mut set = changes.to_vec();
    set.push(atom);
    set.sort_by_key(|change| matches!(change, Change::Approve { .. }));
    set
}

fn is_same(one: &[Change], other: &[Change]) -> bool {
    one.len() == other.len() && is_part(one, other)
}

fn is_part(part: &[Change], of: &[Change]) -> bool {
    part.iter().all(|change| of.contains(change))
}

/// Whether a known proposal differs only in who approves, or for whom the call is made.
fn is_repeated(known: &[Vec<Change>], set: &[Change]) -> bool {
    let is_alike = |one: &Change, other: &Change| match (one, other) {
        (Change::Approve { .. }, Change::Approve { .. })
        | (Change::Delegate { .. }, Change::Delegate { .. }) => true,
        _ => one == other,
    };
    known.iter().any(|known| {
        known.len() == set.len()
            && set
                .iter()
                .all(|change| known.iter().any(|other| is_alike(change, other)))
    })
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;

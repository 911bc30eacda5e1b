//! Tool definitions that differ from the pinned ones, as last shown by each server through each gateway.
//!
//! A gateway that passes on a list sees what a server says of its tools; a gateway that passes on a call does not. So
//! what a list shows is kept until a later list through the same gateway shows the pinned definition, or until the
//! definition's lifetime is over, and calls through that gateway are checked against it. Only definitions that differ
//! are kept, so the map is usually empty. It is stored, so that a restart does not lose it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use callgate_engine::cedar::EntityUID;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smol_str::SmolStr;

use crate::domain::authority::form;
use crate::domain::request::definition::{self, DefinitionDigests};
use crate::store::backend::{StoreWrite, StoredDefinition};

/// The most definitions that are kept. Beyond that the oldest are dropped.
const MOST: usize = 10_000;

/// Changed definitions by gateway and tool.
#[derive(Debug)]
pub struct ShownDefinitions {
    changed: ArcSwap<All>,
    keep: Duration,
}

type All = HashMap<GatewayTool, ChangedDefinition, RandomState>;

/// A tool, as seen through one gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GatewayTool {
    /// The gateway.
    pub gateway: SmolStr,
    /// The tool.
    pub tool: EntityUID,
}

/// A definition that differs from the pinned one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedDefinition {
    /// Its digests.
    pub digests: DefinitionDigests,
    /// The parts that differ; empty if the registration does not hold digests of the parts.
    pub fields: Vec<&'static str>,
    /// When a list last showed it.
    pub at: SystemTime,
}

impl ShownDefinitions {
    /// An empty map. Each definition is kept for `keep` after it was last shown.
    pub fn new(keep: Duration) -> Self {
        Self {
            changed: ArcSwap::default(),
            keep,
        }
    }

    /// The digests of the definition shown last, if it is recent and not the pinned one.
    pub fn get(&self, place: &GatewayTool, now: SystemTime) -> Option<DefinitionDigests> {
        let all = self.changed.load();
        let changed = all.get(place).filter(|it| self.is_kept(it, now))?;
        Some(changed.digests.clone())
    }

    /// Whether no definition differs.
    pub fn is_empty(&self) -> bool {
        self.changed.load().is_empty()
    }

    /// All definitions that differ, sorted by gateway and tool.
    pub fn all(&self, now: SystemTime) -> Vec<(GatewayTool, ChangedDefinition)> {
        let all = self.changed.load();
        let kept = all.iter().filter(|(_, changed)| self.is_kept(changed, now));
        let mut kept: Vec<_> = kept
            .map(|(place, it)| (place.clone(), it.clone()))
            .collect();
        let order = |place: &GatewayTool| (place.gateway.clone(), place.tool.to_string());
        kept.sort_by_cached_key(|(place, _)| order(place));
        kept
    }

    /// Records the registered tools that a list has shown: as pinned (`None`), or as something else. A tool that is
    /// shown both ways counts as changed. Returns what to write.
    pub fn record(
        &self,
        tools: &[(GatewayTool, Option<ChangedDefinition>)],
        now: SystemTime,
    ) -> Vec<StoreWrite> {
        let nothing_to_do = self.is_empty() && tools.iter().all(|(_, changed)| changed.is_none());
        if nothing_to_do {
            return Vec::new();
        }
        let before = self.changed.rcu(|all| {
            let mut all = All::clone(all);
            all.retain(|_, changed| self.is_kept(changed, now));
            for (place, _) in tools {
                all.remove(place);
            }
            for (place, changed) in tools {
                if let Some(changed) = changed {
                    all.insert(place.clone(), changed.clone());
                }
            }
            forget_oldest(&mut all);
            Arc::new(all)
        });
        self.writes(&before, &self.changed.load())
    }

    /// Takes over what another server has recorded.
    pub fn merge(&self, told: Vec<(SmolStr, EntityUID, Option<StoredDefinition>)>) {
        if told.is_empty() {
            return;
        }
        self.changed.rcu(|all| {
            let mut all = All::clone(all);
            for (gateway, tool, shown) in told.iter().cloned() {
                let place = GatewayTool { gateway, tool };
                match shown {
                    Some(shown) => all.insert(place, shown.into()),
                    None => all.remove(&place),
                };
            }
            forget_oldest(&mut all);
            Arc::new(all)
        });
    }

    /// Restores what a store holds, in the place of everything that was known.
    pub fn restore(&self, stored: Vec<(SmolStr, EntityUID, StoredDefinition)>) {
        let restored = stored
            .into_iter()
            .map(|(gateway, tool, shown)| (GatewayTool { gateway, tool }, shown.into()));
        let mut all: All = restored.collect();
        forget_oldest(&mut all);
        self.changed.store(Arc::new(all));
    }

    /// The writes for what a list has changed. A definition that is shown again is written a quarter of its lifetime
    /// ahead, and not again before that moment has passed.
    fn writes(&self, before: &All, after: &All) -> Vec<StoreWrite> {
        let mut writes = Vec::new();
        for place in before.keys().filter(|place| !after.contains_key(*place)) {
            writes.push(place.write(None));
        }
        let ahead = self.keep / 4;
        for (place, changed) in after {
            let known = before.get(place);
            let is_written = known.is_some_and(|known| {
                let same = known.digests == changed.digests;
                let span = ahead.as_millis().max(1);
                let part = |at: SystemTime| u128::from(form::millis(at)) / span;
                same && part(known.at) == part(changed.at)
            });
            if !is_written {
                let at = changed.at.checked_add(ahead).unwrap_or(changed.at);
                writes.push(
                    place.write(Some(StoredDefinition {
                        pinned: changed.digests.pinned().clone(),
                        whole: changed.digests.whole().clone(),
                        fields: changed
                            .fields
                            .iter()
                            .map(|it| SmolStr::new_static(it))
                            .collect(),
                        at,
                    })),
                );
            }
        }
        writes
    }

    fn is_kept(&self, changed: &ChangedDefinition, now: SystemTime) -> bool {
        let age = now.duration_since(changed.at).unwrap_or_default();
        age < self.keep
    }
}

impl From<StoredDefinition> for ChangedDefinition {
    fn from(shown: StoredDefinition) -> Self {
        let fields = shown.fields.iter();
        Self {
            fields: fields
                .filter_map(|field| definition::member(field))
                .collect(),
            digests: DefinitionDigests::new(shown.pinned, shown.whole),
            at: shown.at,
        }
    }
}

impl GatewayTool {
    fn write(&self, shown: Option<StoredDefinition>) -> StoreWrite {
        StoreWrite::ToolShown {
            gateway: self.gateway.clone(),
            tool: self.tool.clone(),
            shown,
        }
    }
}

fn forget_oldest(all: &mut All) {
    let Some(too_many) = all.len().checked_sub(MOST).filter(|count| *count > 0) else {
        return;
    };
    let mut oldest: Vec<_> = all.iter().map(|(place, it)| (it.at, place)).collect();
    oldest.sort_unstable_by_key(|(at, _)| *at);
    let oldest = oldest.into_iter().take(too_many);
    let oldest: Vec<GatewayTool> = oldest.map(|(_, place)| place.clone()).collect();
    for place in oldest {
        all.remove(&place);
    }
}

#[cfg(test)]
#[path = "shown_definitions_tests.rs"]
mod tests;

//! Lists and searches: each entry is decided again, and compared by itself.

use smol_str::SmolStr;

use crate::analysis::replay::candidate::{Obstacle, Replayer};
use crate::analysis::replay::outcome::{OutcomeKey, parties_of_call};
use crate::audit::capsule_content::many::{ListedEntry, SearchedCandidate};
use crate::audit::capsule_content::{Capsule, CapsuleHistory, CapsuleRequest};
use crate::domain::decide::is_authorized;
use crate::domain::decide::listing::{self, ListedItem};
use crate::domain::request::call_context::CallContext;

/// An entry of a list, or a candidate of a search, decided again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayedEntry {
    /// As it was decided. The capsule does not say by which policies.
    pub was: OutcomeKey,
    /// As the candidate decides.
    pub becomes: OutcomeKey,
    /// Who asked, and for whom.
    pub parties: String,
    /// What it is about: `tools/list git/log`.
    pub operation: String,
}

impl ReplayedEntry {
    /// Whether the same is decided for the same reason.
    pub fn is_same(&self) -> bool {
        self.was.decision == self.becomes.decision && self.was.code == self.becomes.code
    }
}

impl Replayer<'_> {
    /// The entries of a list or a search as the candidate decides them; `None` if the capsule is about neither.
    ///
    /// # Errors
    ///
    /// [`Obstacle`] if the capsule does not hold what the candidate reads.
    pub fn replay_entries(
        &mut self,
        capsule: &Capsule,
    ) -> Result<Option<Vec<ReplayedEntry>>, Obstacle> {
        match &capsule.request {
            CapsuleRequest::Call(..) | CapsuleRequest::Cedar(_) => Ok(None),
            CapsuleRequest::List(call, history, entries) => self
                .replay_list(capsule, (call, history), entries)
                .map(Some),
            CapsuleRequest::Search(candidates) => self.replay_search(capsule, candidates).map(Some),
        }
    }

    fn replay_list(
        &mut self,
        capsule: &Capsule,
        (call, history): (&CallContext, &CapsuleHistory),
        entries: &[ListedEntry],
    ) -> Result<Vec<ReplayedEntry>, Obstacle> {
        let hidden = self.inspect(capsule, history, |inputs, requester| {
            let items = entries.iter().map(|entry| &entry.item);
            let filtered = listing::filter(*inputs, call, items, requester, capsule.now, false);
            listing::hidden_reasons(&filtered, entries.len())
        })?;
        let parties = parties_of_call(capsule, call);
        let replayed = entries
            .iter()
            .zip(hidden)
            .map(|(entry, hidden)| ReplayedEntry {
                was: OutcomeKey::of_entry(entry.hidden.clone()),
                becomes: OutcomeKey::of_entry(hidden.map(|it| SmolStr::new_static(it.as_str()))),
                parties: parties.clone(),
                operation: operation(call, &entry.item),
            });
        Ok(replayed.collect())
    }

    fn replay_search(
        &mut self,
        capsule: &Capsule,
        candidates: &[SearchedCandidate],
    ) -> Result<Vec<ReplayedEntry>, Obstacle> {
        let snapshot = self.snapshot_for(capsule)?;
        let replayed = candidates.iter().map(|candidate| {
            let request = &candidate.request;
            let verdict = is_authorized::decide(snapshot, &capsule.authority, request);
            ReplayedEntry {
                was: OutcomeKey::new(candidate.is_allow, candidate.code.clone(), Vec::new()),
                becomes: OutcomeKey::of_verdict(&verdict, true),
                parties: request.principal.to_string(),
                operation: format!("search {} on {}", request.action, request.resource),
            }
        });
        Ok(replayed.collect())
    }
}

/// What an entry is about: the method, and the server with the name.
fn operation(call: &CallContext, item: &ListedItem) -> String {
    let (method, server) = (call.operation.kind.method(), &call.operation.server);
    match item {
        ListedItem::Tool { name, .. } | ListedItem::Prompt(name) => {
            format!("{method} {server}/{name}")
        }
        // URIs are contents, which a report does not show.
        ListedItem::Resource(_) | ListedItem::Template(_) => format!("{method} {server}"),
    }
}

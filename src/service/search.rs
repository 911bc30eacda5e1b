//! Searches: which principals may do something, to which resources, with which actions.
//!
//! All candidates are decided from one generation.

use callgate_engine::cedar::{EntityType, EntityUID};
use callgate_engine::{Cursor, Snapshot, StaleCursorError};

use crate::audit::capsule_content::many::{MAX_ENTRIES, SearchedCandidate};
use crate::audit::decision_record::RecordedRequest;
use crate::domain::decide::is_authorized::{self, ParcRequest};
use crate::domain::decide::verdict::{Reason, Verdict};
use crate::domain::request::trace_context::TraceContext;
use crate::service::Service;
use crate::service::deadline::ServiceError;
use crate::service::in_flight::Decided;
use crate::service::request::{RequestMeta, Response};

/// What to search for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchTarget {
    /// Stored principals of a type.
    Subject(EntityType),
    /// Stored resources of a type.
    Resource(EntityType),
    /// Actions.
    Action,
}

/// A search request: all parts of a request but the one to search for.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// What is sought.
    pub target: SearchTarget,
    /// The principal, unless searched for.
    pub principal: Option<EntityUID>,
    /// The action, unless searched for.
    pub action: Option<EntityUID>,
    /// The resource, unless searched for.
    pub resource: Option<EntityUID>,
    /// Where the previous page ended.
    pub after: Option<Cursor>,
    /// The most hits on the page.
    pub page_size: usize,
    /// The most candidates on the page. The page ends there however few hits there are.
    pub candidates: usize,
    /// The trace the caller named.
    pub trace: TraceContext,
}

/// One page of hits.
#[derive(Debug, Clone, Default)]
pub struct EntityPage {
    /// Candidates for which the request is allowed.
    pub hits: Vec<SearchHit>,
    /// Where the next page starts; `None` on the last.
    pub next: Option<Cursor>,
}

/// A candidate for which the request is allowed.
#[derive(Debug, Clone)]
pub struct SearchHit {
    /// The principal, resource or action.
    pub uid: EntityUID,
    /// The allow, with its obligations.
    pub decision: Verdict,
}

/// Why there is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SearchError<E: std::error::Error + 'static> {
    /// The service has no response.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The cursor is of an earlier bundle.
    #[error(transparent)]
    PlaceGone(StaleCursorError),
    /// The request about a candidate cannot be made.
    #[error(transparent)]
    Question(E),
}

impl SearchTarget {
    /// What is sought, in one word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Subject(_) => "subject",
            Self::Resource(_) => "resource",
            Self::Action => "action",
        }
    }
}

impl Service {
    /// Finds one page. `question` makes the request about a candidate; `None` skips it, and an error ends the search.
    /// The search is one record.
    ///
    /// # Errors
    ///
    /// [`SearchError`].
    pub async fn search<E: std::error::Error + 'static>(
        &self,
        ask: RequestMeta<'_>,
        search: &SearchRequest,
        question: impl Fn(&Snapshot, &EntityUID) -> Result<Option<ParcRequest>, E>,
    ) -> Result<Response<EntityPage>, SearchError<E>> {
        let pending = self.start_request(ask, self.pin()?);
        let mut looked_at = 0;
        let mut decided = Vec::new();
        let keeps_capsules = self.keeps_capsules();
        let found: Result<Result<EntityPage, Reason>, SearchError<E>> = pending.guarded(
            |reason: Reason| Ok(Err(reason)),
            |generation, _| {
                let snapshot = &generation.snapshot;
                let mut candidates =
                    candidates(snapshot, search).map_err(SearchError::PlaceGone)?;
                let allowed = |candidate: &EntityUID| {
                    looked_at += 1;
                    let question = question(snapshot, candidate).map_err(SearchError::Question)?;
                    let Some(question) = question else {
                        return Ok(None);
                    };
                    let decision =
                        is_authorized::decide(snapshot, &generation.authority, &question);
                    // One more than a capsule takes says that there are too many.
                    if keeps_capsules && decided.len() <= MAX_ENTRIES {
                        decided.extend(SearchedCandidate::new(question, &decision));
                    }
                    Ok(Some(decision).filter(Verdict::is_allow))
                };
                let in_time = |_: &(EntityUID, Cursor)| !ask.deadline.is_over();
                let each = std::mem::take(&mut candidates.each);
                let each = each.into_iter().take_while(in_time);
                page(each, candidates.next, search.page_size, allowed).map(Ok)
            },
        );
        ask.deadline.check()?;
        let (decision, found) = match found? {
            Ok(found) => (Verdict::allow_unconditionally(), found),
            Err(reason) => (Verdict::deny(reason), EntityPage::default()),
        };
        let capsule = match decision.is_allow() {
            true => self.capsule_of_search(&pending, &pending.generation, &decided),
            false => None,
        };
        let decided = Decided {
            capsule,
            ..Decided::enforced(decision)
        };
        let asked = RecordedRequest::Search {
            sought: search.target.as_str(),
            principal: search.principal.as_ref(),
            action: search.action.as_ref(),
            resource: search.resource.as_ref(),
            kept: found.hits.len(),
            hidden: looked_at - found.hits.len().min(looked_at),
            trace: &search.trace,
        };
        let untold = self.begin_record(pending, asked, decided);
        let answer = self.finish_record(untold).await;
        let is_allowed = answer.value.is_allow();
        // Nothing is found if it cannot be put on record.
        let found = if is_allowed {
            found
        } else {
            EntityPage::default()
        };
        Ok(answer.map(|_| found))
    }
}

/// Candidates, each with the cursor after it, and the cursor after all of them.
struct Candidates {
    each: Vec<(EntityUID, Cursor)>,
    next: Option<Cursor>,
}

fn candidates(snapshot: &Snapshot, search: &SearchRequest) -> Result<Candidates, StaleCursorError> {
    let ty = match &search.target {
        SearchTarget::Subject(ty) | SearchTarget::Resource(ty) => ty,
        SearchTarget::Action => return actions(snapshot, search),
    };
    let piece = snapshot.list_entities(ty, search.after, search.candidates)?;
    Ok(Candidates {
        each: piece.entities,
        next: piece.next,
    })
}

fn actions(snapshot: &Snapshot, search: &SearchRequest) -> Result<Candidates, StaleCursorError> {
    let start = snapshot.action_cursor(0);
    if search.after.is_some_and(|place| place.order != start.order) {
        return Err(StaleCursorError);
    }
    let first = search.after.map_or(0, |place| place.shard);
    let actions = snapshot.actions();
    let count = actions.len();
    let each: Vec<(EntityUID, Cursor)> = actions
        .into_iter()
        .zip(1_u32..)
        .skip(first as usize)
        .take(search.candidates)
        .map(|(action, number)| (action, snapshot.action_cursor(number)))
        .collect();
    let is_all = first as usize + each.len() >= count;
    let next = each.last().map(|(_, at)| *at).filter(|_| !is_all);
    Ok(Candidates { each, next })
}

/// Fills a page. A full page ends before the first candidate that was not examined.
fn page<E>(
    each: impl Iterator<Item = (EntityUID, Cursor)>,
    after_all: Option<Cursor>,
    most: usize,
    mut allowed: impl FnMut(&EntityUID) -> Result<Option<Verdict>, E>,
) -> Result<EntityPage, E> {
    let mut hits = Vec::new();
    let mut last = None;
    for (candidate, at) in each {
        if hits.len() >= most {
            let next = last;
            return Ok(EntityPage { hits, next });
        }
        last = Some(at);
        if let Some(decision) = allowed(&candidate)? {
            let uid = candidate;
            hits.push(SearchHit { uid, decision });
        }
    }
    Ok(EntityPage {
        hits,
        next: after_all,
    })
}

//! Cedar's own question asked of many: who may do this, to what, and what may be done.
//!
//! Everything is decided from one generation.

use callgate_engine::cedar::{EntityType, EntityUID};
use callgate_engine::{Cursor, Snapshot, StaleCursorError};

use crate::audit::decision_record::RecordedRequest;
use crate::domain::decide::verdict::{Reason, Verdict};
use crate::domain::request::call_context::TraceContext;
use crate::service::deadline::ServiceError;
use crate::service::decisions::{ParcRequest, RequestMeta, Response, Service};
use crate::service::in_flight::InFlightRequest;
use crate::service::is_authorized;

/// What is sought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchTarget {
    /// Stored principals of a type.
    Subject(EntityType),
    /// Stored resources of a type.
    Resource(EntityType),
    /// Actions.
    Action,
}

/// A search: everything of a question but what is sought.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// What is sought.
    pub sought: SearchTarget,
    /// The principal, unless sought.
    pub principal: Option<EntityUID>,
    /// The action, unless sought.
    pub action: Option<EntityUID>,
    /// The resource, unless sought.
    pub resource: Option<EntityUID>,
    /// Where the page before ended.
    pub after: Option<Cursor>,
    /// The most to find.
    pub most: usize,
    /// The most to look at. A page ends there, however little was found.
    pub candidates: usize,
    /// The trace the caller named.
    pub trace: TraceContext,
}

/// One page of what was found.
#[derive(Debug, Clone, Default)]
pub struct EntityPage {
    /// Those for which the question is allowed.
    pub hits: Vec<SearchHit>,
    /// Where the next page starts; `None` if there is none.
    pub next: Option<Cursor>,
}

/// One for which the question is allowed.
#[derive(Debug, Clone)]
pub struct SearchHit {
    /// Who, what, or which action.
    pub uid: EntityUID,
    /// The allow, which may oblige whoever acts upon it.
    pub decision: Verdict,
}

/// Why there is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SearchError<E: std::error::Error + 'static> {
    /// There is no answer to anything.
    #[error(transparent)]
    Unanswered(#[from] ServiceError),
    /// The place is one of an earlier load.
    #[error(transparent)]
    PlaceGone(StaleCursorError),
    /// A question about a candidate cannot be made.
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
    pub(super) fn answer(
        &self,
        pending: &InFlightRequest<'_>,
        question: &ParcRequest,
    ) -> Response<Verdict> {
        let decision = pending.guarded(Verdict::deny, |generation, _| {
            is_authorized::decide(generation, question)
        });
        let asked = RecordedRequest::Cedar {
            principal: &question.principal,
            action: &question.action,
            resource: &question.resource,
            trace: &question.trace,
        };
        self.record(pending, asked, decision)
    }

    /// Finds one page. `question` makes the whole question of a candidate; `None` leaves it out, and an error is the
    /// end of the search. The search as a whole is one record.
    pub fn search<E: std::error::Error + 'static>(
        &self,
        ask: RequestMeta<'_>,
        search: &SearchRequest,
        question: impl Fn(&Snapshot, &EntityUID) -> Result<Option<ParcRequest>, E>,
    ) -> Result<Response<EntityPage>, SearchError<E>> {
        let generation = self.live().ok_or(ServiceError::NotReady)?;
        let pending = self.start(ask, generation);
        let mut looked_at = 0;
        let found: Result<Result<EntityPage, Reason>, SearchError<E>> = pending.guarded(
            |reason: Reason| Ok(Err(reason)),
            |generation, _| {
                let snapshot = &generation.snapshot;
                let mut candidates =
                    candidates(snapshot, search).map_err(SearchError::PlaceGone)?;
                let allowed = |candidate: &EntityUID| {
                    looked_at += 1;
                    let question = question(snapshot, candidate).map_err(SearchError::Question)?;
                    let decision = question.map(|it| is_authorized::decide(generation, &it));
                    Ok(decision.filter(Verdict::is_allow))
                };
                let in_time = |_: &(EntityUID, Cursor)| !ask.deadline.is_over();
                let each = std::mem::take(&mut candidates.each);
                let each = each.into_iter().take_while(in_time);
                page(each, candidates.next, search.most, allowed).map(Ok)
            },
        );
        ask.deadline.check()?;
        let (decision, found) = match found? {
            Ok(found) => (Verdict::allow_unconditionally(), found),
            Err(reason) => (Verdict::deny(reason), EntityPage::default()),
        };
        let asked = RecordedRequest::Search {
            sought: search.sought.as_str(),
            principal: search.principal.as_ref(),
            action: search.action.as_ref(),
            resource: search.resource.as_ref(),
            kept: found.hits.len(),
            hidden: looked_at - found.hits.len().min(looked_at),
            trace: &search.trace,
        };
        let answer = self.record(&pending, asked, decision);
        Ok(answer.map(|_| found))
    }
}

/// Those to look at, each with the place after it, and the place after all of them.
struct Candidates {
    each: Vec<(EntityUID, Cursor)>,
    next: Option<Cursor>,
}

fn candidates(snapshot: &Snapshot, search: &SearchRequest) -> Result<Candidates, StaleCursorError> {
    let ty = match &search.sought {
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

/// Fills a page. One that is full ends before the first candidate it has not looked at.
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

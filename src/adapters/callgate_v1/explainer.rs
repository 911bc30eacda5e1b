//! Explains calls before they are decided, apart from the threads that decide.
//!
//! Start at [`CallExplainer::explain`]. Invariant: however many calls are to be explained, it occupies [`PLACES`] threads at
//! most, and one of them searches for changes. What finds no place is answered without.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::adapters::callgate_v1::encode::outcome;
use crate::adapters::callgate_v1::explanation::{self, MAX_SEARCH};
use crate::analysis::explain;
use crate::domain::request::call_context::CallContext;
use crate::proto::v1;
use crate::service::Service;
use crate::service::request::{OwnedRequestMeta, RequestMeta};

/// The most calls that are explained at once.
const PLACES: usize = 2;
/// The part of the time until the deadline that a call waits for a place.
const WAIT_PART: u32 = 4;

/// Explains calls. Cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct CallExplainer {
    places: Arc<Semaphore>,
    /// Who may search for changes.
    searches: Arc<Semaphore>,
}

/// An explanation of a call, and what it is about.
#[derive(Debug)]
pub(super) struct ExplainedCall {
    explanation: v1::Explanation,
    /// As [`v1::Decision`].
    decision: i32,
    revision: u64,
}

/// What is known before a call is decided.
#[derive(Debug)]
pub(super) enum CallExplanation {
    Made(Box<ExplainedCall>),
    /// It could not be made, for instance as nothing is loaded.
    NotMade,
    /// As many are being made as are made at once.
    NoPlace,
}

impl Default for CallExplainer {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(PLACES)),
            searches: Arc::new(Semaphore::new(1)),
        }
    }
}

impl CallExplainer {
    /// Explains what would be decided on a call now, once there is a place. Only one call at a time is searched for changes;
    /// the others are explained as if their time were up.
    pub(super) async fn explain(
        &self,
        service: &Arc<Service>,
        ask: RequestMeta<'_>,
        call: &CallContext,
    ) -> CallExplanation {
        let left = ask.deadline.left(Instant::now()).unwrap_or(MAX_SEARCH);
        let place = Arc::clone(&self.places).acquire_owned();
        let place = tokio::time::timeout(left.min(MAX_SEARCH) / WAIT_PART, place).await;
        let Ok(Ok(place)) = place else {
            return CallExplanation::NoPlace;
        };
        let search = Arc::clone(&self.searches).try_acquire_owned().ok();
        let (service, ask, call) = (
            Arc::clone(service),
            OwnedRequestMeta::from(&ask),
            call.clone(),
        );
        let explained = tokio::task::spawn_blocking(move || {
            // Held until it is made, also if nobody waits for it any more.
            let _place = place;
            explain_now(&service, ask.borrowed(), &call, search)
        });
        match explained.await {
            Ok(Some(explained)) => CallExplanation::Made(Box::new(explained)),
            Ok(None) | Err(_) => CallExplanation::NotMade,
        }
    }
}

fn explain_now(
    service: &Service,
    ask: RequestMeta<'_>,
    call: &CallContext,
    search: Option<OwnedSemaphorePermit>,
) -> Option<ExplainedCall> {
    let mut limits = explanation::limits(ask.deadline);
    if search.is_none() {
        limits.until = Some(Instant::now());
    }
    let explained = service.inspect(ask, call, |inputs, asker, now| {
        explain::explain(inputs, call, asker, now, limits)
    });
    drop(search);
    let (found, revision) = explained?;
    let decision = outcome(found.verdict.outcome).into();
    let mut made = v1::Explanation::default();
    explanation::fill(&mut made, found);
    Some(ExplainedCall {
        explanation: made,
        decision,
        revision,
    })
}

impl CallExplanation {
    /// Adds the explanation to the response, unless they are about different states or came to different decisions.
    pub(super) fn add_to(self, response: &mut v1::AuthorizeResponse) {
        // What is only observed is explained as it was decided, not as it was answered.
        let decided = match response.observed {
            true => response.observed_decision,
            false => response.decision,
        };
        let Some(explanation) = &mut response.explanation else {
            return;
        };
        match self {
            Self::Made(made) if made.revision == response.revision && made.decision == decided => {
                *explanation = v1::Explanation {
                    principals: std::mem::take(&mut explanation.principals),
                    shadow_policy_ids: std::mem::take(&mut explanation.shadow_policy_ids),
                    targets: std::mem::take(&mut explanation.targets),
                    ..made.explanation
                };
            }
            Self::Made(_) | Self::NotMade => {}
            Self::NoPlace => {
                explanation.proposals_out_of_time = decided == i32::from(v1::Decision::Deny);
            }
        }
    }
}

#[cfg(test)]
#[path = "explainer_tests.rs"]
mod tests;

//! Requests of either kind, calls and Cedar's own: one, or several decided from one generation.

use crate::domain::decide::is_authorized::ParcRequest;
use crate::domain::decide::verdict::{Decision, Reason, Verdict};
use crate::domain::request::call_context::CallContext;
use crate::service::Service;
use crate::service::deadline::ServiceError;
use crate::service::in_flight::Pinned;
use crate::service::listing::PendingList;
use crate::service::pending::BegunCall;
use crate::service::recording::UntoldDecision;
use crate::service::request::{RequestMeta, Response};

/// One request.
#[derive(Debug, Clone)]
pub enum BatchItem {
    /// Cedar's own request.
    Cedar(Box<ParcRequest>),
    /// A call.
    Call(Box<CallContext>),
    /// A call; if it lacks arguments that its tool requires, the request is whether the tool is shown in lists.
    CallOrEntry(Box<CallContext>),
}

/// A request with a response, or waiting for its side effects or its record to be written.
enum BatchProgress<'a> {
    Ready(Response<Box<Verdict>>),
    Call(BegunCall<'a, Box<CallContext>>),
    Cedar(UntoldDecision<'a, Box<ParcRequest>>),
    Entry(PendingList<'a, Box<CallContext>>),
}

impl Service {
    /// Decides one request.
    ///
    /// # Errors
    ///
    /// As [`Service::authorize_now`].
    pub async fn decide_item(
        &self,
        ask: RequestMeta<'_>,
        question: BatchItem,
    ) -> Result<Response<Box<Verdict>>, ServiceError> {
        let mut pinned = self.pin()?;
        let begun = self.start_item(ask, &mut pinned, question).await?;
        self.finish_item(begun).await
    }

    /// Decides several requests in order, each on the side effects of those before it, up to the first response with
    /// the decision `until`. They are decided from one generation, as long as none has to wait: with `until` each waits for
    /// the one before it to be on record. Then it is the newest, as what was taken away meanwhile is taken away. A request
    /// that could not be parsed counts as a deny, and its error stands for its
    /// response.
    ///
    /// # Errors
    ///
    /// As [`Service::authorize_now`].
    pub async fn decide_batch<E>(
        &self,
        ask: RequestMeta<'_>,
        questions: impl Iterator<Item = Result<BatchItem, E>>,
        until: Option<Decision>,
    ) -> Result<Vec<Result<Response<Box<Verdict>>, E>>, ServiceError> {
        let mut pinned = self.pin()?;
        let mut begun = Vec::new();
        for question in questions {
            ask.deadline.check()?;
            let one = match question {
                Err(error) => Err(error),
                Ok(question) => {
                    if until.is_some() && !begun.is_empty() {
                        pinned = self.pin()?;
                    }
                    let one = self.start_item(ask, &mut pinned, question).await?;
                    Ok(match until {
                        // Whether this is the last one depends on its response.
                        Some(_) => BatchProgress::Ready(self.finish_item(one).await?),
                        None => one,
                    })
                }
            };
            let is_last = until.is_some_and(|until| match &one {
                Ok(BatchProgress::Ready(answer)) => answer.value.outcome == until,
                Ok(_) => false,
                Err(_) => until == Decision::Deny,
            });
            begun.push(one);
            if is_last {
                break;
            }
        }
        let mut answers = Vec::with_capacity(begun.len());
        for one in begun {
            answers.push(match one {
                Ok(one) => Ok(self.finish_item(one).await?),
                Err(error) => Err(error),
            });
        }
        Ok(answers)
    }

    /// Decides one request, once its session is had.
    async fn start_item<'a>(
        &'a self,
        ask: RequestMeta<'a>,
        pinned: &mut Pinned,
        question: BatchItem,
    ) -> Result<BatchProgress<'a>, ServiceError> {
        let pending = self.start_request(ask, self.pin_again(pinned));
        let call = match question {
            BatchItem::Cedar(question) => {
                let decision = self.decide_request(&pending, &question);
                let untold = self.begin_record(pending, question, decision);
                return Ok(BatchProgress::Cedar(untold));
            }
            BatchItem::CallOrEntry(call) => match self.entry_of(&pending, &call) {
                Some((listing, offered)) => {
                    let denied = self.hold_session(&ask, &listing).await;
                    *pinned = self.pin()?;
                    let pending = self.start_request(ask, pinned.clone());
                    let listing = Box::new(listing);
                    let list = self.filter_from(pending, denied, listing, &[offered])?;
                    return Ok(BatchProgress::Entry(list));
                }
                None => call,
            },
            BatchItem::Call(call) => call,
        };
        let progress = self.start_in_turn(ask, &call, pinned).await?;
        Ok(match progress.of(self, call) {
            BegunCall::Ready(answer) => BatchProgress::Ready(answer),
            begun => BatchProgress::Call(begun),
        })
    }

    async fn finish_item(
        &self,
        begun: BatchProgress<'_>,
    ) -> Result<Response<Box<Verdict>>, ServiceError> {
        match begun {
            BatchProgress::Ready(answer) => Ok(answer),
            BatchProgress::Call(begun) => self.finish_call(begun).await,
            BatchProgress::Cedar(untold) => Ok(self.finish_record(untold).await),
            BatchProgress::Entry(list) => {
                let shown = self.finish_list(list).await;
                Ok(shown.map(|verdicts| {
                    Box::new(match verdicts.into_iter().next().flatten() {
                        None => Verdict::allow_unconditionally(),
                        Some(code) => {
                            Verdict::deny(Reason::new(code, "this is not shown in lists"))
                        }
                    })
                }))
            }
        }
    }
}

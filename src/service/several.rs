//! Questions of either kind, calls and Cedar's own: one, or several in one go, which are decided from one generation.

use std::sync::Arc;

use crate::call::context::CallContext;
use crate::call::decision::{Decision, Outcome};
use crate::service::deadline::Unanswered;
use crate::service::decisions::{Answer, Ask, CedarQuestion, Later, Now, Service};
use crate::service::generation::Generation;

/// One question.
#[derive(Debug, Clone)]
pub enum Either {
    /// Cedar's own.
    Cedar(Box<CedarQuestion>),
    /// Whether a call may be made.
    Call(Box<CallContext>),
    /// The same, and where the call lacks arguments that its tool requires, whether the tool is shown in lists.
    CallOrEntry(Box<CallContext>),
}

/// A question that is answered, or waits for what it used up to be written.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are answers; a box would be an allocation for each"
)]
enum Begun<'a> {
    Answered(Answer<Decision>),
    Later(Later<'a>, Box<CallContext>),
}

impl Service {
    /// Decides one.
    pub async fn decide_either(
        &self,
        ask: Ask<'_>,
        question: Either,
    ) -> Result<Answer<Decision>, Unanswered> {
        let generation = self.live().ok_or(Unanswered::NotReady)?;
        let begun = self.begin_either(ask, generation, question)?;
        self.finish_begun(begun).await
    }

    /// Decides several, in order: with what those before it left behind, until there is an answer of the outcome
    /// `until`. A question that could not be read counts as a deny, and its error stands for its answer.
    pub async fn decide_each<E>(
        &self,
        ask: Ask<'_>,
        questions: impl Iterator<Item = Result<Either, E>>,
        until: Option<Outcome>,
    ) -> Result<Vec<Result<Answer<Decision>, E>>, Unanswered> {
        let generation = self.live().ok_or(Unanswered::NotReady)?;
        let mut begun = Vec::new();
        for question in questions {
            ask.deadline.check()?;
            let one = match question {
                Err(error) => Err(error),
                Ok(question) => {
                    let one = self.begin_either(ask, Arc::clone(&generation), question)?;
                    Ok(match until {
                        // Whether this is the last one is not known before it is answered.
                        Some(_) => Begun::Answered(self.finish_begun(one).await?),
                        None => one,
                    })
                }
            };
            let is_last = until.is_some_and(|until| match &one {
                Ok(Begun::Answered(answer)) => answer.value.outcome == until,
                Ok(Begun::Later(..)) => false,
                Err(_) => until == Outcome::Deny,
            });
            begun.push(one);
            if is_last {
                break;
            }
        }
        let mut answers = Vec::with_capacity(begun.len());
        for one in begun {
            answers.push(match one {
                Ok(one) => Ok(self.finish_begun(one).await?),
                Err(error) => Err(error),
            });
        }
        Ok(answers)
    }

    fn begin_either<'a>(
        &self,
        ask: Ask<'a>,
        generation: Arc<Generation>,
        question: Either,
    ) -> Result<Begun<'a>, Unanswered> {
        let pending = self.start(ask, generation);
        let call = match question {
            Either::Cedar(question) => {
                return Ok(Begun::Answered(self.answer(&pending, &question)));
            }
            Either::CallOrEntry(call) => match self.entry_from(&pending, &call)? {
                Some(answer) => return Ok(Begun::Answered(answer)),
                None => call,
            },
            Either::Call(call) => call,
        };
        Ok(match self.begin(pending, &call, None) {
            Now::Answered(answer) => Begun::Answered(answer),
            Now::Later(later) => Begun::Later(later, call),
        })
    }

    async fn finish_begun(&self, begun: Begun<'_>) -> Result<Answer<Decision>, Unanswered> {
        match begun {
            Begun::Answered(answer) => Ok(answer),
            Begun::Later(later, call) => self.finish(later, &call).await,
        }
    }
}

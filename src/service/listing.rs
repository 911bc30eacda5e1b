//! What a server offers, and what of it the subject could use.

use smol_str::SmolStr;

use crate::audit::record::Question;
use crate::call::context::CallContext;
use crate::call::decision::{Decision, ReasonCode};
use crate::call::listing::{self, Hidden, Offered};
use crate::call::model;
use crate::service::deadline::Unanswered;
use crate::service::decisions::{Answer, Ask, Service};

impl Service {
    /// Says of each whether the subject could use it, in order; as a whole it is one record. The operation
    /// of `call` is the listing: which server, and what is listed.
    pub async fn filter(
        &self,
        ask: Ask<'_>,
        call: &CallContext,
        offered: &[Offered],
    ) -> Result<Answer<Vec<Hidden>>, Unanswered> {
        let (pending, stale) = self.take(ask).await?;
        let filtered = match stale {
            Some(reason) => Err(reason),
            None => pending.guarded(Err, |generation, asker| {
                let seen = self.facts().look(generation, call, pending.started_at);
                let world = self.world(generation, seen.past());
                let in_time = offered.iter().take_while(|_| !ask.deadline.is_over());
                listing::filter(world, call, in_time, asker, pending.started_at)
            }),
        };
        if filtered
            .as_ref()
            .is_ok_and(|verdicts| verdicts.len() < offered.len())
        {
            return Err(Unanswered::Late);
        }
        let (decision, verdicts) = match filtered {
            Ok(verdicts) => (Decision::allow_unconditionally(), verdicts),
            Err(reason) => {
                let hidden = Some(reason.code);
                (Decision::deny(reason), vec![hidden; offered.len()])
            }
        };
        if decision.is_allow() {
            self.remember(&call.operation.server, offered, &verdicts);
        }
        let hidden = verdicts.iter().flatten().count();
        let question = Question::Filter {
            call,
            kept: verdicts.len() - hidden,
            hidden,
        };
        let answer = self.record(&pending, question, decision);
        Ok(answer.map(|_| verdicts))
    }

    /// Calls that come later do not show what they are calls of.
    fn remember(&self, server: &SmolStr, offered: &[Offered], verdicts: &[Hidden]) {
        for (offered, hidden) in offered.iter().zip(verdicts) {
            let Offered::Tool {
                name,
                definition: Some(definition),
            } = offered
            else {
                continue;
            };
            if *hidden == Some(ReasonCode::ToolUnknown) {
                continue;
            }
            let is_pinned = *hidden != Some(ReasonCode::ToolChanged);
            let tool = model::tool(server, name);
            self.facts().definitions.shown(&tool, definition, is_pinned);
        }
    }
}

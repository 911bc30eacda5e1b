//! Ends sessions.

use crate::control::error::ControlError;
use crate::control::requester::WriteRequester;
use crate::control::write::{Control, WriteReceipt};
use crate::control::write_context::{GovernContext, WriteContext};
use crate::domain::authority::change::Change;
use crate::domain::ids::SessionId;
use crate::service::ledger::PlannedChange;

impl Control {
    /// Ends a session: nothing is allowed in it any more, whether it has begun or not. Repeating it succeeds and
    /// changes nothing. Returns the revision.
    ///
    /// # Errors
    ///
    /// [`ControlError::LimitExceeded`] if no more unknown sessions can be ended, [`ControlError::Denied`] if Cedar
    /// does not allow it, and the errors of a write.
    pub async fn end_session(
        &self,
        author: &WriteRequester,
        session: SessionId,
    ) -> Result<WriteReceipt<()>, ControlError> {
        let plan = move |context: &WriteContext<'_>| {
            context.set_object(session.text().clone());
            context.govern("end_session", &context.gateway(), GovernContext::default())?;
            if !context.service.facts().sessions.can_end(&session) {
                let message = "as many sessions as can be remembered were ended for good: stop the agent instead";
                return Err(ControlError::LimitExceeded(message.to_owned()));
            }
            check_room(context, &session)?;
            Ok(PlannedChange {
                verb: "EndSession",
                id: session.text().clone(),
                change: Change::SessionEnded { session },
            })
        };
        let written = self.write("EndSession", author, plan).await?;
        Ok(WriteReceipt {
            value: (),
            revision: written.revision,
            is_durable: written.is_durable,
            is_recorded: written.is_recorded,
        })
    }
}

/// Anybody can invent ids. A session in use can always be ended; unknown ones have a share of the capacity, so that
/// ending them takes no room from sessions that begin.
fn check_room(context: &WriteContext<'_>, session: &SessionId) -> Result<(), ControlError> {
    let sessions = &context.service.facts().sessions;
    let percent = context.limits.ended_unbegun_percent;
    let room = context
        .service
        .settings()
        .sessions
        .saturating_mul(percent as usize)
        / 100;
    if sessions.is_known(session) || sessions.ended_unbegun() < room.max(1) {
        return Ok(());
    }
    let message = format!(
        "{room} sessions were ended that never began, as many as `limits.ended_unbegun_percent` of \
         `limits.sessions` allows"
    );
    Err(ControlError::LimitExceeded(message))
}

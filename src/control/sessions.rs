//! Sessions: ended.

use smol_str::SmolStr;

use crate::call::live::change::Change;
use crate::control::author::Author;
use crate::control::error::ControlError;
use crate::control::write::{About, Control, Done, Scene};
use crate::service::ledger::Plan;

impl Control {
    /// Ends a session: nothing is allowed in it any more, whether it has begun or not. Doing so again
    /// succeeds and changes nothing. Gives the revision.
    pub async fn end_session(
        &self,
        author: &Author,
        session: SmolStr,
    ) -> Result<Done<()>, ControlError> {
        let plan = move |scene: &Scene<'_>| {
            scene.govern("end_session", &scene.gateway(), About::default())?;
            if !scene.service.facts().sessions.can_end(&session) {
                let message = "as many sessions as can be remembered were ended for good: stop the agent instead";
                return Err(ControlError::TooMany(message.to_owned()));
            }
            Ok(Plan {
                verb: "EndSession",
                id: session.clone(),
                change: Change::SessionEnded { session },
            })
        };
        let written = self.write("EndSession", author, plan).await?;
        Ok(Done {
            value: (),
            revision: written.revision,
            is_durable: written.is_durable,
        })
    }
}

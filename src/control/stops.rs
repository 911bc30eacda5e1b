//! Stops: agents, users, servers and tools that take part in nothing until they are resumed.

use std::sync::Arc;

use callgate_engine::cedar::EntityUID;
use smol_str::{SmolStr, ToSmolStr};

use crate::control::entities::planned;
use crate::control::error::ControlError;
use crate::control::requester::WriteRequester;
use crate::control::write::{Control, WriteReceipt};
use crate::control::write_context::{GovernContext, WriteContext};
use crate::domain::authority::change::Change;
use crate::domain::authority::stop::Stop;
use crate::domain::schema::TYPES;

/// The most stops at a time: as many as `GetStatus` reports.
const MOST_STOPPED: usize = 1_000;

impl Control {
    /// Stops an agent, a user, a server or a tool, whatever defines it: its next call is denied before any policy is
    /// asked. Repeating it replaces the reason. Returns the revision.
    ///
    /// # Errors
    ///
    /// [`ControlError::Invalid`] for another type, [`ControlError::NotFound`] for an unknown name,
    /// [`ControlError::Denied`] if Cedar does not allow it, and the errors of a write.
    pub async fn stop_entity(
        &self,
        author: &WriteRequester,
        uid: EntityUID,
        reason: SmolStr,
    ) -> Result<WriteReceipt<()>, ControlError> {
        let why = Some(reason.clone());
        let plan = move |context: &WriteContext<'_>| {
            context.set_object(uid.to_smolstr());
            check_stop(context, &uid)?;
            context.govern("stop_entity", &uid, GovernContext::default())?;
            let stop = Stop {
                uid: uid.clone(),
                reason,
                at: context.now,
                by: context.actor().clone(),
            };
            // A stop with the same reason stays unchanged: the first time and requester are kept.
            let stops = &context.generation.authority.stops;
            let same = stops.get(&uid).filter(|it| it.reason == stop.reason);
            let change = Change::Stopped(same.map_or_else(|| Arc::new(stop), Arc::clone));
            Ok(planned("StopEntity", &uid, change))
        };
        let written = self.write_because("StopEntity", author, why, plan).await?;
        Ok(WriteReceipt {
            value: (),
            revision: written.revision,
            is_durable: written.is_durable,
            is_recorded: written.is_recorded,
        })
    }

    /// Lifts a stop. Returns the revision.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotFound`] if there is no such stop, and the errors of a write.
    pub async fn resume_entity(
        &self,
        author: &WriteRequester,
        uid: EntityUID,
    ) -> Result<u64, ControlError> {
        let plan = move |context: &WriteContext<'_>| {
            context.set_object(uid.to_smolstr());
            check_type(&uid)?;
            context.govern("resume_entity", &uid, GovernContext::default())?;
            if !context.generation.authority.stops.contains_key(&uid) {
                return Err(ControlError::not_found("stop", &uid.to_smolstr()));
            }
            let change = Change::Resumed { uid: uid.clone() };
            Ok(planned("ResumeEntity", &uid, change))
        };
        Ok(self.write("ResumeEntity", author, plan).await?.revision)
    }
}

fn check_type(uid: &EntityUID) -> Result<(), ControlError> {
    if Stop::is_stoppable(uid) {
        return Ok(());
    }
    let message = "is none of those that can be stopped: an agent, a user, a server or a tool";
    Err(ControlError::invalid("uid", message))
}

/// Rejects unknown names, so that a misspelt one does not pass for a stop. Users may be known to the identity provider
/// only, and an agent that is gone may come back to what was delegated to it.
fn check_stop(context: &WriteContext<'_>, uid: &EntityUID) -> Result<(), ControlError> {
    check_type(uid)?;
    // An actor cannot stop itself: somebody who may lift stops remains.
    if uid == context.actor() {
        let message = "nobody stops themselves: somebody else has to";
        return Err(ControlError::Precondition(message.to_owned()));
    }
    let is_user = *uid.entity_type() == TYPES.user;
    let generation = context.generation;
    if !is_user && !generation.snapshot.contains(uid) && !generation.authority.names(uid) {
        return Err(ControlError::not_found("entity", &uid.to_smolstr()));
    }
    let stops = &context.generation.authority.stops;
    if stops.size() >= MOST_STOPPED && !stops.contains_key(uid) {
        let message = format!("{MOST_STOPPED} are stopped already, and no more can be at a time");
        return Err(ControlError::LimitExceeded(message));
    }
    Ok(())
}

//! Holds a request against the schema: whether it conforms and, if not, what is missing or wrong.

use crate::actions::Difference;
use crate::cedar::{Attributes, Context, EntityUID, Extensions, RequestSchema, Type};
use crate::conformance::{find_missing, is_record_of, is_value_of};
use crate::context::ContextSource;
use crate::error::RequestError;
use crate::overlay::{AssertedEntity, Overlay};
use crate::snapshot::Snapshot;

impl Snapshot {
    /// Checks that the action is declared and applies to a principal and a resource of these types.
    /// Without a schema every request passes.
    ///
    /// # Errors
    ///
    /// [`RequestError::Invalid`] with Cedar's message.
    pub fn check_scope(
        &self,
        principal: &EntityUID,
        action: &EntityUID,
        resource: &EntityUID,
    ) -> Result<(), RequestError> {
        let Some(schema) = self.schema() else {
            return Ok(());
        };
        if self.applies_certainly(principal, action, resource) {
            return Ok(());
        }
        schema
            .validate_scope_variables(Some(principal), Some(action), Some(resource))
            .map_err(|error| RequestError::Invalid(error.to_string()))
    }

    fn applies_certainly(
        &self,
        principal: &EntityUID,
        action: &EntityUID,
        resource: &EntityUID,
    ) -> bool {
        self.action(action).is_some_and(|action| {
            action.principals.contains(principal.entity_type())
                && action.resources.contains(resource.entity_type())
        })
    }

    /// The attributes that the context of a known action may have. `None` without a schema, or if the schema
    /// does not declare the action.
    pub fn context_attributes(&self, action: &EntityUID) -> Option<&Attributes> {
        self.action(action)?.context.as_ref()
    }

    /// Whether the context of an action may have an attribute of this name. Without a schema it may have
    /// any.
    pub fn declares_context_attribute(&self, action: &EntityUID, name: &str) -> bool {
        self.schema().is_none()
            || self
                .context_attributes(action)
                .is_some_and(|attributes| attributes.get_attr(name).is_some())
    }

    /// Checks a context against what the action declares. Without a schema every context passes.
    ///
    /// # Errors
    ///
    /// [`RequestError::ContextMissing`] with all missing attributes at once, or
    /// [`RequestError::Invalid`] with Cedar's message.
    pub fn check_context(&self, action: &EntityUID, context: &Context) -> Result<(), RequestError> {
        let Some(schema) = self.schema() else {
            return Ok(());
        };
        if let (Some(attributes), Context::Value(values)) =
            (self.context_attributes(action), context)
            && is_record_of(schema, attributes, values)
        {
            return Ok(());
        }
        let Err(error) = schema.validate_context(context, action, Extensions::all_available())
        else {
            return Ok(());
        };
        let mut missing = Vec::new();
        if let (Some(Type::Record { attrs, .. }), Context::Value(values)) =
            (schema.context_type(action), context)
        {
            find_missing(attrs, &|name| values.get(name), "", &mut missing);
        }
        if missing.is_empty() {
            return Err(RequestError::Invalid(error.to_string()));
        }
        Err(RequestError::ContextMissing(missing))
    }

    /// Checks a context of which it is known that it conforms to what another action declares: only the
    /// attributes that `action` declares otherwise, or that one of the two does not declare, are looked at.
    /// What this comes to is worked out once for each action.
    ///
    /// `context` has to conform to what `like` declares, but for attributes that only `action` declares.
    /// Without a schema every context passes.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::check_context`].
    pub fn check_context_like(
        &self,
        action: &EntityUID,
        like: &EntityUID,
        context: &dyn ContextSource,
    ) -> Result<(), RequestError> {
        let Some(schema) = self.schema() else {
            return Ok(());
        };
        let conforms = |differences: &[Difference]| {
            let mut differences = differences.iter();
            differences.all(|difference| difference.allows(schema, context))
        };
        match self
            .action(action)
            .and_then(|known| known.differences(like, schema))
        {
            Some(differences) if conforms(differences) => Ok(()),
            _ => self.check_context(action, &context.to_context()),
        }
    }

    /// The overlay of an asserted entity. Attributes that the schema does not declare are left out, as no
    /// policy can read them. Without a schema all are taken.
    ///
    /// # Errors
    ///
    /// [`RequestError::Invalid`] for an attribute of another type than the declared one.
    pub fn overlay(&self, asserted: &AssertedEntity) -> Result<Overlay, RequestError> {
        let mut overlay = Overlay::bare(asserted.uid.clone());
        let Some(schema) = self.schema() else {
            overlay.attributes.clone_from(&asserted.attributes);
            return Ok(overlay);
        };
        let Some(declared) = schema.get_entity_type(asserted.uid.entity_type()) else {
            return Ok(overlay);
        };
        for (name, value) in &asserted.attributes {
            let Some(attribute) = declared.attr(name) else {
                continue;
            };
            if !is_value_of(schema, &attribute.attr_type, value) {
                let uid = &asserted.uid;
                let fault = format!("the attribute `{name}` of `{uid}` has another type");
                return Err(RequestError::Invalid(fault));
            }
            overlay.attributes.push((name.clone(), value.clone()));
        }
        Ok(overlay)
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;

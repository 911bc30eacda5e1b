//! The context of a plain Cedar request.

use callgate_engine::cedar::{
    AttributeType, Context, ContextJsonParser, ContextSchema, EntityUID, Extensions, Type,
    ValidatorSchema, context_schema_for_action,
};
use serde_json::{Map, Value as Json};

use crate::adapters::input::entity_types::EntityTypeCache;
use crate::adapters::input::typed_context;
use crate::domain::authority::labels;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::request::cedar_number;
use crate::domain::schema;

/// A parsed context.
pub(in crate::adapters) struct ParsedContext {
    /// The context, without what Cedar has no value for.
    pub(in crate::adapters) context: Context,
    /// Why the request is denied, if something was left out.
    pub(in crate::adapters) denied: Option<Reason>,
}

/// Parses a context as Cedar's own tools do: guided by the schema where that succeeds, otherwise literally. A
/// context that does not conform to the schema is denied by the decision, with its reason; one with a number that
/// Cedar does not have, with the reason that comes with it.
pub(in crate::adapters) fn cedar_context(
    mut fields: Json,
    schema: Option<&ValidatorSchema>,
    action: &EntityUID,
    types: &EntityTypeCache,
) -> Result<ParsedContext, String> {
    let fits = |context| ParsedContext {
        context,
        denied: None,
    };
    let extensions = Extensions::all_available();
    let expected = schema.and_then(|schema| schema.context_type(action));
    if let (Json::Object(fields), true) = (&mut fields, needs_labels(expected, action)) {
        let unknown = || labels::UNKNOWN_ORIGIN.as_slice().into();
        fields.entry(LABELS).or_insert_with(unknown);
    }
    if let (Json::Object(fields), Some(expected)) = (&fields, expected)
        && let Some(context) = typed_context::read(fields, expected, types)
    {
        return Ok(fits(context));
    }
    if let Some(expected) = schema.and_then(|schema| context_schema_for_action(schema, action))
        && let Ok(context) =
            ContextJsonParser::new(Some(&expected), extensions).from_json_value(fields.clone())
    {
        return Ok(fits(context));
    }
    let denied = match &mut fields {
        Json::Object(fields) => leave_out_unfit(fields, "context"),
        _ => None,
    };
    let context = ContextJsonParser::new(None::<&ContextSchema>, extensions)
        .from_json_value(fields)
        .map_err(|error| error.to_string())?;
    Ok(ParsedContext { context, denied })
}

/// Removes the members with numbers that Cedar does not have, and returns the reason for which the request is then
/// denied.
pub(in crate::adapters) fn leave_out_unfit(
    fields: &mut Map<String, Json>,
    place: &str,
) -> Option<Reason> {
    let mut denied = None;
    fields.retain(|name, value| {
        let unfit = cedar_number::unfit(value, &cedar_number::member(place, name));
        let fits = unfit.is_none();
        let reason = unfit.map(|said| Reason::new(ReasonCode::ContextInvalid, said));
        denied = denied.take().or(reason);
        fits
    });
    denied
}

/// The context attribute with the labels of what the call has read.
const LABELS: &str = "labels";

/// Whether a built-in action requires labels.
fn needs_labels(context: Option<&Type>, action: &EntityUID) -> bool {
    let Some(Type::Record { attrs, .. }) = context else {
        return false;
    };
    let is_required = |attribute: &AttributeType| attribute.is_required();
    action.entity_type() == schema::action_uid(LABELS).entity_type()
        && attrs.get_attr(LABELS).is_some_and(is_required)
}

#[cfg(test)]
#[path = "cedar_context_tests.rs"]
mod tests;

//! Parses AuthZEN's subject, action, resource and context into a Cedar request.

use std::borrow::Cow;
use std::collections::BTreeMap;

use callgate_engine::cedar::{
    Context, ContextJsonParser, ContextSchema, Eid, EntityType, EntityUID, Extensions,
    ValidatorSchema,
};
use callgate_engine::{AssertedEntity, obligation};
use serde_json::{Map, Value as Json};

use crate::adapters::authzen::declared;
use crate::adapters::input::cedar_context::{ParsedContext, cedar_context, leave_out_unfit};
use crate::adapters::input::entity_types::EntityTypeCache;
use crate::adapters::input::field_error::{
    FieldContext as _, FieldError, FieldProblem, TextExcerpt,
};
use crate::adapters::input::json::check_depth;
use crate::adapters::input::json_fields::{id, object, optional_object};
use crate::config::limits::Limits;
use crate::domain::decide::is_authorized::ParcRequest;
use crate::domain::decide::verdict::{Reason, ReasonCode};
use crate::domain::request::nulls::without_nulls;
use crate::domain::request::trace_context::TraceContext;

/// The entity type that stands for a type that is no Cedar name.
const NAMELESS: &str = "Authzen::Nameless";

/// The entity type of actions without a namespace.
const ACTION: &str = "Action";

/// The inputs of parsing besides the request.
#[derive(Clone, Copy)]
pub(super) struct EvaluationParser<'a> {
    /// The limits in force.
    pub(super) limits: &'a Limits,
    /// Parsed entity type names.
    pub(super) types: &'a EntityTypeCache,
    /// Configured names of entity types.
    pub(super) named_types: &'a TypeAliases,
    /// Whether the caller's assertions about subjects and resources count.
    pub(super) properties_count: bool,
    /// The trace context of the request.
    pub(super) trace: &'a TraceContext,
}

/// Entity types under the names that `[authzen.types]` gives them.
#[derive(Debug, Default)]
pub(super) struct TypeAliases(BTreeMap<String, EntityType>);

impl TypeAliases {
    /// Builds the table from checked configuration.
    pub(super) fn of(named: &BTreeMap<String, String>) -> Self {
        let types = named.iter().filter_map(|(name, ty)| {
            let ty = EntityType::from_normalized_str(ty).ok()?;
            Some((name.clone(), ty))
        });
        Self(types.collect())
    }
}

/// The fields at the top of a batch that its items fall back on.
pub(super) struct Defaults<'m>(&'m Map<String, Json>);

/// The four fields of an evaluation, and whether the field has a `type`.
const FIELDS: [(&str, bool); 4] = [
    ("subject", true),
    ("action", false),
    ("resource", true),
    ("context", false),
];

const TYPE: &str = "type";
const PROPERTIES: &str = "properties";

impl<'m> Defaults<'m> {
    /// Reads the defaults at the top of a batch.
    pub(super) fn of(request: &'m Map<String, Json>) -> Result<Self, FieldError> {
        for (field, _) in FIELDS {
            optional_object(request, field)?;
        }
        Ok(Self(request))
    }

    /// Completes one item with the defaults. A field of the item replaces the default field as a whole; only
    /// a missing `type` is taken from the default. A missing `id` or `name` is not, so that a lost id never
    /// becomes another entity.
    pub(super) fn fill(&self, item: &'m Json) -> Result<Map<String, Json>, FieldError> {
        let Json::Object(item) = item else {
            let problem = FieldProblem::NotOfShape("an object");
            return Err(FieldError::new("evaluations[]", problem));
        };
        let mut filled = Map::new();
        for (field, has_type) in FIELDS {
            let default = optional_object(self.0, field)?;
            let Some(own) = optional_object(item, field)?.or(default) else {
                continue;
            };
            let mut own = own.clone();
            let lacks_type = has_type && own.get(TYPE).is_none_or(Json::is_null);
            if let (true, Some(ty)) = (lacks_type, default.and_then(|it| it.get(TYPE))) {
                own.insert(TYPE.to_owned(), ty.clone());
            }
            filled.insert(field.to_owned(), Json::Object(own));
        }
        Ok(filled)
    }
}

impl EvaluationParser<'_> {
    /// Parses a whole evaluation.
    pub(super) fn question(
        &self,
        request: &Map<String, Json>,
        schema: Option<&ValidatorSchema>,
    ) -> Result<ParcRequest, FieldError> {
        let mut denied: Option<Reason> = None;
        let mut party = |field| -> Result<EntityUID, FieldError> {
            let (party, undeclared) = self.named_party(request, field)?;
            denied = undeclared.or(denied.take());
            Ok(party)
        };
        let principal = party("subject")?;
        let action = self.action(request)?;
        let resource = party("resource")?;
        let ParsedContext {
            context,
            denied: of_context,
        } = self.context(request, &action, schema)?;
        denied = denied.or(of_context);
        let parties = [("subject", &principal), ("resource", &resource)];
        let asserted = self.all_asserted(request, &parties, schema, &mut denied)?;
        Ok(ParcRequest {
            principal,
            action,
            resource,
            context,
            asserted,
            denied,
            trace: self.trace.clone(),
        })
    }

    /// Parses a subject or resource. Of one whose type is no Cedar name it is a stand-in, with the reason of the deny.
    pub(super) fn named_party(
        &self,
        request: &Map<String, Json>,
        field: &'static str,
    ) -> Result<(EntityUID, Option<Reason>), FieldError> {
        match self.party(request, field) {
            Ok(party) => Ok((party, None)),
            Err(invalid) => {
                let FieldProblem::NotAnEntityType(name) = invalid.problem() else {
                    return Err(invalid);
                };
                let party = self.nameless(request, field, name)?;
                Ok((party, Some(undeclared(name))))
            }
        }
    }

    /// The stand-in for a subject or resource whose type is no Cedar name, so that no policy can name it.
    fn nameless(
        &self,
        request: &Map<String, Json>,
        field: &'static str,
        name: &TextExcerpt,
    ) -> Result<EntityUID, FieldError> {
        let id = id(object(request, field)?, self.limits.id_bytes, "id").within(field)?;
        let ty = self.types.exact(NAMELESS);
        let ty = ty.map_err(|problem| FieldError::new(TYPE, problem).inside(field))?;
        let id = format!("{name}::\"{id}\"");
        Ok(EntityUID::from_components(ty, Eid::new(id), None))
    }

    /// Parses a subject or resource by its type and id, exactly as given.
    pub(super) fn party(
        &self,
        request: &Map<String, Json>,
        field: &'static str,
    ) -> Result<EntityUID, FieldError> {
        let ty = self.party_type(request, field)?;
        let id = id(object(request, field)?, self.limits.id_bytes, "id").within(field)?;
        Ok(EntityUID::from_components(ty, Eid::new(id), None))
    }

    /// Parses the type of a subject or resource.
    pub(super) fn party_type(
        &self,
        request: &Map<String, Json>,
        field: &'static str,
    ) -> Result<EntityType, FieldError> {
        let name = id(object(request, field)?, self.limits.id_bytes, TYPE).within(field)?;
        if let Some(named) = self.named_types.0.get(name.as_str()) {
            return Ok(named.clone());
        }
        let exact = self.types.exact(&name);
        exact.map_err(|problem| FieldError::new(TYPE, problem).inside(field))
    }

    /// Parses the action: `read` is `Action::"read"`; an action in a namespace has its full name,
    /// `Mcp::Action::"call_read"`.
    pub(super) fn action(&self, request: &Map<String, Json>) -> Result<EntityUID, FieldError> {
        const FIELD: &str = "action";
        let name = id(object(request, FIELD)?, self.limits.id_bytes, "name").within(FIELD)?;
        if let Some(action) = full_action(&name) {
            return Ok(action);
        }
        let ty = self.types.exact(ACTION);
        let ty = ty.map_err(|problem| FieldError::new("name", problem).inside(FIELD))?;
        Ok(EntityUID::from_components(ty, Eid::new(name), None))
    }

    /// Parses the context, with the action's properties merged in and undeclared members dropped.
    pub(super) fn context(
        &self,
        request: &Map<String, Json>,
        action: &EntityUID,
        schema: Option<&ValidatorSchema>,
    ) -> Result<ParsedContext, FieldError> {
        const FIELD: &str = "context";
        let depth = self.limits.json_depth;
        let given = |members: Option<&Map<String, Json>>, field| {
            if let Some(members) = members {
                check_depth(members, depth, field)?;
            }
            let members = members.cloned().map(without_nulls).unwrap_or_default();
            let mut members = declared::context(schema, action, members);
            leave_known_types(&mut members);
            Ok(members)
        };
        let mut fields = given(optional_object(request, FIELD)?, FIELD)?;
        let properties = match optional_object(request, "action")? {
            Some(action) => optional_object(action, PROPERTIES).within("action")?,
            None => None,
        };
        for (name, value) in given(properties, "action.properties")? {
            if fields.get(&name).is_some_and(|known| *known != value) {
                let name = TextExcerpt::new(&name);
                let problem = FieldProblem::UnknownWord(name, "what `context` says");
                return Err(FieldError::new("action.properties", problem));
            }
            fields.insert(name, value);
        }
        cedar_context(Json::Object(fields), schema, action, self.types)
            .map_err(|said| FieldError::new(FIELD, FieldProblem::NotAContext(said)))
    }

    /// Returns the properties that the caller asserts about subject and resource, those about one entity united, and leaves
    /// the reason in `denied` if one of them is no value of Cedar.
    pub(super) fn all_asserted(
        &self,
        request: &Map<String, Json>,
        parties: &[(&'static str, &EntityUID)],
        schema: Option<&ValidatorSchema>,
        denied: &mut Option<Reason>,
    ) -> Result<Vec<AssertedEntity>, FieldError> {
        let mut all: Vec<AssertedEntity> = Vec::new();
        for (field, uid) in parties {
            let (asserted, unfit) = self.asserted(request, field, uid, schema)?;
            *denied = denied.take().or(unfit);
            let Some(asserted) = asserted else { continue };
            match all.iter_mut().find(|known| known.uid == asserted.uid) {
                Some(known) => unite(known, asserted, field)?,
                None => all.push(asserted),
            }
        }
        Ok(all)
    }

    /// Returns the properties that the caller asserts about a subject or resource, if its assertions count
    /// and there are any, and why the request is denied if one of them is no value of Cedar.
    fn asserted(
        &self,
        request: &Map<String, Json>,
        field: &'static str,
        uid: &EntityUID,
        schema: Option<&ValidatorSchema>,
    ) -> Result<(Option<AssertedEntity>, Option<Reason>), FieldError> {
        let party = object(request, field)?;
        let Some(properties) = optional_object(party, PROPERTIES).within(field)? else {
            return Ok((None, None));
        };
        if !self.properties_count {
            return Ok((None, None));
        }
        check_depth(properties, self.limits.json_depth, PROPERTIES).within(field)?;
        let fields = without_nulls(properties.clone());
        let mut fields = declared::properties(schema, uid.entity_type(), fields);
        let denied = leave_out_unfit(&mut fields, &format!("{field}.{PROPERTIES}"));
        let parser = ContextJsonParser::new(None::<&ContextSchema>, Extensions::all_available());
        let values = parser
            .from_json_value(Json::Object(fields))
            .map_err(|error| {
                let problem = FieldProblem::NotAContext(error.to_string());
                FieldError::new(PROPERTIES, problem).inside(field)
            })?;
        let Context::Value(values) = values else {
            return Ok((None, None));
        };
        let attributes = values
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let uid = uid.clone();
        Ok((Some(AssertedEntity { uid, attributes }), denied))
    }
}

/// Adds what `field` asserts of an entity of which another field asserts something.
fn unite(
    known: &mut AssertedEntity,
    more: AssertedEntity,
    field: &'static str,
) -> Result<(), FieldError> {
    for (name, value) in more.attributes {
        match known.attributes.iter().find(|(it, _)| *it == name) {
            None => known.attributes.push((name, value)),
            Some((_, same)) if *same == value => {}
            Some(_) => {
                let said = "says something else of the same entity than `subject.properties`";
                let place = format!("{field}.{PROPERTIES}.{}", TextExcerpt::new(&name));
                return Err(FieldError::new(place, FieldProblem::Contradiction(said)));
            }
        }
    }
    Ok(())
}

/// Keeps the supported obligation types that this version knows.
fn leave_known_types(members: &mut Map<String, Json>) {
    if let Some(Json::Array(supported)) = members.get_mut("supported_obligations") {
        supported.retain(|it| it.as_str().is_none_or(|it| obligation::TYPES.contains(&it)));
    }
}

/// The reason for a type that no schema can declare.
fn undeclared(name: &TextExcerpt) -> Reason {
    let message = format!("the schema declares no entity type `{name}`");
    let mut reason = Reason::new(ReasonCode::ContextInvalid, message);
    reason.detail = Some(format!("`[authzen.types]` can say which type `{name}` is"));
    reason
}

/// Parses the full name of an action.
fn full_action(name: &str) -> Option<EntityUID> {
    if !name.ends_with('"') {
        return None;
    }
    let uid: EntityUID = name.parse().ok()?;
    uid.is_action().then_some(uid)
}

/// The name under which AuthZEN asks about an action.
pub(super) fn action_name(action: &EntityUID) -> Cow<'_, str> {
    if action.entity_type().to_string() == ACTION {
        let id: &str = action.eid().as_ref();
        Cow::Borrowed(id)
    } else {
        Cow::Owned(action.to_string())
    }
}

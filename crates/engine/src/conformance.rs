//! Whether values have the types that a schema declares, in the common cases.
//!
//! Cedar's own check turns every value into an expression first, which costs more than a decision. The
//! functions here answer `true` only for what certainly conforms; the caller asks Cedar about the rest.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::cedar::{
    Attributes, BoolType, EntityKind, EntityType, Literal, Type, ValidatorEntityTypeKind,
    ValidatorSchema, Value, ValueKind,
};

/// Whether a record certainly has this type.
pub(crate) fn is_record_of(
    schema: &ValidatorSchema,
    declared: &Attributes,
    values: &BTreeMap<SmolStr, Value>,
) -> bool {
    let mut present = 0;
    for (name, attribute) in declared.iter() {
        match values.get(name) {
            None if attribute.is_required => return false,
            None => {}
            Some(value) if is_value_of(schema, &attribute.attr_type, value) => present += 1,
            Some(_) => return false,
        }
    }
    present == values.len()
}

/// Whether a value certainly has this type.
pub(crate) fn is_value_of(schema: &ValidatorSchema, declared: &Type, value: &Value) -> bool {
    match (declared, &value.value) {
        (Type::Bool(BoolType::AnyBool), ValueKind::Lit(Literal::Bool(_)))
        | (Type::Long, ValueKind::Lit(Literal::Long(_)))
        | (Type::String, ValueKind::Lit(Literal::String(_))) => true,
        (Type::Entity(EntityKind::Entity(types)), ValueKind::Lit(Literal::EntityUID(uid))) => {
            types.get_single_entity() == Some(uid.entity_type())
                && has_free_names(schema, uid.entity_type())
        }
        (
            Type::Set {
                element_type: Some(element),
            },
            ValueKind::Set(set),
        ) => set.iter().all(|item| is_value_of(schema, element, item)),
        (Type::Record { attrs, .. }, ValueKind::Record(record)) => {
            is_record_of(schema, attrs, record)
        }
        (Type::ExtensionType { name }, ValueKind::ExtensionValue(value)) => {
            value.typename() == *name
        }
        _ => false,
    }
}

/// Whether entities of this type may have any id. Those of an enumeration and actions may not.
pub(crate) fn has_free_names(schema: &ValidatorSchema, ty: &EntityType) -> bool {
    schema
        .get_entity_type(ty)
        .is_some_and(|ty| matches!(ty.kind, ValidatorEntityTypeKind::Standard(_)))
}

/// Appends the path of every required attribute that is missing, e.g. `input.title`.
pub(crate) fn find_missing<'v>(
    required: &Attributes,
    value_of: &dyn Fn(&str) -> Option<&'v Value>,
    prefix: &str,
    missing: &mut Vec<String>,
) {
    for (name, attribute) in required.iter() {
        let path = format!("{prefix}{name}");
        match value_of(name) {
            None if attribute.is_required => missing.push(path),
            None => {}
            Some(value) => {
                if let (Type::Record { attrs, .. }, ValueKind::Record(record)) =
                    (attribute.attr_type.as_ref(), &value.value)
                {
                    find_missing(
                        attrs,
                        &|name| record.get(name),
                        &format!("{path}."),
                        missing,
                    );
                }
            }
        }
    }
}

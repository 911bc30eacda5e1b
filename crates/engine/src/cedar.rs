//! Every name that Callgate takes from Cedar's crates.
//!
//! `cedar-policy-core` is the implementation behind `cedar-policy` and makes no promise of stability
//! between releases. All other modules, of this package and of its users, import from here, so an
//! upgrade of Cedar starts, and mostly ends, in this file.

pub use cedar_policy as api;

pub use cedar_policy_core::FromNormalizedStr;
pub use cedar_policy_core::ast::EntityUIDEntry;
pub use cedar_policy_core::ast::{
    ActionConstraint, Annotation, AnyId, BinaryOp, Context, Effect, Eid, Entity, EntityReference,
    EntityType, EntityUID, Expr, ExprBuilder, ExprKind, ExtensionFunction, InternalName, Literal,
    Name, PartialValue, Pattern, PatternElem, Policy, PolicyID, PolicySet, PrincipalConstraint,
    PrincipalOrResourceConstraint, Request, ResourceConstraint, RestrictedExpr, SlotEnv, SlotId,
    StaticPolicy, Template, UnaryOp, Value, ValueKind, Var,
};
pub(crate) use cedar_policy_core::ast::{RequestSchema, Set};
pub use cedar_policy_core::authorizer::Authorizer;
pub use cedar_policy_core::entities::conformance::EntitySchemaConformanceChecker;
pub use cedar_policy_core::entities::json::NullContextSchema;
pub use cedar_policy_core::entities::{
    ContextJsonParser, Entities, EntityJsonParser, NoEntitiesSchema, TCComputation,
};
pub(crate) use cedar_policy_core::evaluator::binary_relation;
pub use cedar_policy_core::evaluator::{Evaluator, RestrictedEvaluator};
pub use cedar_policy_core::expr_builder::ExprBuilder as BuildExpr;
pub use cedar_policy_core::extensions::Extensions;
pub use cedar_policy_core::parser::{Loc, parse_policyset};
pub use cedar_policy_core::tpe;
pub(crate) use cedar_policy_core::validator::ValidatorEntityTypeKind;
pub use cedar_policy_core::validator::json_schema::Fragment;
pub(crate) use cedar_policy_core::validator::types::BoolType;
pub use cedar_policy_core::validator::types::{
    AttributeType, Attributes, EntityKind, OpenTag, Type,
};
pub use cedar_policy_core::validator::{
    ContextSchema, CoreSchema, RawName, ValidationError, ValidationMode, ValidationWarning,
    Validator, ValidatorActionId, ValidatorSchema, ValidatorSchemaFragment,
    context_schema_for_action, validation_errors,
};

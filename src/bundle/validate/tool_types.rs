//! Explains errors of policies that read arguments of untyped tools.
//!
//! Start at [`ToolTypes::help`]. Policies read a tool's arguments as `context.input` under the tool's own action, which exists
//! only if the tool is registered with `"typed": true`. Otherwise Cedar reports an unknown action or attribute, which does
//! not point to the registration.

use std::collections::HashMap;

use callgate_engine::cedar::validation_errors::AttributeAccess;
use callgate_engine::cedar::{
    EntityReference, EntityUID, Expr, ExprKind, PrincipalOrResourceConstraint, Template,
    ValidationError, Var,
};
use smol_str::SmolStr;

use crate::bundle::files::SourceFile;
use crate::bundle::parse::registration::{AccessLevel, Registration};
use crate::domain::schema::TYPES;

/// The context attribute that holds a tool's arguments.
const INPUT: &str = "input";

/// The registered tools: which are typed, and their access levels.
#[derive(Debug)]
pub struct ToolTypes<'a> {
    /// By `<server>/<tool>`.
    tools: HashMap<String, ToolType<'a>>,
}

#[derive(Debug)]
struct ToolType<'a> {
    file: &'a str,
    is_typed: bool,
    access: AccessLevel,
}

impl<'a> ToolTypes<'a> {
    /// Collects the tools of all registrations.
    pub fn new(registrations: &[(&'a SourceFile, Registration)]) -> Self {
        let mut tools = HashMap::new();
        for (source, registration) in registrations {
            let source: &'a SourceFile = source;
            for (name, tool) in &registration.tools {
                let id = format!("{}/{name}", registration.server.name);
                let registered = ToolType {
                    file: &source.file,
                    is_typed: tool.typed,
                    access: tool.effective_access(),
                };
                tools.insert(id, registered);
            }
        }
        Self { tools }
    }

    /// Whether a tool is typed and so has its own action.
    pub fn is_typed(&self, id: &str) -> bool {
        self.tools.get(id).is_some_and(|it| it.is_typed)
    }

    /// The access level in force of a registered tool.
    pub fn access(&self, id: &str) -> Option<AccessLevel> {
        self.tools.get(id).map(|it| it.access)
    }

    /// The help for an error that an untyped tool causes.
    pub fn help(&self, error: &ValidationError, template: &Template) -> Option<String> {
        match error {
            ValidationError::UnrecognizedActionId(it) => {
                let action: EntityUID = it.actual_action_id.parse().ok()?;
                let id: &str = action.eid().as_ref();
                match self.tools.get(id) {
                    Some(tool) if !tool.is_typed && *action.entity_type() == TYPES.action => {
                        Some(says_nothing(id, tool.file))
                    }
                    _ => None,
                }
            }
            ValidationError::UnsafeAttributeAccess(it) => match &it.attribute_access {
                AttributeAccess::Context(_, path) if is_input(path) => {
                    Some(self.help_for_input(template))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The help for a policy that never applies, if it tests for arguments.
    pub fn help_for_impossible(&self, template: &Template) -> Option<String> {
        let mut parts = template
            .non_scope_constraints()
            .into_iter()
            .flat_map(Expr::subexpressions);
        parts
            .any(tests_for_input)
            .then(|| self.help_for_input(template))
    }

    /// The help for `context.input` where the context has none.
    pub fn help_for_input(&self, template: &Template) -> String {
        let named = match template.resource_constraint().as_inner() {
            PrincipalOrResourceConstraint::Eq(EntityReference::EUID(uid))
                if *uid.entity_type() == TYPES.tool =>
            {
                let id: &str = uid.eid().as_ref();
                self.tools.get_key_value(id)
            }
            _ => None,
        };
        match named {
            Some((id, tool)) if tool.is_typed => {
                let action = EntityUID::from_components(
                    TYPES.action.clone(),
                    callgate_engine::cedar::Eid::new(id.as_str()),
                    None,
                );
                format!("the arguments of `{id}` are seen under its own action: write `action == {action}`")
            }
            Some((id, tool)) => says_nothing(id, tool.file),
            None => "a policy sees arguments as `context.input` under the action of one tool alone, which there is \
                     for tools that are registered with `\"typed\": true` and an `input_schema`: write \
                     `action == Mcp::Action::\"<server>/<tool>\"`"
                .to_owned(),
        }
    }
}

fn says_nothing(id: &str, file: &str) -> String {
    format!(
        "the tool `{id}` is registered without `\"typed\": true`, so policies do not see its arguments: add that, \
         and its `input_schema`, in `{file}`, and write `action == Mcp::Action::\"{id}\"`"
    )
}

fn is_input(path: &[SmolStr]) -> bool {
    matches!(path, [only] if only == INPUT)
}

/// Whether this is `context has input`.
pub fn tests_for_input(expr: &Expr) -> bool {
    let is_context = |expr: &Expr| matches!(expr.expr_kind(), ExprKind::Var(Var::Context));
    match expr.expr_kind() {
        ExprKind::HasAttr { expr, attr } => is_context(expr) && attr == INPUT,
        ExprKind::ExtHasAttr { expr, attrs } => is_context(expr) && attrs.first() == INPUT,
        _ => false,
    }
}

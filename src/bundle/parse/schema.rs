//! Merges the embedded `Mcp` schema, the schema files of the bundle, and the actions of typed tools into one schema.
//!
//! Start at [`merge`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use callgate_engine::cedar::{
    Extensions, Fragment, Loc, RawName, ValidatorSchema, ValidatorSchemaFragment,
};
use miette::Diagnostic;
use serde_json::{Map, Value as Json, json};

use crate::bundle::diagnostic::{BundleDiagnostic, SourceText};
use crate::bundle::files::SourceFile;
use crate::bundle::parse::json::{self, Step};
use crate::bundle::parse::nesting::{self, Language};
use crate::bundle::parse::registration::Registration;
use crate::bundle::parse::schema_limits;
use crate::bundle::parse::typed_input::TypedInput;
use crate::domain::schema::SCHEMA;

/// The namespace that the embedded schema defines.
const NAMESPACE: &str = "Mcp";
/// The name of the embedded schema in diagnostics.
const EMBEDDED: &str = "<callgate>/mcp.cedarschema";

/// The merged schema.
#[derive(Debug, Clone)]
pub struct MergedSchema {
    /// The schema that policies and entities are validated against.
    pub schema: Arc<ValidatorSchema>,
    /// Number of typed tools, each with its own action.
    pub typed_actions: usize,
}

struct SchemaFragment {
    file: Arc<str>,
    text: Arc<str>,
    fragment: Fragment<RawName>,
}

/// Merges all fragments; `None` if that fails, with the reasons in `faults`.
pub fn merge<'a>(
    sources: impl Iterator<Item = &'a SourceFile>,
    registrations: &[(&SourceFile, Registration)],
    faults: &mut Vec<BundleDiagnostic>,
    warnings: &mut Vec<BundleDiagnostic>,
) -> Option<MergedSchema> {
    let before = faults.len();
    let embedded_file: Arc<str> = Arc::from(EMBEDDED);
    let embedded_text: Arc<str> = Arc::from(SCHEMA);
    let mut parts: Vec<SchemaFragment> = parse(&embedded_file, &embedded_text, faults, warnings)
        .into_iter()
        .collect();
    let model = parts
        .first()
        .map(|part| serde_json::to_value(&part.fragment));
    for source in sources {
        parts.extend(parse(&source.file, &source.text, faults, warnings));
    }
    report_redefinitions(&parts, faults);
    let mut fragments: Vec<Fragment<RawName>> =
        parts.iter().map(|part| part.fragment.clone()).collect();
    let mut typed_actions = 0;
    match model {
        Some(Ok(model)) => match typed_fragment(&model, registrations) {
            Ok((count, fragment)) => {
                typed_actions = count;
                fragments.extend(fragment);
            }
            Err(message) => faults.push(BundleDiagnostic::for_file(&embedded_file, message)),
        },
        Some(Err(error)) => faults.push(BundleDiagnostic::for_file(
            &embedded_file,
            error.to_string(),
        )),
        None => {}
    }
    faults.extend(chained(&parts));
    if faults.len() > before {
        return None;
    }
    let compiled: Result<Vec<_>, _> = fragments
        .into_iter()
        .map(ValidatorSchemaFragment::from_schema_fragment)
        .collect();
    let schema = match compiled {
        Ok(compiled) => {
            ValidatorSchema::from_schema_fragments(compiled, Extensions::all_available())
        }
        Err(error) => Err(error),
    };
    match schema {
        Ok(schema) => match schema.check_complete() {
            Ok(()) => {
                return Some(MergedSchema {
                    schema: Arc::new(schema),
                    typed_actions,
                });
            }
            Err(error) => faults.push(placed(&parts, &error)),
        },
        Err(error) => faults.push(locate_in_registrations(registrations, &parts, &error)),
    }
    None
}

/// All fragments as one, with the actions of typed tools: what [`merge`] compiles, to be written down.
///
/// # Errors
///
/// In words, if the parts do not make one schema. [`merge`] has then reported it, with its place.
pub fn whole<'a>(
    sources: impl Iterator<Item = &'a SourceFile>,
    registrations: &[(&SourceFile, Registration)],
) -> Result<Fragment<RawName>, String> {
    let read = |text: &str| {
        Fragment::from_cedarschema_str(text, Extensions::all_available())
            .map(|(fragment, _)| fragment)
            .map_err(|error| error.to_string())
    };
    let mut whole: Fragment<RawName> = read(SCHEMA)?;
    let model = serde_json::to_value(&whole).map_err(|error| error.to_string())?;
    let mut parts = Vec::new();
    for source in sources {
        parts.push(read(&source.text)?);
    }
    parts.extend(typed_fragment(&model, registrations)?.1);
    for (namespace, part) in parts.into_iter().flat_map(|part| part.0) {
        let Some(own) = whole.0.get_mut(&namespace) else {
            whole.0.insert(namespace, part);
            continue;
        };
        own.common_types.extend(part.common_types);
        // What one file only refers to is defined in another.
        let types = part.entity_types.into_iter();
        for (name, entity) in types.filter(|(_, entity)| !entity.external) {
            own.entity_types.insert(name, entity);
        }
        let actions = part.actions.into_iter();
        for (name, action) in actions.filter(|(_, action)| !action.external) {
            own.actions.insert(name, action);
        }
    }
    Ok(whole)
}

/// Reports fragments that exceed the schema limits.
fn chained(parts: &[SchemaFragment]) -> Option<BundleDiagnostic> {
    let fragments = parts
        .iter()
        .map(|part| serde_json::to_value(&part.fragment));
    let fragments: Result<Vec<Json>, _> = fragments.collect();
    match fragments {
        Ok(fragments) => {
            let (index, message) = schema_limits::find_excess(&fragments)?;
            let file = &parts.get(index)?.file;
            Some(BundleDiagnostic::for_file(file, message))
        }
        Err(error) => Some(BundleDiagnostic::for_file(
            &Arc::from(EMBEDDED),
            error.to_string(),
        )),
    }
}

fn parse(
    file: &Arc<str>,
    text: &Arc<str>,
    faults: &mut Vec<BundleDiagnostic>,
    warnings: &mut Vec<BundleDiagnostic>,
) -> Option<SchemaFragment> {
    let origin = SourceText { file, text };
    if let Some(fault) = nesting::find_excess(origin, Language::Schema) {
        faults.push(fault);
        return None;
    }
    match Fragment::from_cedarschema_str(text, Extensions::all_available()) {
        Ok((fragment, found)) => {
            warnings
                .extend(found.map(|warning| BundleDiagnostic::from_diagnostic(origin, &warning)));
            Some(SchemaFragment {
                file: Arc::clone(file),
                text: Arc::clone(text),
                fragment,
            })
        }
        Err(error) => {
            faults.extend(every_diagnostic(origin, &error));
            None
        }
    }
}

/// Reports every error of the parser.
pub(crate) fn every_diagnostic(
    origin: SourceText<'_>,
    error: &dyn Diagnostic,
) -> Vec<BundleDiagnostic> {
    let mut faults = vec![BundleDiagnostic::from_diagnostic(origin, error)];
    faults.extend(
        error
            .related()
            .into_iter()
            .flatten()
            .map(|other| BundleDiagnostic::from_diagnostic(origin, other)),
    );
    faults
}

/// The definitions of a fragment, with their places.
fn definitions(fragment: &Fragment<RawName>) -> impl Iterator<Item = (String, Option<&Loc>)> {
    fragment.0.iter().flat_map(|(namespace, definition)| {
        let qualify = move |name: &dyn std::fmt::Display| match namespace {
            Some(namespace) => format!("{namespace}::{name}"),
            None => name.to_string(),
        };
        let types = definition.common_types.iter().map(move |(name, common)| {
            (
                format!("type `{}`", qualify(name.as_ref())),
                common.loc.as_ref(),
            )
        });
        let entities = definition
            .entity_types
            .iter()
            .filter(|(_, entity)| !entity.external)
            .map(move |(name, entity)| {
                (
                    format!("entity type `{}`", qualify(name)),
                    entity.loc.as_ref(),
                )
            });
        let actions = definition
            .actions
            .iter()
            .filter(|(_, action)| !action.external)
            .map(move |(name, action)| {
                (
                    format!("action `{}`", qualify(&format_args!("Action::\"{name}\""))),
                    action.loc.as_ref(),
                )
            });
        types.chain(entities).chain(actions)
    })
}

fn report_redefinitions(parts: &[SchemaFragment], faults: &mut Vec<BundleDiagnostic>) {
    let mut seen: HashMap<String, Vec<(usize, Option<&Loc>)>> = HashMap::new();
    for (index, part) in parts.iter().enumerate() {
        for (name, loc) in definitions(&part.fragment) {
            seen.entry(name).or_default().push((index, loc));
        }
    }
    for (name, places) in seen.into_iter().filter(|(_, places)| places.len() > 1) {
        for (index, loc) in &places {
            let part = &parts[*index];
            // The embedded schema cannot be redefined.
            if &*part.file == EMBEDDED {
                continue;
            }
            let others = places
                .iter()
                .filter(|(other, _)| other != index)
                .map(|(other, _)| &*parts[*other].file);
            let others = others.collect::<Vec<_>>().join("`, `");
            let message = format!("the {name} is also defined in `{others}`");
            let origin = SourceText {
                file: &part.file,
                text: &part.text,
            };
            faults.push(match loc {
                Some(loc) => {
                    BundleDiagnostic::at(origin, loc.start(), loc.end() - loc.start(), message)
                }
                None => BundleDiagnostic::for_file(&part.file, message),
            });
        }
    }
}

/// A fragment with the actions of typed tools, derived from the embedded `call_<level>` actions.
fn typed_fragment(
    model: &Json,
    registrations: &[(&SourceFile, Registration)],
) -> Result<(usize, Option<Fragment<RawName>>), String> {
    let actions = typed_actions(model, registrations).ok_or_else(|| {
        "the actions `call_read`, `call_write` and `call_admin` lack a context record".to_owned()
    })?;
    let count = actions.len();
    if count == 0 {
        return Ok((0, None));
    }
    let json = json!({ NAMESPACE: {"entityTypes": {}, "actions": actions} });
    let fragment = Fragment::from_json_value(json).map_err(|error| error.to_string())?;
    Ok((count, Some(fragment)))
}

fn typed_actions(
    model: &Json,
    registrations: &[(&SourceFile, Registration)],
) -> Option<Map<String, Json>> {
    let mut actions = Map::new();
    for (_, registration) in registrations {
        for (name, tool) in &registration.tools {
            let Some(input_schema) = tool.input_schema.as_ref().filter(|_| tool.typed) else {
                continue;
            };
            // An unconfirmed tool counts as admin under every action.
            let group = format!("call_{}", tool.effective_access());
            let base = &model[NAMESPACE]["actions"][&group];
            let mut applies_to = base.get("appliesTo")?.clone();
            let mut context = resolve_record(model, applies_to.get("context")?)?;
            let mut input = TypedInput::from_schema(input_schema).record;
            input["required"] = json!(true);
            context
                .get_mut("attributes")?
                .as_object_mut()?
                .insert("input".to_owned(), input);
            applies_to["context"] = context;
            let action = json!({"memberOf": [{"id": group}], "appliesTo": applies_to});
            actions.insert(format!("{}/{name}", registration.server.name), action);
        }
    }
    Some(actions)
}

/// Resolves a context that is declared by the name of a common type.
fn resolve_record(model: &Json, context: &Json) -> Option<Json> {
    if context.get("attributes").is_some() {
        return Some(context.clone());
    }
    let name = context
        .get("name")
        .or_else(|| context.get("type"))?
        .as_str()?;
    let record = model[NAMESPACE]["commonTypes"].get(name)?;
    record.get("attributes").map(|_| record.clone())
}

/// The file that a diagnostic of the merged schema refers to.
fn placed(parts: &[SchemaFragment], error: &dyn Diagnostic) -> BundleDiagnostic {
    let whole = |code: &dyn miette::SourceCode| {
        let contents = code.read_span(&(0..0).into(), 0, usize::MAX).ok()?;
        std::str::from_utf8(contents.data()).ok().map(str::to_owned)
    };
    let text = error.source_code().and_then(whole).unwrap_or_default();
    let found = parts.iter().find(|part| {
        !text.is_empty() && part.text.trim_end_matches('\n') == text.trim_end_matches('\n')
    });
    match found {
        Some(part) => BundleDiagnostic::from_diagnostic(
            SourceText {
                file: &part.file,
                text: &part.text,
            },
            error,
        ),
        None => {
            // Cedar gives no place; assume the first schema file of the directory.
            let file = parts
                .get(1)
                .or(parts.first())
                .map_or_else(|| Arc::from(EMBEDDED), |part| Arc::clone(&part.file));
            let help = error.help().map(|help| help.to_string());
            let fault = BundleDiagnostic::for_file(&file, error.to_string());
            help.into_iter().fold(fault, BundleDiagnostic::with_help)
        }
    }
}

/// An error in a generated action belongs to the registration that caused it.
fn locate_in_registrations(
    registrations: &[(&SourceFile, Registration)],
    parts: &[SchemaFragment],
    error: &dyn Diagnostic,
) -> BundleDiagnostic {
    let message = error.to_string();
    let names: BTreeMap<String, (&SourceFile, &str)> = registrations
        .iter()
        .flat_map(|(source, registration)| {
            let server = &registration.server.name;
            registration
                .tools
                .iter()
                .filter(|(_, tool)| tool.typed)
                .map(move |(name, _)| (format!("\"{server}/{name}\""), (*source, name.as_str())))
        })
        .collect();
    let concerned = names
        .iter()
        .find(|(action, _)| message.contains(action.as_str()));
    match concerned {
        Some((_, (source, tool))) => {
            let path = [
                Step::Key("tools"),
                Step::Key(tool),
                Step::Key("input_schema"),
            ];
            json::diagnostic_at(source.origin(), &path, message)
        }
        None => placed(parts, error),
    }
}

//! Loads policies, a schema and entities written in Cedar's own formats, and answers one request.
//!
//! ```text
//! cargo run -p callgate-engine --example authorize
//! ```

use std::error::Error;
use std::sync::Arc;

use callgate_engine::cedar::api;
use callgate_engine::cedar::{Context, EntityUID, ValidatorSchema, Value};
use callgate_engine::{Query, Reach, Snapshot, SnapshotParts};

const SCHEMA: &str = r#"
    entity Team;
    entity User in [Team];
    entity Folder in [Folder] = { owner: User };
    entity File in [Folder] = { secret: Bool };
    action read, write appliesTo { principal: [User], resource: [File], context: { mfa: Bool } };
"#;

const POLICIES: &str = r#"
    permit (principal in Team::"design", action == Action::"read", resource in Folder::"plans");

    @reason("Log in with a second factor to see this file.")
    forbid (principal, action, resource) when { resource.secret && !context.mfa };
"#;

const ENTITIES: &str = r#"[
    {"uid": {"type": "User", "id": "ana"}, "attrs": {}, "parents": [{"type": "Team", "id": "design"}]},
    {"uid": {"type": "Folder", "id": "plans"}, "attrs": {"owner": {"type": "User", "id": "ana"}}, "parents": []},
    {"uid": {"type": "File", "id": "launch"}, "attrs": {"secret": true}, "parents": [{"type": "Folder", "id": "plans"}]}
]"#;

/// How many dereferences the policies may make, e.g. `resource.secret` makes one.
const LEVEL: u32 = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let snapshot = load()?;
    let ana: EntityUID = r#"User::"ana""#.parse()?;
    let read = r#"Action::"read""#.parse()?;
    let file = r#"File::"launch""#.parse()?;
    for mfa in [true, false] {
        let context = Context::from_pairs(
            [("mfa".into(), Value::new(mfa, None).into())],
            callgate_engine::cedar::Extensions::all_available(),
        )?;
        // The proof of a level covers requests that conform to the schema, so check them first.
        snapshot.check_scope(&ana, &read, &file)?;
        snapshot.check_context(&read, &context)?;
        let query = Query {
            action: &read,
            resource: &file,
            context: &context,
            overlays: &[],
            unknown: &[],
        };
        let evaluation = snapshot.evaluate(&query, &ana);
        println!("with mfa {mfa}: allowed {}", evaluation.is_allow());
        for policy in &evaluation.forbids {
            let reason = policy.reason.as_deref().unwrap_or("no reason given");
            println!("  forbidden by `{}`: {reason}", policy.id);
        }
    }
    Ok(())
}

/// Validates the policies and compiles them together with the entities.
fn load() -> Result<Snapshot, Box<dyn Error>> {
    let (schema, _) = api::Schema::from_cedarschema_str(SCHEMA)?;
    let policies: api::PolicySet = POLICIES.parse()?;
    let validator = api::Validator::new(schema.clone());
    let validation = validator.validate_with_level(&policies, api::ValidationMode::Strict, LEVEL);
    if let Some(error) = validation.validation_errors().next() {
        return Err(error.to_string().into());
    }
    // Adds the schema's actions.
    let entities = api::Entities::from_json_str(ENTITIES, Some(&schema))?;
    let snapshot = Snapshot::build(SnapshotParts {
        policies: AsRef::<callgate_engine::cedar::PolicySet>::as_ref(&policies).clone(),
        entities: entities.iter().map(|entity| entity.as_ref().clone()),
        schema: Some(Arc::new(AsRef::<ValidatorSchema>::as_ref(&schema).clone())),
        reach: Reach::Level(LEVEL),
    })?;
    Ok(snapshot)
}

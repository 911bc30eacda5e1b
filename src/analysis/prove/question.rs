//! Cedar's own question with everything that its answer depends on: principal, action, resource, context and all entities.
//!
//! A counterexample of a proof is such a question. `callgate authorize --cedar` answers it, with the engine that serves.

use std::path::Path;
use std::sync::Arc;

use callgate_engine::cedar::{
    ContextJsonParser, EntityUID, Extensions, PolicySet, ValidatorSchema, context_schema_for_action,
};
use callgate_engine::{Reach, Snapshot, SnapshotParts};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::bundle::diagnostic::{BundleDiagnostic, BundleError, SourceText};
use crate::bundle::files::{self, FileKind};
use crate::bundle::parse::{json, policies, template_links};
use crate::bundle::{self, Bundle};
use crate::domain::authority::state::Authority;
use crate::domain::decide::is_authorized::{self, ParcRequest};
use crate::domain::decide::verdict::Verdict;
use crate::domain::entity_json::parse_entity;
use crate::domain::request::cedar_number;

/// The most entities of one question.
const MAX_ENTITIES: usize = 100_000;

/// One question, in the JSON forms of Cedar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CedarQuestion {
    /// `Mcp::Agent::"support"`.
    pub principal: String,
    /// `Mcp::Action::"call_read"`.
    pub action: String,
    /// `Mcp::Tool::"github/get_issue"`.
    pub resource: String,
    /// The context, as a JSON object.
    pub context: Json,
    /// Every entity there is, the schema's actions excepted; those of the directory take no part.
    pub entities: Vec<Json>,
}

/// A directory whose policies answer questions over entities that come with the question.
#[derive(Debug)]
pub struct QuestionBundle {
    /// The compiled directory.
    pub bundle: Bundle,
    /// Its policies, templates and links, with their places.
    pub policies: policies::Policies,
}

impl QuestionBundle {
    /// Compiles a directory.
    ///
    /// # Errors
    ///
    /// All faults of the directory.
    pub fn load(dir: &Path) -> Result<Self, BundleError> {
        Self::load_with(dir, None)
    }

    /// The same, with this configuration in the place of that of the directory if there is one.
    ///
    /// # Errors
    ///
    /// As of [`Self::load`].
    pub fn load_with(dir: &Path, config: Option<&Path>) -> Result<Self, BundleError> {
        let read = files::read_with(dir, config)?;
        let bundle = bundle::compile(&read)?;
        // Both lists stay empty: the same files have just compiled.
        let (mut faults, mut warnings) = (Vec::new(), Vec::new());
        let mut policies =
            policies::collect(read.of_kind(FileKind::Policies), &mut faults, &mut warnings);
        template_links::collect(read.of_kind(FileKind::Links), &mut policies, &mut faults);
        Ok(Self { bundle, policies })
    }

    /// The schema of the directory, with the actions of typed tools.
    ///
    /// # Errors
    ///
    /// If the bundle has none, which no compiled directory lacks.
    pub fn schema(&self) -> Result<&Arc<ValidatorSchema>, String> {
        let schema = self.bundle.snapshot.schema();
        schema.ok_or_else(|| "the directory has no schema".to_owned())
    }

    /// Answers a question.
    ///
    /// # Errors
    ///
    /// What of the question does not fit the schema.
    pub fn answer(&self, question: &CedarQuestion) -> Result<Verdict, String> {
        question.decide(self.schema()?, &self.policies.set)
    }
}

impl CedarQuestion {
    /// Reads a question; a key that occurs twice is a fault.
    ///
    /// # Errors
    ///
    /// The fault with its place.
    pub fn parse(name: &str, text: &str) -> Result<Self, BundleDiagnostic> {
        let file: Arc<str> = Arc::from(name);
        let origin = SourceText { file: &file, text };
        let value = json::parse(origin)?;
        let question: Self = serde_json::from_value(value)
            .map_err(|error| BundleDiagnostic::for_file(&file, error.to_string()))?;
        if question.entities.len() > MAX_ENTITIES {
            let said = format!("`entities` holds more than {MAX_ENTITIES}");
            return Err(BundleDiagnostic::for_file(&file, said));
        }
        Ok(question)
    }

    /// Decides with the engine that serves: these policies, the question's entities and no others.
    ///
    /// # Errors
    ///
    /// What of the question does not fit the schema.
    pub fn decide(
        &self,
        schema: &Arc<ValidatorSchema>,
        policies: &PolicySet,
    ) -> Result<Verdict, String> {
        let uid = |field: &str, text: &str| {
            text.parse::<EntityUID>()
                .map_err(|error| format!("`{field}` is not an entity, `Type::\"id\"`: {error}"))
        };
        let principal = uid("principal", &self.principal)?;
        let action = uid("action", &self.action)?;
        let resource = uid("resource", &self.resource)?;
        let expected = context_schema_for_action(schema, &action)
            .ok_or_else(|| format!("`action`: the schema has no `{action}`"))?;
        let context = ContextJsonParser::new(Some(&expected), Extensions::all_available())
            .from_json_value(self.context.clone())
            .map_err(|error| {
                let unfit = cedar_number::unfit(&self.context, "context");
                unfit.unwrap_or_else(|| format!("`context`: {error}"))
            })?;
        let actions = schema
            .action_entities()
            .map_err(|error| error.to_string())?;
        let mut entities: Vec<_> = actions.into_iter().collect();
        for (index, entity) in self.entities.iter().enumerate() {
            let parsed = parse_entity(Some(schema), &entity.to_string())
                .map_err(|error| format!("`entities[{index}]`: {error}"))?;
            if !parsed.uid().is_action() {
                entities.push(parsed);
            }
        }
        let snapshot = Snapshot::build(SnapshotParts {
            policies: policies.clone(),
            entities,
            schema: Some(Arc::clone(schema)),
            reach: Reach::Unbounded,
        })
        .map_err(|error| format!("`entities`: {error}"))?;
        let request = ParcRequest {
            principal,
            action,
            resource,
            context,
            asserted: Vec::new(),
            denied: None,
            trace: Default::default(),
        };
        Ok(is_authorized::decide(
            &snapshot,
            &Authority::default(),
            &request,
        ))
    }
}

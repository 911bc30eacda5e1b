//! Parses and validates every file of a bundle, and collects the faults of all of them.
//!
//! Start at [`check`].

use std::sync::Arc;

use callgate_engine::cedar::{Entity, PolicySet, ValidatorSchema};
use callgate_engine::{BuildError, Reach, Snapshot, SnapshotParts};

use crate::bundle::cache::{KeptEntities, KeptParts, KeptSchema, PartKeys, Reusable};
use crate::bundle::diagnostic::{self, BundleDiagnostic, BundleError};
use crate::bundle::files::{BundleFiles, FileKind, SourceFile};
use crate::bundle::parse::entities::CollectedEntities;
use crate::bundle::parse::policies::{ParsedPolicies, Policies, PolicyEntry};
use crate::bundle::parse::registration::Registration;
use crate::bundle::parse::template_links::LinkPlaces;
use crate::bundle::parse::{entities, policies, schema, template_links};
use crate::bundle::validate::references::{
    CheckedPolicies, DefinedEntities, EntityFacts, EntityFindings, KnownEntities, ReferenceCheck,
};
use crate::bundle::validate::tool_types::ToolTypes;
use crate::bundle::validate::{
    self, PolicyLevels, ValidatedLevels, ValidatorInputs, gateway_config, open_permits, references,
    server_names,
};
use crate::bundle::{
    BundleCounts, ToolSummary, UnreadRegistrations, Warnings, check_apart, read_config,
    read_registrations, summaries, unread_registrations,
};
use crate::config::Config;
use crate::domain::schema::TYPES;

/// The validated parts of a bundle.
pub(super) struct CheckedBundle<'f> {
    pub policies: PolicySet,
    pub entities: CheckedEntities,
    pub config: Config,
    pub warnings: Vec<BundleDiagnostic>,
    pub counts: BundleCounts,
    pub entries: Vec<PolicyEntry>,
    pub tools: Vec<ToolSummary>,
    pub schema: KeptSchema,
    /// The policy files, and what each was parsed to.
    pub sources: Vec<&'f SourceFile>,
    pub parsed: Vec<Arc<ParsedPolicies>>,
    pub levels: PolicyLevels,
    pub names: CheckedPolicies,
    pub keys: PartKeys,
}

/// The entities of a bundle, with what was found in them.
pub(super) struct CheckedEntities {
    entities: BundleEntities,
    findings: EntityFindings,
}

/// The entities of a bundle: those of the last one, or new ones.
enum BundleEntities {
    Kept(Arc<KeptEntities>),
    New(CollectedEntities, Box<EntityFacts>),
}

impl BundleEntities {
    fn facts(&self) -> &EntityFacts {
        match self {
            Self::Kept(kept) => &kept.facts,
            Self::New(_, facts) => facts,
        }
    }

    fn defined(&self) -> DefinedEntities<'_> {
        match self {
            Self::Kept(kept) => DefinedEntities::Stored(&kept.snapshot),
            Self::New(collected, _) => DefinedEntities::Collected(collected),
        }
    }

    fn written(&self) -> usize {
        match self {
            Self::Kept(kept) => kept.written,
            Self::New(collected, _) => collected.written(),
        }
    }
}

impl CheckedEntities {
    /// The entities in a snapshot without policies.
    pub(super) fn stored(
        self,
        schema: &Arc<ValidatorSchema>,
    ) -> Result<Arc<KeptEntities>, BundleError> {
        let (mut collected, facts) = match self.entities {
            BundleEntities::Kept(kept) => return Ok(kept),
            BundleEntities::New(collected, facts) => (collected, facts),
        };
        let parts = SnapshotParts {
            policies: PolicySet::new(),
            entities: std::mem::take(&mut collected.entities),
            schema: Some(Arc::clone(schema)),
            reach: Reach::Level(0),
        };
        let built = Snapshot::build_with_types::<Vec<Entity>>(parts, &TYPES.all());
        let snapshot = built.map_err(|error| {
            let uid = match &error {
                BuildError::DuplicateEntity(uid)
                | BuildError::EntityCycle(uid)
                | BuildError::UnknownValue(uid)
                | BuildError::ActionFixed(uid) => uid,
            };
            let fault = collected.diagnostic_at_entity(uid, error.to_string());
            let anywhere =
                || BundleDiagnostic::for_file(&Arc::from("<entities>"), error.to_string());
            BundleError::single(fault.unwrap_or_else(anywhere))
        })?;
        Ok(Arc::new(KeptEntities {
            snapshot,
            facts: *facts,
            findings: self.findings,
            written: collected.written(),
        }))
    }
}

/// The files of a bundle, parsed.
struct ParsedBundle<'f> {
    config: Config,
    registrations: Vec<(&'f SourceFile, Registration)>,
    unread: UnreadRegistrations<'f>,
    schema: Option<KeptSchema>,
    sources: Vec<&'f SourceFile>,
    parsed: Vec<Arc<ParsedPolicies>>,
    policies: Policies,
    links: LinkPlaces<'f>,
    entities: BundleEntities,
}

/// Parses and validates every file, and collects the faults of all of them. What the last bundle has of it is used.
pub(super) fn check<'f>(
    files: &'f BundleFiles,
    taken: Warnings,
    last: Option<&KeptParts>,
) -> Result<CheckedBundle<'f>, BundleError> {
    let mut faults = files.faults.clone();
    let mut warnings = files.warnings.clone();
    // What the directory says of others is not known where its settings have faults.
    let config = read_config(files).inspect(|config| check_apart(files, config, &mut faults));
    let config = config.unwrap_or_else(|found| {
        faults.extend(found);
        Config::default()
    });
    let max_level = config.schema.max_dereference_level;
    let last = Reusable::new(last, PartKeys::new(files, max_level));
    let bundle = parse(files, config, last, &mut faults, &mut warnings);
    let tools = ToolTypes::new(&bundle.registrations);
    let levels = bundle.validate(last, &tools, &mut faults, &mut warnings);
    server_names::warn(&bundle.registrations, &mut warnings);
    open_permits::warn(&bundle.policies, &bundle.config.bundle, &mut warnings);
    let (findings, names) = bundle.check_names(files, last, &tools, &mut faults, &mut warnings);
    let is_strict = match taken {
        Warnings::AsConfigured => bundle.config.bundle.strict,
        Warnings::Fatal => true,
        Warnings::Harmless => false,
    };
    if is_strict {
        faults.append(&mut warnings);
    }
    if let Some(faults) = BundleError::from_diagnostics(faults) {
        return Err(faults);
    }
    let counts = bundle.counts(files);
    let (Some(schema), Some(levels)) = (bundle.schema, levels) else {
        return Err(BundleError::single(BundleDiagnostic::for_file(
            &Arc::from("<bundle>"),
            "the bundle could not be checked",
        )));
    };
    diagnostic::order(&mut warnings);
    Ok(CheckedBundle {
        policies: bundle.policies.set,
        entities: CheckedEntities {
            entities: bundle.entities,
            findings,
        },
        config: bundle.config,
        warnings,
        counts: BundleCounts {
            typed_tools: schema.merged.typed_actions,
            level: levels.level,
            ..counts
        },
        entries: bundle.policies.entries,
        tools: summaries(&bundle.registrations),
        schema,
        sources: bundle.sources,
        parsed: bundle.parsed,
        levels: levels.policies,
        names,
        keys: last.keys,
    })
}

fn parse<'f>(
    files: &'f BundleFiles,
    config: Config,
    last: Reusable<'_>,
    faults: &mut Vec<BundleDiagnostic>,
    warnings: &mut Vec<BundleDiagnostic>,
) -> ParsedBundle<'f> {
    let registrations = read_registrations(files, faults);
    let unread = unread_registrations(files, &registrations);
    let schema = merged_schema(files, &registrations, last, faults, warnings);
    let sources: Vec<&SourceFile> = files.of_kind(FileKind::Policies).collect();
    let parsed = policies::parse_all(&sources, |source| last.parsed(source));
    let mut policies = policies::assemble(&sources, &parsed, faults, warnings);
    let links = template_links::collect(files.of_kind(FileKind::Links), &mut policies, faults);
    let entities = last.entities().map_or_else(
        || {
            let schema = schema.as_ref().map(|it| &*it.merged.schema);
            let collected = collect(files, &registrations, schema, faults);
            let facts = Box::new(EntityFacts::new(&collected, &config));
            BundleEntities::New(collected, facts)
        },
        BundleEntities::Kept,
    );
    ParsedBundle {
        config,
        registrations,
        unread,
        schema,
        sources,
        parsed,
        policies,
        links,
        entities,
    }
}

impl ParsedBundle<'_> {
    fn schema(&self) -> Option<&ValidatorSchema> {
        self.schema.as_ref().map(|it| &*it.merged.schema)
    }

    fn validate(
        &self,
        last: Reusable<'_>,
        tools: &ToolTypes<'_>,
        faults: &mut Vec<BundleDiagnostic>,
        warnings: &mut Vec<BundleDiagnostic>,
    ) -> Option<ValidatedLevels> {
        let inputs = ValidatorInputs {
            schema: self.schema()?,
            policies: &self.policies,
            links: &self.links,
            tools,
            unread: &self.unread,
        };
        let max_level = self.config.schema.max_dereference_level;
        let known = last.levels((&self.sources, &self.parsed));
        validate::validate_others(inputs, max_level, known, faults, warnings)
    }

    /// Checks what policies, entities and the configuration of gateways name.
    fn check_names(
        &self,
        files: &BundleFiles,
        last: Reusable<'_>,
        tools: &ToolTypes<'_>,
        faults: &mut Vec<BundleDiagnostic>,
        warnings: &mut Vec<BundleDiagnostic>,
    ) -> (EntityFindings, CheckedPolicies) {
        let (config, unread, facts) = (&self.config, &self.unread, self.entities.facts());
        let known = KnownEntities::new(self.entities.defined(), &facts.names, config, unread);
        gateway_config::warn(config, files, &known, warnings);
        let findings = match &self.entities {
            BundleEntities::Kept(kept) => kept.findings.clone(),
            BundleEntities::New(collected, _) => {
                references::check_entities(collected, facts, &known)
            }
        };
        let scene = ReferenceCheck {
            facts,
            policies: &self.policies,
            links: &self.links,
            tools,
            config,
            unread,
        };
        let collected = |locate: &mut dyn FnMut(&CollectedEntities)| match &self.entities {
            // Of these only the facts were kept.
            BundleEntities::Kept(_) => {
                let schema = self.schema();
                locate(&collect(
                    files,
                    &self.registrations,
                    schema,
                    &mut Vec::new(),
                ));
            }
            BundleEntities::New(collected, _) => locate(collected),
        };
        let found = (&findings, last.names((&self.sources, &self.parsed)));
        let said = (faults, warnings);
        let names = references::check(scene, &known, self.schema(), found, collected, said);
        (findings, names)
    }

    /// The numbers that files, registrations and policies tell.
    fn counts(&self, files: &BundleFiles) -> BundleCounts {
        let entries = self.policies.entries.iter();
        let templates = entries.filter(|entry| entry.is_template).count();
        let tools = self.registrations.iter().map(|(_, it)| it.tools.len());
        BundleCounts {
            files: files.sources.len(),
            schema_fragments: files.of_kind(FileKind::Schema).count() + 1,
            policies: self.policies.entries.len() - templates,
            templates,
            links: self.links.len(),
            entities: self.entities.written(),
            servers: self.registrations.len(),
            tools: tools.sum(),
            ..BundleCounts::default()
        }
    }
}

fn merged_schema(
    files: &BundleFiles,
    registrations: &[(&SourceFile, Registration)],
    last: Reusable<'_>,
    faults: &mut Vec<BundleDiagnostic>,
    warnings: &mut Vec<BundleDiagnostic>,
) -> Option<KeptSchema> {
    let kept = last.schema().cloned().or_else(|| {
        let mut found = Vec::new();
        let sources = files.of_kind(FileKind::Schema);
        let merged = schema::merge(sources, registrations, faults, &mut found);
        if merged.is_none() {
            warnings.append(&mut found);
        }
        let warnings = found;
        merged.map(|merged| KeptSchema { merged, warnings })
    })?;
    warnings.extend(kept.warnings.iter().cloned());
    Some(kept)
}

fn collect(
    files: &BundleFiles,
    registrations: &[(&SourceFile, Registration)],
    schema: Option<&ValidatorSchema>,
    faults: &mut Vec<BundleDiagnostic>,
) -> CollectedEntities {
    let sources = files.of_kind(FileKind::Entities);
    entities::collect(sources, registrations, schema, faults)
}

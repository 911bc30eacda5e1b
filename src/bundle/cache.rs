//! What compiling one bundle leaves for the next: a bundle that differs in one file is compiled at the price of that file.
//!
//! Start at [`CompileCache::compile`]. Parsed files are kept by their path and digest; everything else by a digest of all
//! that it depends on: the merged schema, the level of each policy, the names in each policy, the entities. Compiled policies
//! are kept as long as the entities are.
//!
//! Invariant: what is compiled with a cache is what is compiled without one, diagnostics included. Only what nothing was
//! said of, or what is said again as it was, is taken from it. It holds one bundle: the last one without a fault.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use callgate_engine::Snapshot;
use callgate_engine::cedar::PolicyID;
use foldhash::fast::RandomState;
use sha2::{Digest, Sha256};

use crate::bundle::diagnostic::{BundleDiagnostic, BundleError};
use crate::bundle::files::{BundleFiles, FileKind, SourceFile};
use crate::bundle::parse::policies::ParsedPolicies;
use crate::bundle::parse::schema::MergedSchema;
use crate::bundle::validate::PolicyLevels;
use crate::bundle::validate::references::{CheckedPolicies, EntityFacts, EntityFindings};
use crate::bundle::{Bundle, Warnings, compile_after};

/// Names that policies have mentioned beside those of the entities, up to which compiled policies are kept: what policies of
/// earlier bundles mention stays known.
const MOST_OTHER_NAMES: usize = 10_000;

/// The parts of the last bundle without a fault.
#[derive(Debug, Default)]
pub struct CompileCache(Mutex<Option<Arc<KeptParts>>>);

/// A digest of everything that a part depends on; `None` if not every file has a digest.
pub(super) type PartKey = Option<[u8; 32]>;

/// The digests of what the parts of a bundle depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartKeys {
    /// Schema files and registrations.
    schema: PartKey,
    /// The schema, links, and the highest level.
    levels: PartKey,
    /// The schema, entities and the configuration.
    entities: PartKey,
    /// The entities and links.
    names: PartKey,
}

/// What was made of a bundle, each part with what it was made from.
#[derive(Debug)]
pub(super) struct KeptParts {
    keys: PartKeys,
    schema: KeptSchema,
    policies: HashMap<Arc<str>, ParsedFile>,
    levels: PolicyLevels,
    names: CheckedPolicies,
    entities: Arc<KeptEntities>,
    /// The entities with the policies of the bundle.
    snapshot: Snapshot,
}

#[derive(Debug)]
struct ParsedFile {
    digest: [u8; 32],
    parsed: Arc<ParsedPolicies>,
}

/// A merged schema, and the warnings about it.
#[derive(Debug, Clone)]
pub(super) struct KeptSchema {
    pub merged: MergedSchema,
    pub warnings: Vec<BundleDiagnostic>,
}

/// Entities that are in order.
#[derive(Debug)]
pub(super) struct KeptEntities {
    /// A snapshot of them without policies.
    pub snapshot: Snapshot,
    pub facts: EntityFacts,
    pub findings: EntityFindings,
    /// How many files define.
    pub written: usize,
}

impl CompileCache {
    /// Compiles files, and keeps what may be used again. Warnings are faults if the configuration is strict.
    ///
    /// # Errors
    ///
    /// All faults of the bundle. What is kept stays as it is.
    pub fn compile(&self, files: &BundleFiles) -> Result<Bundle, BundleError> {
        let last = self.last();
        let (bundle, parts) = compile_after(files, Warnings::AsConfigured, last.as_deref())?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some(Arc::new(parts));
        Ok(bundle)
    }

    /// The policy files that hold nothing any more, not even a comment, and held policies in the last bundle: an editor that
    /// stalled, or a full disk, leaves them so, and their forbids would be gone. `None` if there are none.
    pub fn emptied(&self, files: &BundleFiles) -> Option<BundleError> {
        let last = self.last()?;
        let sources = files.of_kind(FileKind::Policies);
        let empty = sources.filter(|source| source.text.trim().is_empty());
        let faults = empty.filter_map(|source| {
            let held = last.policies.get(&source.file)?.parsed.count();
            let policies = match held {
                1 => "policy of it stays",
                _ => "policies of it stay",
            };
            let message = format!(
                "nothing is in this file, and {held} {policies} in service: it looks cut off"
            );
            let fault = BundleDiagnostic::for_file(&source.file, message);
            let help = "to take them out of service take the file away, or leave a comment in it";
            (held > 0).then(|| fault.with_help(help))
        });
        BundleError::from_diagnostics(faults.collect())
    }

    /// Forgets everything: the bundle in service comes from elsewhere.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn last(&self) -> Option<Arc<KeptParts>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }
}

impl PartKeys {
    /// The keys of the parts of these files.
    pub(super) fn new(files: &BundleFiles, max_level: u32) -> Self {
        let of = |kinds: &[FileKind]| {
            let mut digest = Sha256::new();
            let sources = files.sources.iter();
            for source in sources.filter(|it| kinds.contains(&it.kind)) {
                digest.update([source.kind as u8]);
                digest.update((source.file.len() as u64).to_be_bytes());
                digest.update(&*source.file);
                digest.update(source.digest?);
            }
            Some(digest)
        };
        let finished = |digest: Option<Sha256>| digest.map(|it| it.finalize().into());
        use FileKind::{Config, Entities, Links, Registration, Schema};
        let levels = of(&[Schema, Registration, Links]);
        Self {
            schema: finished(of(&[Schema, Registration])),
            levels: finished(levels.map(|it| it.chain_update(max_level.to_be_bytes()))),
            entities: finished(of(&[Schema, Registration, Entities, Config])),
            names: finished(of(&[Schema, Registration, Entities, Links, Config])),
        }
    }
}

/// The policy files of a bundle, and what each was parsed to.
pub(super) type PolicyFiles<'a> = (&'a [&'a SourceFile], &'a [Arc<ParsedPolicies>]);

/// What of the last bundle fits the next one.
#[derive(Clone, Copy)]
pub(super) struct Reusable<'a> {
    last: Option<&'a KeptParts>,
    pub keys: PartKeys,
}

impl<'a> Reusable<'a> {
    pub(super) fn new(last: Option<&'a KeptParts>, keys: PartKeys) -> Self {
        Self { last, keys }
    }

    /// The last bundle, if this part of it has the same key.
    fn with(&self, key: impl Fn(&PartKeys) -> PartKey) -> Option<&'a KeptParts> {
        let own = key(&self.keys)?;
        self.last.filter(|last| key(&last.keys) == Some(own))
    }

    /// What a file was parsed to.
    pub(super) fn parsed(&self, source: &SourceFile) -> Option<Arc<ParsedPolicies>> {
        self.last?.parsed(source).cloned()
    }

    pub(super) fn schema(&self) -> Option<&'a KeptSchema> {
        self.with(|keys| keys.schema).map(|last| &last.schema)
    }

    pub(super) fn entities(&self) -> Option<Arc<KeptEntities>> {
        let last = self.with(|keys| keys.entities)?;
        Some(Arc::clone(&last.entities))
    }

    /// The levels of the policies in files that are as they were.
    pub(super) fn levels(&self, files: PolicyFiles<'_>) -> PolicyLevels {
        let last = self.with(|keys| keys.levels);
        last.map_or_else(PolicyLevels::default, |last| {
            Self::of_same(last, &last.levels, files)
        })
    }

    /// The policies in files that are as they were whose names are in order.
    pub(super) fn names(&self, files: PolicyFiles<'_>) -> CheckedPolicies {
        let last = self.with(|keys| keys.names);
        last.map_or_else(CheckedPolicies::default, |last| {
            Self::of_same(last, &last.names, files)
        })
    }

    /// What is known of the policies in files that are as they were, but for those whose id another file has taken: ids are
    /// unique in a bundle without faults, and the next one may have some.
    fn of_same<V: Clone>(
        last: &KeptParts,
        known: &HashMap<PolicyID, V, RandomState>,
        (sources, parsed): PolicyFiles<'_>,
    ) -> HashMap<PolicyID, V, RandomState> {
        let files = sources.iter().zip(parsed);
        let (same, other): (Vec<_>, Vec<_>) =
            files.partition(|(source, _)| last.parsed(source).is_some());
        let ids = same.iter().flat_map(|(_, parsed)| parsed.ids());
        let found = ids.filter_map(|id| known.get_key_value(id));
        let mut same = HashMap::with_capacity_and_hasher(known.len(), RandomState::default());
        same.extend(found.map(|(id, value)| (id.clone(), value.clone())));
        for id in other.iter().flat_map(|(_, parsed)| parsed.ids()) {
            same.remove(id);
        }
        same
    }
}

impl KeptParts {
    /// What a file that is as it was was parsed to.
    fn parsed(&self, source: &SourceFile) -> Option<&Arc<ParsedPolicies>> {
        let known = self.policies.get(&source.file)?;
        (source.digest == Some(known.digest)).then_some(&known.parsed)
    }

    /// The parts of a bundle without a fault.
    pub(super) fn new(
        keys: PartKeys,
        schema: KeptSchema,
        (sources, parsed): PolicyFiles<'_>,
        (levels, names): (PolicyLevels, CheckedPolicies),
        (entities, snapshot): (Arc<KeptEntities>, Snapshot),
    ) -> Self {
        let file = |(source, parsed): (&&SourceFile, &Arc<ParsedPolicies>)| {
            let digest = source.digest?;
            let parsed = Arc::clone(parsed);
            Some((Arc::clone(&source.file), ParsedFile { digest, parsed }))
        };
        Self {
            keys,
            schema,
            policies: sources.iter().zip(parsed).filter_map(file).collect(),
            levels,
            names,
            entities,
            snapshot,
        }
    }

    /// The last bundle over these entities, with its compiled policies; `None` if it was over others.
    pub(super) fn over(&self, entities: &Arc<KeptEntities>) -> Option<&Snapshot> {
        let most = entities.snapshot.names_known() + MOST_OTHER_NAMES;
        let is_same = Arc::ptr_eq(&self.entities, entities);
        (is_same && self.snapshot.names_known() <= most).then_some(&self.snapshot)
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;

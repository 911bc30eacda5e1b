//! Where the bundle of a server comes from: the directory on the command line, or what `[bundle]` names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bundle::archive::signature::VerifyingKeys;
use crate::bundle::diagnostic::BundleError;
use crate::bundle::files::BundleFiles;
use crate::bundle::files::manifest::FileDigests;
use crate::bundle::{self, Bundle};
use crate::config::Config;
use crate::reload::loading::{FirstLoad, Loader};
use crate::reload::published::PublishedCompiler;
use crate::reload::source::ArchiveSource;
use crate::reload::warnings::log_warnings;
use crate::service::Service;
use crate::service::generation::LoadedBundle;
use crate::service::published::PrepareBundle as _;

/// Where a bundle comes from, and the configuration that says so.
pub struct BundleSource {
    /// Loads it.
    pub loader: Loader,
    /// The configuration, or its defaults if it has faults, which a load reports.
    pub settings: Config,
    /// The file of the configuration, if there is one.
    config: Option<PathBuf>,
    /// The directory that relative paths in it start at.
    base: PathBuf,
}

/// What a server starts with.
pub struct FirstGeneration {
    /// Its revision.
    pub revision: u64,
    /// The digest of its bundle.
    pub digest: Arc<str>,
    /// The files of the bundle, if it was not published.
    pub files: Option<FileDigests>,
}

/// The source for a directory, and for a configuration that may name another place. `database` says where the store is,
/// beside which the last good archive is kept.
///
/// # Errors
///
/// If a key or another setting of an archive cannot be used. A configuration with faults is left to the loader.
pub fn find(
    dir: &Path,
    config: Option<&Path>,
    database: impl FnOnce(&Config) -> PathBuf,
) -> anyhow::Result<BundleSource> {
    let path = config.map_or_else(|| dir.join(Config::FILE_NAME), Path::to_owned);
    let settings = match path.exists() {
        true => bundle::settings(&BundleFiles::default().with_config(&path)),
        false => Config::default(),
    };
    let base = path.parent().unwrap_or(Path::new("")).to_owned();
    let named = &settings.bundle;
    let loader = if named.is_archive() {
        let cache = named.cache_path(&base, &database(&settings));
        let source = ArchiveSource::new(named, &base, &cache)?;
        Loader::of_archive(Arc::new(source)).with_config(Some(&path))
    } else {
        match &named.directory {
            Some(directory) => Loader::new(&base.join(directory)).with_config(Some(&path)),
            None => Loader::new(dir).with_config(config),
        }
    };
    Ok(BundleSource {
        loader,
        config: path.exists().then_some(path),
        settings,
        base,
    })
}

/// Logs what the first load has found.
pub fn log_first_load(first: &Result<FirstLoad, BundleError>, loader: &Loader) {
    if let Some(faults) = loader.cache_fault() {
        tracing::error!("the last good bundle that was kept is of no use\n{faults}");
    }
    match first {
        Ok(first) => {
            log_warnings(&first.bundle.warnings);
            if let Some(faults) = &first.fault {
                tracing::error!("the last good bundle that was kept is in service\n{faults}");
            }
        }
        Err(faults) => tracing::error!("the bundle has faults and is not loaded\n{faults}"),
    }
}

impl BundleSource {
    /// Puts the first bundle into service: the published one that the store holds, if bundles are published here, or else
    /// the one that was loaded.
    ///
    /// # Errors
    ///
    /// If the published bundle cannot be used, there is none and the other was not loaded, or the store does not write.
    pub async fn enter(
        &self,
        service: &Service,
        config: &Config,
        loaded: Result<Bundle, BundleError>,
    ) -> anyhow::Result<FirstGeneration> {
        let ledger = service.ledger();
        let published = ledger.published();
        if config.bundle.published {
            let compiler = self.compiler(config)?;
            ledger.bundles().set_preparer(Arc::clone(&compiler) as _);
            if let Some(bundle) = published {
                let archive = ledger.archive(&bundle.id).await?;
                let prepared = compiler.prepare(&archive).map_err(|faults| {
                    let version = bundle.version;
                    anyhow::anyhow!(
                        "the published bundle, version {version}, cannot be used:\n{faults}"
                    )
                })?;
                ledger.bundles().insert(prepared.clone());
                let revision = ledger.restore_published(&prepared)?;
                tracing::info!(
                    revision,
                    version = bundle.version,
                    "the published bundle is in service"
                );
                return Ok(FirstGeneration {
                    revision,
                    digest: prepared.load.policy_set_digest,
                    files: None,
                });
            }
        } else if published.is_some() {
            tracing::warn!(
                "the store holds a published bundle, and `[bundle] published` is not set: it is not in service"
            );
        }
        let bundle = loaded?;
        let revision = service.publish(LoadedBundle {
            snapshot: bundle.snapshot,
            claims: bundle.config.claims,
            policy_set_digest: Arc::clone(&bundle.digest),
        })?;
        Ok(FirstGeneration {
            revision,
            digest: bundle.digest,
            files: Some(bundle.files),
        })
    }

    fn compiler(&self, config: &Config) -> anyhow::Result<Arc<PublishedCompiler>> {
        let keys = match config.bundle.public_key_files.as_slice() {
            [] => None,
            files => Some(VerifyingKeys::read(files, &self.base)?),
        };
        let loader = Loader::new(Path::new("bundle"))
            .with_config(self.config.as_deref())
            .with_trial(&config.reload);
        Ok(Arc::new(PublishedCompiler::new(loader, keys)))
    }
}

//! Compiles published bundles as loads are compiled: after a trial, within a deadline, under this server's configuration.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::bundle::archive::signature::VerifyingKeys;
use crate::bundle::archive::{self, OpenedArchive};
use crate::bundle::diagnostic::BundleError;
use crate::domain::authority::published::PublishedBundle;
use crate::domain::ids::BundleId;
use crate::domain::request::canonical;
use crate::reload::loading::Loader;
use crate::reload::report;
use crate::service::generation::LoadedBundle;
use crate::service::published::{PrepareBundle, PreparedBundle};

/// The place of a published bundle, for messages.
const SHOWN: &str = "bundle";

/// Opens and compiles published bundles.
pub struct PublishedCompiler {
    loader: Loader,
    keys: Option<VerifyingKeys>,
}

impl PublishedCompiler {
    /// A compiler under the configuration and the limits of this loader. With keys, what is not signed by one of them is
    /// refused.
    pub fn new(loader: Loader, keys: Option<VerifyingKeys>) -> Self {
        Self { loader, keys }
    }

    fn open(&self, archive: &[u8]) -> Result<OpenedArchive, String> {
        archive::open(archive, self.keys.as_ref(), SHOWN).map_err(|faults| lines(&faults))
    }
}

impl PrepareBundle for PublishedCompiler {
    fn id(&self, archive: &[u8]) -> Result<BundleId, String> {
        Ok(id(&self.open(archive)?))
    }

    fn prepare(&self, archive: &[u8]) -> Result<PreparedBundle, String> {
        let opened = self.open(archive)?;
        let published = PublishedBundle {
            id: id(&opened),
            digest: SmolStr::new(&opened.files.digest),
            version: opened.version,
            newest_version: opened.version,
            signed_by: opened.signed_by.as_deref().map(SmolStr::new),
            back_to: None,
        };
        // Without the configuration, which differs from server to server.
        let digest = Arc::clone(&opened.files.digest);
        let bundle = self.loader.compile_files(opened.files);
        let bundle = bundle.map_err(|faults| lines(&faults))?;
        Ok(PreparedBundle {
            load: LoadedBundle {
                snapshot: bundle.snapshot,
                claims: bundle.config.claims,
                policy_set_digest: digest,
            },
            published,
        })
    }
}

fn id(opened: &OpenedArchive) -> BundleId {
    format!("sha256:{}", canonical::hex(&opened.manifest_digest)).into()
}

fn lines(faults: &BundleError) -> String {
    report::faults(faults).join("\n")
}

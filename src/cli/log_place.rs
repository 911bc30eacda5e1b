//! Finds the decision log of a directory and the key of its capsules.

use std::path::Path;

use anyhow::Context;

use crate::analysis::replay::log::LogSource;
use crate::config::Config;

/// Where a verb looks for the decision log.
#[derive(Debug, Clone, Copy)]
pub struct LogPlace<'a> {
    /// The directory with the policies.
    pub directory: &'a Path,
    /// The configuration file, if it is not the one in the directory: paths in it are relative to it.
    pub config: Option<&'a Path>,
    /// The log, in place of the one that the configuration says.
    pub log: Option<&'a Path>,
    /// The key, in place of the one that the configuration says.
    pub key: Option<&'a Path>,
}

impl LogPlace<'_> {
    /// The log, all of its decisions.
    ///
    /// # Errors
    ///
    /// If there is no log, or the key cannot be read.
    pub fn source(&self, config: &Config) -> anyhow::Result<LogSource> {
        let beside = self.config.and_then(Path::parent);
        let base = beside.unwrap_or(self.directory);
        let configured = || config.audit.path(base, &config.state.path(base));
        let log = self.log.map_or_else(configured, Path::to_owned);
        // The key lies with the log, unless the configuration says where.
        let beside = || config.audit.key_path(base, &log);
        if let Some(key) = self.key {
            anyhow::ensure!(key.exists(), "there is no capsule key `{}`", key.display());
        }
        let key = self.key.map_or_else(beside, Path::to_owned);
        let source = LogSource::open(&log, &key).map_err(anyhow::Error::msg);
        source.with_context(|| format!("the decision log `{}`", log.display()))
    }
}

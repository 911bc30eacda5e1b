//! `[bundle]`: where the bundle comes from, strictness, and names that are defined outside of the bundle.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::config::toml_document::one_or_many;

/// Where the bundle comes from, which needs a restart; strictness, and names defined outside of it, which are reloaded.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BundleConfig {
    /// The directory with the bundle, if it is not that of the configuration. Relative paths of this section start at the
    /// configuration file.
    pub directory: Option<PathBuf>,
    /// An archive with the bundle, as `callgate bundle build` writes it, in the place of a directory.
    pub file: Option<PathBuf>,
    /// The address of such an archive: `https://…`.
    pub url: Option<String>,
    /// Public keys, PEM: with any, an archive or a published bundle has to be signed by one of them, and to be no older than
    /// the one in service. At most 16.
    #[serde(deserialize_with = "one_or_many")]
    pub public_key_files: Vec<PathBuf>,
    /// How often `file` or `url` is looked at, in seconds; 1 to 86,400.
    pub poll_seconds: u32,
    /// The certificate authority of `url`, PEM, in place of those that this system trusts.
    pub ca_file: Option<PathBuf>,
    /// The file with the bearer token for `url`. It is read for every request.
    pub token_file: Option<PathBuf>,
    /// Where the last good archive is kept, for starts at which there is no other. Absent: beside the database, with
    /// `.bundle` at the end of its name.
    pub cache_file: Option<PathBuf>,
    /// Whether bundles are published over the control API. The last one that was published is in service then; what the
    /// other settings name is, only until there is one.
    pub published: bool,
    /// Whether warnings are faults, which keep a bundle out of service.
    pub strict: bool,
    /// Lints of `callgate check` that are not told. The server looks for `permit-everything` alone.
    pub allow: Vec<String>,
    /// Directories below that are bundles of their own: they have their own `callgate.toml`, and nothing in them is read.
    pub apart: Vec<String>,
    /// Names that policies may use without a definition in the bundle.
    pub known: KnownNames,
}

/// Names defined outside of the bundle. `*` matches any text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KnownNames {
    /// Entities, e.g. `Mcp::Tool::"notion/*"`, that are stored through the control API.
    pub entities: Vec<String>,
    /// Labels of sessions.
    pub labels: Vec<String>,
    /// Roles of targets.
    pub roles: Vec<String>,
    /// Methods of identity verification.
    pub methods: Vec<String>,
    /// Tags of entities.
    pub tags: Vec<String>,
    /// Schemes of targets.
    pub schemes: Vec<String>,
    /// Environments of agents, servers and gateways.
    pub environments: Vec<String>,
    /// Arguments of tools that no pinned schema declares.
    pub arguments: Vec<String>,
}

impl Default for BundleConfig {
    fn default() -> Self {
        Self {
            directory: None,
            file: None,
            url: None,
            public_key_files: Vec::new(),
            poll_seconds: 30,
            ca_file: None,
            token_file: None,
            cache_file: None,
            published: false,
            strict: false,
            allow: Vec::new(),
            apart: Vec::new(),
            known: KnownNames::default(),
        }
    }
}

impl BundleConfig {
    /// The most public keys.
    const MAX_KEYS: usize = 16;
    /// How often an archive may be looked at, in seconds.
    const POLL_SECONDS: std::ops::RangeInclusive<u32> = 1..=86_400;

    /// Whether the bundle is an archive.
    pub fn is_archive(&self) -> bool {
        self.file.is_some() || self.url.is_some()
    }

    /// How often an archive is looked at.
    pub fn poll(&self) -> Duration {
        Duration::from_secs(self.poll_seconds.into())
    }

    /// Where the last good archive is kept, for a configuration in the directory `base` and this database file.
    pub fn cache_path(&self, base: &Path, database: &Path) -> PathBuf {
        match &self.cache_file {
            Some(file) => base.join(file),
            None => {
                let mut name = database.as_os_str().to_owned();
                name.push(".bundle");
                PathBuf::from(name)
            }
        }
    }

    /// The same with what is reloaded as it is in another one.
    pub(super) fn with_reloaded(&self, other: &Self) -> Self {
        Self {
            strict: other.strict,
            allow: other.allow.clone(),
            apart: other.apart.clone(),
            known: other.known.clone(),
            ..self.clone()
        }
    }

    /// Checks where the bundle comes from; each error with the path of its field.
    pub(super) fn source_faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let mut add = |field, said: &str| faults.push((field, said.to_owned()));
        let given = [
            ("bundle.directory", self.directory.is_some()),
            ("bundle.file", self.file.is_some()),
            ("bundle.url", self.url.is_some()),
        ];
        let mut given = given.into_iter().filter(|(_, is_given)| *is_given);
        let first = given.next();
        for (field, _) in given {
            let other = first.map_or("", |(field, _)| field);
            add(
                field,
                &format!("is set beside `{other}`: a bundle comes from one place"),
            );
        }
        let paths = [
            ("bundle.directory", &self.directory),
            ("bundle.file", &self.file),
            ("bundle.ca_file", &self.ca_file),
            ("bundle.token_file", &self.token_file),
            ("bundle.cache_file", &self.cache_file),
        ];
        for (field, path) in paths {
            if path.as_ref().is_some_and(|it| it.as_os_str().is_empty()) {
                add(field, "is an empty path");
            }
        }
        self.url_faults(&mut add);
        if self.cache_file.is_some() && !self.is_archive() {
            add("bundle.cache_file", "means nothing without `file` or `url`");
        }
        let keys = self.public_key_files.len();
        if keys > Self::MAX_KEYS {
            let most = Self::MAX_KEYS;
            add(
                "bundle.public_key_files",
                &format!("has {keys} keys, at most {most}"),
            );
        }
        if keys > 0 && !self.is_archive() && !self.published {
            add(
                "bundle.public_key_files",
                "means nothing for a directory: only archives and published bundles are signed",
            );
        }
        if !Self::POLL_SECONDS.contains(&self.poll_seconds) {
            let given = self.poll_seconds;
            add(
                "bundle.poll_seconds",
                &format!("is {given}, but must be from 1 to 86400"),
            );
        }
        faults
    }

    fn url_faults(&self, add: &mut impl FnMut(&'static str, &str)) {
        if let Some(url) = &self.url {
            let url = url::Url::parse(url).ok();
            let is_https = |it: &url::Url| it.scheme() == "https" && it.host_str().is_some();
            if !url.as_ref().is_some_and(is_https) {
                add("bundle.url", "is not a URL that begins with `https://`");
            } else if url.is_some_and(|it| !it.username().is_empty() || it.password().is_some()) {
                add("bundle.url", "holds a name or a password: use `token_file`");
            }
        } else {
            let said = "means nothing without `url`";
            if self.ca_file.is_some() {
                add("bundle.ca_file", said);
            }
            if self.token_file.is_some() {
                add("bundle.token_file", said);
            }
        }
    }
}

impl KnownNames {
    /// The most names of one list.
    const MAX_NAMES: usize = 1_000;
    /// The longest name, in bytes.
    const MAX_NAME_BYTES: usize = 1_024;

    /// Checks the names; each error with the path of its field.
    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let lists = [
            ("entities", &self.entities),
            ("labels", &self.labels),
            ("roles", &self.roles),
            ("methods", &self.methods),
            ("tags", &self.tags),
            ("schemes", &self.schemes),
            ("environments", &self.environments),
            ("arguments", &self.arguments),
        ];
        let mut faults = Vec::new();
        for (list, names) in lists {
            let field = format!("bundle.known.{list}");
            let most = Self::MAX_NAMES;
            if names.len() > most {
                faults.push((field, format!("has {} names, at most {most}", names.len())));
                continue;
            }
            for (index, name) in names.iter().enumerate() {
                let longest = Self::MAX_NAME_BYTES;
                let said = if name.is_empty() {
                    "is empty".to_owned()
                } else if name.len() > longest {
                    format!("is longer than {longest} bytes")
                } else if list == "entities" && !is_entity(name) {
                    format!("is `{name}`, but must be an entity such as `Mcp::Tool::\"notion/*\"`")
                } else {
                    continue;
                };
                faults.push((format!("{field}[{index}]"), said));
            }
        }
        faults
    }
}

/// Whether a text has the form of an entity's name: a type, `::` and a text in quotes.
fn is_entity(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let parts = name
        .strip_suffix('"')
        .and_then(|rest| rest.split_once("::\""));
    parts.is_some_and(|(kind, _)| {
        kind.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && kind.chars().all(allowed)
    })
}

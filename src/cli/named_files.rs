//! The certificates, keys and the database that a configuration names, held against what a start of the server would say of them.
//!
//! Start at [`look`]. What is there is read as a start reads it. What is not there may be where the server runs, and not where its
//! directory is checked.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use crate::audit::capsule::{CapsuleError, CapsuleKey};
use crate::audit::tree::key_file::{self, KeyError};
use crate::bundle::archive::signature::VerifyingKeys;
use crate::bundle::diagnostic::{BundleDiagnostic, SourceText};
use crate::config::Config;
use crate::config::audit::LogMode;
use crate::domain::error_chain::with_causes;
use crate::reload::source;
use crate::server::tls;
use crate::store::postgres::connection::Address;
use crate::store::postgres::status;
use crate::telemetry::setup;

/// What is found of the files that a configuration names.
#[derive(Debug, Default)]
pub struct NamedFiles {
    /// What a start refuses.
    pub faults: Vec<BundleDiagnostic>,
    /// What a start only logs.
    pub warnings: Vec<BundleDiagnostic>,
    /// What is not there.
    pub missing: Vec<MissingFile>,
    /// What the database says, if it was asked.
    pub database: Option<String>,
}

/// A file that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingFile {
    /// The setting that names it.
    pub field: String,
    /// The file.
    pub file: PathBuf,
}

/// Looks at everything that the configuration in this text names. With `connects` the server is to run here: what is not there is a
/// fault, and the database is asked.
pub fn look(config: &Config, origin: SourceText<'_>, base: &Path, connects: bool) -> NamedFiles {
    let mut look = Look {
        origin,
        base,
        connects,
        found: NamedFiles::default(),
    };
    look.tls(config);
    look.keys(config);
    look.store(config);
    if connects {
        for it in std::mem::take(&mut look.found.missing) {
            let said = format!("names `{}`, which is not there", it.file.display());
            look.fault(&it.field, &said);
        }
        look.connect(config);
    }
    look.found
}

struct Look<'a> {
    origin: SourceText<'a>,
    base: &'a Path,
    /// Whether the server is to run here, as this user.
    connects: bool,
    found: NamedFiles,
}

impl Look<'_> {
    fn fault(&mut self, field: &str, said: &str) {
        let fault = self.diagnostic(field, said);
        self.found.faults.push(fault);
    }

    /// Tells of a file that cannot be used. What only this user may not do, the server's may.
    fn unusable(&mut self, field: &str, error: &(dyn Error + 'static)) {
        let said = with_causes(error);
        match !self.connects && depends_on_user(error) {
            true => self.warning(
                field,
                &format!("cannot be judged, as the server may run as another user: {said}"),
            ),
            false => self.fault(field, &format!("cannot be used: {said}")),
        }
    }

    fn warning(&mut self, field: &str, said: &str) {
        let warning = self.diagnostic(field, said);
        self.found.warnings.push(warning);
    }

    fn diagnostic(&self, field: &str, said: &str) -> BundleDiagnostic {
        let place = Config::place(self.origin.text, self.origin.file, field, said);
        let span = place.span;
        BundleDiagnostic::at(self.origin, span.start, span.len(), place.message)
    }

    /// The path of a file that is there; one that is not is noted.
    fn there(&mut self, field: &str, file: &Path) -> Option<PathBuf> {
        let path = self.base.join(file);
        // One that cannot be looked at is told by whoever reads it.
        if path.try_exists().unwrap_or(true) {
            return Some(path);
        }
        self.found.missing.push(MissingFile {
            field: field.to_owned(),
            file: path,
        });
        None
    }

    /// Reads a file that is there, as a start does.
    fn read<E: Error + 'static>(
        &mut self,
        field: &str,
        file: Option<&PathBuf>,
        read: impl FnOnce(&Path) -> Result<(), E>,
    ) {
        let Some(path) = file.and_then(|file| self.there(field, file)) else {
            return;
        };
        if let Err(error) = read(&path) {
            self.unusable(field, &error);
        }
    }

    fn tls(&mut self, config: &Config) {
        let Some(files) = &config.tls else {
            return;
        };
        let named = [
            ("tls.cert", Some(&files.cert)),
            ("tls.key", Some(&files.key)),
            ("tls.client_ca", files.client_ca.as_ref()),
        ];
        let mut is_whole = true;
        for (field, file) in named {
            is_whole &= file.is_none_or(|file| self.there(field, file).is_some());
        }
        if !is_whole {
            return;
        }
        let loaded = match tls::load(files, self.base) {
            Ok(loaded) => loaded,
            Err(error) => return self.unusable("tls", &error),
        };
        let now = SystemTime::now();
        if let Err(error) = loaded.check_validity(now, &self.base.join(&files.cert)) {
            self.warning("tls.cert", &format!("will be refused by clients: {error}"));
        }
        if let Some(end) = loaded.client_ca_expires_at.filter(|end| *end < now) {
            let end = humantime::format_rfc3339_seconds(end);
            self.warning(
                "tls.client_ca",
                &format!("holds an authority that expired at {end}"),
            );
        }
    }

    fn keys(&mut self, config: &Config) {
        let audit = &config.audit;
        if audit.mode != LogMode::Off {
            let signing = audit.signing_key_file.as_ref();
            self.read("audit.signing_key_file", signing, |path| {
                key_file::read_signing_key(path).map(drop)
            });
            // One that is not there is made at the first start.
            let capsules = audit.capsule_key_file.as_ref();
            let capsules = capsules.filter(|file| audit.capsules && self.base.join(file).exists());
            self.read("audit.capsule_key_file", capsules, |path| {
                CapsuleKey::read_own(path).map(drop)
            });
        }
        let telemetry = &config.telemetry;
        let base = self.base.to_owned();
        let key = telemetry.arguments.hmac_key_file.as_ref();
        self.read("telemetry.arguments.hmac_key_file", key, |_| {
            setup::redaction(telemetry, &base, &|_| None).map(drop)
        });
        for (index, file) in config.bundle.public_key_files.iter().enumerate() {
            let field = format!("bundle.public_key_files[{index}]");
            self.read(&field, Some(file), |path| {
                VerifyingKeys::read(&[path.to_owned()], Path::new("")).map(drop)
            });
        }
        let authority = config.bundle.ca_file.as_ref();
        self.read("bundle.ca_file", authority, |path| {
            source::authorities(path)
                .map(drop)
                .map_err(std::io::Error::other)
        });
        let token = config.bundle.token_file.as_ref();
        self.read("bundle.token_file", token, |path| {
            std::fs::read_to_string(path).map(drop)
        });
    }

    fn store(&mut self, config: &Config) {
        let Some(url) = &config.state.url else {
            return;
        };
        let password = config.state.password_file.as_deref();
        let password = password.map(|file| ("state.password_file", PathBuf::from(file)));
        let of_url = files_of(url).map(|file| ("state.url", file));
        let named: Vec<_> = password.into_iter().chain(of_url).collect();
        let mut is_whole = true;
        for (field, file) in named {
            is_whole &= self.there(field, &file).is_some();
        }
        if is_whole && let Err(error) = self.address(config, url) {
            self.fault("state.url", &format!("cannot be used: {error}"));
        }
    }

    fn address(&self, config: &Config, url: &str) -> Result<Address, String> {
        let password = config.state.password_file.as_deref();
        Address::parse(url, self.base, password).map_err(|error| error.to_string())
    }

    /// Asks the database, if servers share one.
    fn connect(&mut self, config: &Config) {
        let Some(url) = &config.state.url else {
            return;
        };
        // What is wrong with the address is told.
        let Ok(address) = self.address(config, url) else {
            return;
        };
        let place = address.place();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let asked = runtime.map_err(|error| error.to_string()).and_then(|it| {
            it.block_on(status::look(address))
                .map_err(|error| error.to_string())
        });
        match asked {
            Ok(said) => self.found.database = Some(format!("{place}: {said}")),
            Err(error) => self.fault(
                "state.url",
                &format!("names a database that cannot be used: {error}"),
            ),
        }
    }
}

/// Whether another user may fare otherwise: by who may read a file, or by whose it is.
fn depends_on_user(error: &(dyn Error + 'static)) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let of_io = error.downcast_ref::<io::Error>().map(io::Error::kind);
        let of_key = match error.downcast_ref() {
            Some(CapsuleError::Mode(error)) => Some(error),
            _ => error.downcast_ref::<KeyError>(),
        };
        if of_io == Some(io::ErrorKind::PermissionDenied)
            || of_key.is_some_and(KeyError::is_of_user)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The files that the URL of a database names.
fn files_of(url: &str) -> impl Iterator<Item = PathBuf> {
    let pairs = url::Url::parse(url).ok();
    let pairs = pairs.into_iter().flat_map(|url| {
        let pairs = url.query_pairs().into_owned();
        pairs.collect::<Vec<_>>()
    });
    pairs
        .filter(|(name, _)| ["sslrootcert", "sslcert", "sslkey"].contains(&name.as_str()))
        .map(|(_, file)| PathBuf::from(file))
}

#[cfg(test)]
#[path = "named_files_tests.rs"]
mod tests;

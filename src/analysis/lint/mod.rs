//! Lints: what is in order by the rules of Cedar and of Callgate, and most likely not what was meant.
//!
//! Start at [`lint`]. [`code`] has every lint with its page, [`policies`] looks at policies, [`registered`] at tools,
//! [`siblings`] at tools of one definition in several registrations,
//! [`entities`] at entities, [`annotations`] writes reports for code scanning. No solver is asked: what only a proof can tell is told by [`crate::analysis::prove`].
//!
//! A lint is allowed where it is found: on a policy by `@allow("code, code")`, for everything else by `allow` of `[bundle]`
//! in `callgate.toml`.

pub mod annotations;
pub mod code;
mod entities;
mod policies;
mod registered;
mod siblings;
mod targets;

use serde::Serialize;

use crate::analysis::lint::code::Code;
use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::files::{BundleFiles, FileKind};
use crate::bundle::parse::policies as parsed;
use crate::bundle::parse::registration::{self, Registration};
use crate::bundle::{Bundle, files::SourceFile};
use crate::config::Config;

/// Places of one lint that are kept.
const MAX_PLACES: usize = 1_000;

/// One lint with all its places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lint {
    /// Which.
    pub code: Code,
    /// Where, ordered by place.
    pub places: Vec<BundleDiagnostic>,
    /// How many more places there are.
    pub left_out: usize,
}

/// Finds what of a compiled bundle is most likely a mistake. Ordered by code.
pub fn lint(files: &BundleFiles, bundle: &Bundle) -> Vec<Lint> {
    // Both lists stay empty: the same files have just compiled.
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    let policies = parsed::collect(
        files.of_kind(FileKind::Policies),
        &mut faults,
        &mut warnings,
    );
    let registrations: Vec<(&SourceFile, Registration)> = files
        .of_kind(FileKind::Registration)
        .filter_map(|source| Some((source, registration::parse(source, &mut faults)?)))
        .collect();
    let allowed = &bundle.config.bundle.allow;
    let mut found = policies::find(&policies);
    found.extend(registered::find(&policies, &registrations));
    found.extend(siblings::find(&bundle.snapshot, &policies, &registrations));
    found.extend(entities::find(files, &policies));
    found.extend(unknown(files, allowed));
    let mut lints: Vec<Lint> = Vec::new();
    for code in Code::ALL {
        let is_allowed = allowed.iter().any(|name| name == code.as_str());
        let of = found.iter().filter(|(found, _)| *found == code);
        let mut places: Vec<BundleDiagnostic> = of.map(|(_, place)| place.clone()).collect();
        if is_allowed || places.is_empty() {
            continue;
        }
        crate::bundle::diagnostic::order(&mut places);
        let left_out = places.len().saturating_sub(MAX_PLACES);
        places.truncate(MAX_PLACES);
        lints.push(Lint {
            code,
            places,
            left_out,
        });
    }
    lints
}

/// Names in `allow` of `[bundle]` that are no lint.
fn unknown(files: &BundleFiles, allowed: &[String]) -> Vec<(Code, BundleDiagnostic)> {
    let Some(source) = files.of_kind(FileKind::Config).next() else {
        return Vec::new();
    };
    let names = allowed.iter().enumerate();
    names
        .filter(|(_, name)| Code::from_name(name).is_none())
        .map(|(index, name)| {
            let field = format!("bundle.allow[{index}]");
            let said = format!("names no lint: there is no `{name}`");
            let place = Config::place(&source.text, &source.file, &field, &said);
            let length = place.span.len();
            let start = place.span.start;
            let found = BundleDiagnostic::at(source.origin(), start, length, place.message);
            (Code::UnknownLint, found)
        })
        .collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

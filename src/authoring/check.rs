//! Checks a directory and says what is in it.
//!
//! Start at [`check`].

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::bundle::fault::{Fault, Faults};
use crate::bundle::files::{self, Files};
use crate::bundle::registration::{Effect, Status};
use crate::bundle::{self, Bundle, Counts};

/// What a directory holds, and what its readers should know.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `sha256:<hex>` over all files.
    pub digest: String,
    /// How much there is of everything.
    pub counts: Counts,
    /// The policies of each file.
    pub concerns: Vec<Concern>,
    /// How many policies each owner answers for; what nobody owns is under `None`.
    pub owners: BTreeMap<String, usize>,
    /// Policies without an owner, by id.
    pub unowned: Vec<String>,
    /// Policies that are watched but not enforced, by id.
    pub shadow: Vec<String>,
    /// How many confirmed tools have each effect.
    pub effects: BTreeMap<String, usize>,
    /// Tools that await a person and count as admin until then.
    pub unconfirmed: Vec<Unconfirmed>,
    /// What deserves a second look.
    pub warnings: Vec<Fault>,
}

/// One file of policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Concern {
    /// The file.
    pub file: String,
    /// Its permits.
    pub permits: usize,
    /// Its forbids.
    pub forbids: usize,
}

/// A tool that nobody has confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unconfirmed {
    /// `<server>/<tool>`.
    pub tool: String,
    /// What was proposed.
    pub proposed_effect: Effect,
    /// Whether it had been confirmed before its server changed it.
    pub is_changed: bool,
}

/// Loads a directory as a server would, with the configuration from a file of its own if one is named, and reports
/// on it. If it is strict, so is this; `is_strict` makes it so in any case.
pub fn check(dir: &Path, config: Option<&Path>, is_strict: bool) -> Result<Report, Faults> {
    let files = config
        .into_iter()
        .fold(files::read(dir)?, Files::with_config);
    let compile = match is_strict {
        true => bundle::compile_strictly,
        false => bundle::compile,
    };
    compile(&files).map(|bundle| report(&bundle))
}

fn report(bundle: &Bundle) -> Report {
    let mut concerns: Vec<Concern> = Vec::new();
    let mut owners: BTreeMap<String, usize> = BTreeMap::new();
    for policy in &bundle.policies {
        if concerns
            .last()
            .is_none_or(|concern| *concern.file != *policy.file)
        {
            concerns.push(Concern {
                file: policy.file.to_string(),
                permits: 0,
                forbids: 0,
            });
        }
        if let Some(concern) = concerns.last_mut() {
            *(if policy.is_forbid {
                &mut concern.forbids
            } else {
                &mut concern.permits
            }) += 1;
        }
        if let Some(owner) = &policy.owner {
            *owners.entry(owner.clone()).or_default() += 1;
        }
    }
    let ids = |keep: fn(&bundle::policies::PolicyEntry) -> bool| {
        bundle
            .policies
            .iter()
            .filter(|policy| keep(policy))
            .map(|policy| policy.id.clone())
            .collect()
    };
    let mut effects: BTreeMap<String, usize> = BTreeMap::new();
    let mut unconfirmed = Vec::new();
    for tool in &bundle.tools {
        match tool.status {
            Status::Confirmed => *effects.entry(tool.effect.to_string()).or_default() += 1,
            Status::Proposed => unconfirmed.push(Unconfirmed {
                tool: format!("{}/{}", tool.server, tool.name),
                proposed_effect: tool.effect,
                is_changed: tool.is_changed,
            }),
        }
    }
    Report {
        digest: bundle.digest.to_string(),
        counts: bundle.counts,
        concerns,
        owners,
        unowned: ids(|policy| policy.owner.is_none()),
        shadow: ids(|policy| policy.is_shadow),
        effects,
        unconfirmed,
        warnings: bundle.warnings.clone(),
    }
}

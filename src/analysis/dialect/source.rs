//! Reads the files: Cedar text, or ToolHive's configuration with policies in it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callgate_engine::cedar::{Effect, PolicySet, api, parse_policyset};
use serde::Deserialize;

use crate::analysis::dialect::Dialect;
use crate::bundle::diagnostic::{BundleDiagnostic, BundleError, SourceText};
use crate::bundle::parse::json;

/// The largest file, in bytes.
const MAX_FILE_BYTES: u64 = 8 << 20;
/// The most policies of all files.
const MAX_POLICIES: usize = 10_000;

/// A policy as the product has it.
#[derive(Debug)]
pub struct ForeignPolicy {
    file: Arc<str>,
    text: Arc<str>,
    /// The place in the text; `None` for one in a JSON file.
    pub offset: Option<usize>,
    /// The number in its file, from 1.
    pub number: usize,
    /// Whether it forbids.
    pub is_forbid: bool,
    /// The policy; `None` for a template.
    pub policy: Option<api::Policy>,
    /// Whether entities come with it that are not read.
    pub has_entities: bool,
}

/// ToolHive's configuration, as far as it is about policies.
#[derive(Deserialize)]
struct ToolhiveFile {
    cedar: ToolhivePolicies,
}

#[derive(Deserialize)]
struct ToolhivePolicies {
    policies: Vec<String>,
    /// Entities, as a text in JSON.
    #[serde(default)]
    entities_json: Option<String>,
    /// The type of groups; `THVGroup` if it is empty.
    #[serde(default)]
    group_entity_type: Option<String>,
    /// Claims that are texts and lists at once.
    #[serde(default)]
    multi_valued_claims: Option<Vec<String>>,
}

impl ToolhivePolicies {
    /// What of the configuration gives its policies another meaning.
    fn fault(&self) -> Option<&'static str> {
        let group = self.group_entity_type.as_deref().unwrap_or_default();
        if !matches!(group, "" | "THVGroup") {
            return Some("`group_entity_type` names other groups than `THVGroup`");
        }
        let claims = self.multi_valued_claims.as_deref().unwrap_or_default();
        (!claims.is_empty()).then_some("`multi_valued_claims` changes what claims are")
    }

    /// Whether there are entities, which may put groups into groups.
    fn has_entities(&self) -> bool {
        let text = self.entities_json.as_deref().unwrap_or_default().trim();
        let read: Result<Vec<serde::de::IgnoredAny>, _> = serde_json::from_str(text);
        !text.is_empty() && read.map_or(true, |all| !all.is_empty())
    }
}

impl ForeignPolicy {
    /// The file and its text.
    pub fn origin(&self) -> SourceText<'_> {
        SourceText {
            file: &self.file,
            text: &self.text,
        }
    }

    /// `policies.cedar:12`, or `authz.json, policy 3`.
    pub fn place(&self) -> String {
        match self.offset {
            Some(offset) => {
                let before = self.text.get(..offset).unwrap_or_default();
                format!("{}:{}", self.file, before.matches('\n').count() + 1)
            }
            None => format!("{}, policy {}", self.file, self.number),
        }
    }
}

/// Reads all files.
///
/// # Errors
///
/// Every fault: a file that cannot be read, is too large, or holds no policies.
pub fn read(paths: &[PathBuf], dialect: Dialect) -> Result<Vec<ForeignPolicy>, BundleError> {
    let (mut policies, mut faults) = (Vec::new(), Vec::new());
    for path in paths {
        if let Err(fault) = read_file(path, dialect, &mut policies) {
            faults.push(fault);
        }
    }
    match BundleError::from_diagnostics(faults) {
        Some(faults) => Err(faults),
        None => Ok(policies),
    }
}

fn read_file(
    path: &Path,
    dialect: Dialect,
    policies: &mut Vec<ForeignPolicy>,
) -> Result<(), BundleDiagnostic> {
    let file: Arc<str> = Arc::from(path.display().to_string());
    let fault = |message: String| BundleDiagnostic::for_file(&file, message);
    let mut text = String::new();
    File::open(path)
        .and_then(|opened| opened.take(MAX_FILE_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| fault(format!("cannot read the file: {error}")))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(fault(format!("the file exceeds {MAX_FILE_BYTES} bytes")));
    }
    let before = policies.len();
    let is_json = text.trim_start().starts_with('{');
    if dialect == Dialect::Toolhive && is_json {
        let origin = SourceText {
            file: &file,
            text: &text,
        };
        // The reader of the structure passes over what is not asked for.
        json::parse(origin)?;
        let read: ToolhiveFile = serde_json::from_str(&text).map_err(|error| {
            let message =
                format!("this is no configuration of ToolHive's Cedar authorizer: {error}");
            BundleDiagnostic::at_line(origin, error.line(), error.column(), message)
        })?;
        if let Some(said) = read.cedar.fault() {
            return Err(fault(format!("{said}, which is not carried over")));
        }
        for (index, text) in read.cedar.policies.iter().enumerate() {
            add(&file, text, Some(index + 1), policies)?;
        }
        for policy in policies.iter_mut().skip(before) {
            policy.has_entities = read.cedar.has_entities();
        }
    } else {
        add(&file, &text, None, policies)?;
    }
    if policies.len() == before {
        return Err(fault("there are no policies here".to_owned()));
    }
    if policies.len() > MAX_POLICIES {
        return Err(fault(format!(
            "there are more than {MAX_POLICIES} policies"
        )));
    }
    Ok(())
}

/// Adds the policies of a text; `number` is that of a text in a JSON file.
fn add(
    file: &Arc<str>,
    text: &str,
    number: Option<usize>,
    policies: &mut Vec<ForeignPolicy>,
) -> Result<(), BundleDiagnostic> {
    let origin = SourceText { file, text };
    let parsed: PolicySet = parse_policyset(text).map_err(|errors| {
        let first = BundleDiagnostic::from_diagnostic(origin, &errors);
        match number {
            Some(number) => {
                BundleDiagnostic::for_file(file, format!("policy {number}: {}", first.message))
            }
            None => first,
        }
    })?;
    let shared: Arc<str> = Arc::from(text);
    let set = api::PolicySet::from(parsed.clone());
    let mut found: Vec<ForeignPolicy> = Vec::new();
    for template in parsed.all_templates() {
        let start = template.loc().map_or(0, |loc| loc.span.offset());
        found.push(ForeignPolicy {
            file: Arc::clone(file),
            text: Arc::clone(&shared),
            offset: number.is_none().then_some(start),
            number: number.unwrap_or(start),
            is_forbid: template.effect() == Effect::Forbid,
            policy: set.policy(&api::PolicyId::new(template.id())).cloned(),
            has_entities: false,
        });
    }
    found.sort_by_key(|it| it.offset.unwrap_or(it.number));
    if number.is_none() {
        for (index, policy) in found.iter_mut().enumerate() {
            policy.number = index + 1;
        }
    }
    policies.extend(found);
    Ok(())
}

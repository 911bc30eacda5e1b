//! Parses the policies and templates of `*.cedar` files and assigns their ids.
//!
//! Start at [`collect`]. [`ParsedPolicies::parse`] reads one file by itself; what is told of it depends on its path and
//! its text alone, so it can be kept. [`Policies`] is what all files hold together.

use std::collections::HashMap;
use std::sync::Arc;

use callgate_engine::cedar::{
    Annotation, AnyId, Effect, Loc, Policy, PolicyID, PolicySet, StaticPolicy, Template,
    parse_policyset,
};
use callgate_engine::obligation::{self, Obligation};

use crate::bundle::diagnostic::{BundleDiagnostic, SourceText};
use crate::bundle::files::SourceFile;
use crate::bundle::parallel::map_parallel;
use crate::bundle::parse::json;
use crate::bundle::parse::nesting::{self, Language};
use crate::bundle::parse::schema::every_diagnostic;
use crate::domain::request::visible::has_invisible;

/// The most policies, templates and links of a bundle.
pub const MAX_POLICIES: usize = 500_000;
/// The longest policy id, in bytes.
const MAX_ID_BYTES: usize = 256;
/// Longer names of annotations are not compared with the known ones.
const MAX_NAME_CHARS: usize = 32;
/// Annotations that Callgate interprets; others pass unchecked.
const KNOWN: [&str; 7] = [
    "id",
    "owner",
    "controls",
    "reason",
    "obligation",
    "mode",
    "allow",
];

/// Those of them that say nothing without a value. An id and a mode have faults of their own.
const NEED_VALUE: [&str; 5] = ["owner", "controls", "reason", "obligation", "allow"];

/// Bytes of policies from which on parsing is parallel.
const SHARED_OUT_BYTES: usize = 16 << 10;

/// How an obligation can be written.
const OBLIGATION_HELP: &str = "write names, `log:full`, or JSON with `type` and `properties`, and an `id` if you like: \
    {\"type\": \"step-up\", \"properties\": {\"acr_value\": \"urn:example:loa:3\"}}";

/// The place of a policy and its annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyEntry {
    /// Its id in the set.
    pub id: String,
    /// The file.
    pub file: Arc<str>,
    /// The line it begins on, from 1.
    pub line: u32,
    /// The accountable owner (`@owner`).
    pub owner: Option<String>,
    /// Whether its effect is `forbid`.
    pub is_forbid: bool,
    /// Whether it is a template, which applies only once linked.
    pub is_template: bool,
    /// `@mode("shadow")`.
    pub is_shadow: bool,
}

/// Every policy of the bundle.
#[derive(Debug, Default)]
pub struct Policies {
    /// All policies, templates and links.
    pub set: PolicySet,
    /// The same by place, ordered by file and line.
    pub entries: Vec<PolicyEntry>,
    /// Index of the source, offset and length of each policy, by id.
    places: HashMap<String, (usize, usize, usize)>,
    sources: Vec<SourceFile>,
    /// Each obligation by its id, and the place of its first use.
    obligations: HashMap<Box<str>, (Obligation, String)>,
}

impl Policies {
    /// The source of a policy or template, with the offset and length of its text in bytes.
    pub fn place(&self, id: &str) -> Option<(SourceText<'_>, usize, usize)> {
        let (source, offset, length) = self.places.get(id)?;
        self.sources
            .get(*source)
            .map(|source| (source.origin(), *offset, *length))
    }
}

/// The policies of one file, or why it cannot be parsed.
#[derive(Debug)]
pub(crate) struct ParsedPolicies {
    policies: Vec<ParsedPolicy>,
    faults: Vec<BundleDiagnostic>,
}

/// One policy or template, with what its own text tells of it.
#[derive(Debug)]
struct ParsedPolicy {
    policy: StaticOrTemplate,
    entry: PolicyEntry,
    /// Where it begins, and its length.
    span: (usize, usize),
    faults: Vec<BundleDiagnostic>,
    warnings: Vec<BundleDiagnostic>,
    obligations: Vec<Obligation>,
    /// Where these are written.
    obligations_span: (usize, usize),
}

#[derive(Debug)]
enum StaticOrTemplate {
    Static(Policy),
    Template(Template),
}

impl ParsedPolicies {
    /// Parses one file.
    pub(crate) fn parse(source: &SourceFile) -> Self {
        let mut parsed = Self {
            policies: Vec::new(),
            faults: Vec::new(),
        };
        if let Some(fault) = nesting::find_excess(source.origin(), Language::Policies) {
            parsed.faults.push(fault);
            return parsed;
        }
        match parse_policyset(&source.text) {
            Ok(set) => {
                let mut templates: Vec<&Template> = set.all_templates().collect();
                templates.sort_by_key(|template| template.loc().map_or(0, Loc::start));
                // Continue counting lines from the previous policy: counting from the top is quadratic.
                let (mut line, mut counted) = (1, 0);
                for (position, template) in templates.into_iter().enumerate() {
                    let start = template.loc().map_or(counted, Loc::start);
                    let between = source.text.get(counted..start).unwrap_or_default();
                    line += between.matches('\n').count();
                    counted = start;
                    let place = (position, line);
                    parsed
                        .policies
                        .push(ParsedPolicy::new(source, place, template));
                }
            }
            Err(errors) => {
                parsed.faults = errors
                    .iter()
                    .flat_map(|error| every_diagnostic(source.origin(), error))
                    .collect();
            }
        }
        parsed
    }

    /// The number of its policies and templates.
    pub(crate) fn count(&self) -> usize {
        self.policies.len()
    }

    /// The ids of its policies and templates.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &PolicyID> {
        self.policies.iter().map(|parsed| match &parsed.policy {
            StaticOrTemplate::Static(policy) => policy.id(),
            StaticOrTemplate::Template(template) => template.id(),
        })
    }
}

impl ParsedPolicy {
    fn new(source: &SourceFile, (position, line): (usize, usize), template: &Template) -> Self {
        let (mut faults, mut warnings) = (Vec::new(), Vec::new());
        let origin = source.origin();
        let (offset, length) = template
            .loc()
            .map_or((0, 0), |loc| (loc.start(), loc.end() - loc.start()));
        let annotations = check_annotations(origin, template, &mut faults, &mut warnings);
        let obligation = annotations.get("obligation");
        let loc = obligation.and_then(|(_, loc)| loc.or(template.loc()));
        let read = obligation.and_then(|(text, _)| obligation::read(text).ok());
        let id = match annotations.get("id") {
            Some((id, _)) if !id.is_empty() => (*id).to_owned(),
            _ => format!("{}#{}", source.stem, position + 1),
        };
        let annotation = |name: &str| annotations.get(name).map(|(text, _)| *text);
        let entry = PolicyEntry {
            file: Arc::clone(&source.file),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            owner: annotation("owner").map(str::to_owned),
            is_forbid: template.effect() == Effect::Forbid,
            is_template: template.slots().next().is_some(),
            is_shadow: annotation("mode") == Some("shadow"),
            id,
        };
        let named = template.new_id(PolicyID::from_string(&entry.id));
        Self {
            policy: match StaticPolicy::try_from(named.clone()) {
                Ok(policy) => StaticOrTemplate::Static(policy.into()),
                Err(_) => StaticOrTemplate::Template(named),
            },
            entry,
            span: (offset, length),
            faults,
            warnings,
            obligations: read.unwrap_or_default(),
            obligations_span: loc
                .map_or((offset, length), |it| (it.start(), it.end() - it.start())),
        }
    }
}

/// Parses every file that was not parsed before, on all processors if it is much. `known` has what a file was parsed to.
pub(crate) fn parse_all(
    sources: &[&SourceFile],
    known: impl Fn(&SourceFile) -> Option<Arc<ParsedPolicies>>,
) -> Vec<Arc<ParsedPolicies>> {
    let mut parsed: Vec<_> = sources.iter().map(|source| known(source)).collect();
    let missing = || parsed.iter().zip(sources).filter(|(it, _)| it.is_none());
    let left: Vec<&SourceFile> = missing().map(|(_, source)| *source).collect();
    let bytes: usize = left.iter().map(|source| source.text.len()).sum();
    let new = map_parallel(left, bytes >= SHARED_OUT_BYTES, |source| {
        Arc::new(ParsedPolicies::parse(source))
    });
    let empty = parsed.iter_mut().filter(|it| it.is_none());
    for (place, new) in empty.zip(new) {
        *place = Some(new);
    }
    parsed.into_iter().flatten().collect()
}

/// Parses every file. Policies of a file that does not parse are missing from the set.
pub fn collect<'a>(
    sources: impl Iterator<Item = &'a SourceFile>,
    faults: &mut Vec<BundleDiagnostic>,
    warnings: &mut Vec<BundleDiagnostic>,
) -> Policies {
    let sources: Vec<&SourceFile> = sources.collect();
    let parsed = parse_all(&sources, |_| None);
    assemble(&sources, &parsed, faults, warnings)
}

/// Puts the policies of all files together.
pub(crate) fn assemble(
    sources: &[&SourceFile],
    parsed: &[Arc<ParsedPolicies>],
    faults: &mut Vec<BundleDiagnostic>,
    warnings: &mut Vec<BundleDiagnostic>,
) -> Policies {
    let mut policies = Policies::default();
    let count = parsed.iter().map(|it| it.policies.len()).sum();
    policies.places.reserve(count);
    policies.entries.reserve(count);
    for (source, parsed) in sources.iter().zip(parsed) {
        faults.extend(parsed.faults.iter().cloned());
        if parsed.faults.is_empty() && parsed.policies.is_empty() {
            let warning = BundleDiagnostic::for_file(&source.file, "no policy is in this file");
            warnings.push(
                warning.with_help("it may have been cut off; take it away if it is to hold none"),
            );
        }
        let index = policies.sources.len();
        policies.sources.push((*source).clone());
        for policy in &parsed.policies {
            policies.add(index, policy, faults, warnings);
        }
    }
    policies
}

impl Policies {
    fn add(
        &mut self,
        source_index: usize,
        parsed: &ParsedPolicy,
        faults: &mut Vec<BundleDiagnostic>,
        warnings: &mut Vec<BundleDiagnostic>,
    ) {
        let (offset, length) = parsed.span;
        let whole = |source: &SourceFile, message: String| {
            let origin = source.origin();
            let shown = first_line(origin.text, offset, length);
            BundleDiagnostic::at(origin, offset, shown, message)
        };
        if self.entries.len() >= MAX_POLICIES {
            if self.entries.len() == MAX_POLICIES {
                let message = format!("the bundle holds more than {MAX_POLICIES} policies");
                faults.push(whole(&self.sources[source_index], message));
            }
            return;
        }
        faults.extend(parsed.faults.iter().cloned());
        warnings.extend(parsed.warnings.iter().cloned());
        if !parsed.obligations.is_empty() {
            self.add_obligations(source_index, parsed, faults);
        }
        let id = &parsed.entry.id;
        let origin = self.sources[source_index].origin();
        if let Some(earlier) = self.place(id) {
            let length = first_line(origin.text, offset, length);
            return report_duplicate_id(id, earlier, (origin, offset, length), faults);
        }
        let added = match &parsed.policy {
            StaticOrTemplate::Static(policy) => self.set.add(policy.clone()),
            StaticOrTemplate::Template(template) => self.set.add_template(template.clone()),
        };
        if let Err(error) = added {
            faults.push(whole(&self.sources[source_index], error.to_string()));
            return;
        }
        self.places
            .insert(id.clone(), (source_index, offset, length));
        self.entries.push(parsed.entry.clone());
    }

    /// Checks that an id stands for one obligation throughout the bundle, since one response may carry both.
    fn add_obligations(
        &mut self,
        source_index: usize,
        parsed: &ParsedPolicy,
        faults: &mut Vec<BundleDiagnostic>,
    ) {
        let source = &self.sources[source_index];
        for obligation in &parsed.obligations {
            match self.obligations.get(&obligation.id) {
                Some((known, _)) if known == obligation => {}
                Some((_, elsewhere)) => {
                    let message = format!(
                        "`@obligation` has the id `{}`, which is another obligation in {elsewhere}",
                        obligation.id
                    );
                    let (start, length) = parsed.obligations_span;
                    let fault = BundleDiagnostic::at(source.origin(), start, length, message);
                    faults.push(fault);
                }
                None => {
                    let place = format!("`{}` line {}", source.file, parsed.entry.line);
                    self.obligations
                        .insert(obligation.id.clone(), (obligation.clone(), place));
                }
            }
        }
    }
}

type Annotated<'a> = HashMap<&'a str, (&'a str, Option<&'a Loc>)>;

/// Reports an id at both places that use it; each message names the other place.
fn report_duplicate_id(
    id: &str,
    (earlier, earlier_offset, earlier_length): (SourceText<'_>, usize, usize),
    (origin, offset, length): (SourceText<'_>, usize, usize),
    faults: &mut Vec<BundleDiagnostic>,
) {
    let earlier_length = first_line(earlier.text, earlier_offset, earlier_length);
    let at = |message| BundleDiagnostic::at(origin, offset, length, message);
    let message = |other: &BundleDiagnostic| {
        let (file, line) = (&other.file, other.line.unwrap_or(0));
        format!("the policy id `{id}` is used twice, also in `{file}` line {line}")
    };
    let here = at(String::new());
    let there = BundleDiagnostic::at(earlier, earlier_offset, earlier_length, message(&here));
    faults.push(at(message(&there)));
    faults.push(there);
}

/// Checks the known annotations: a wrong `@mode` would enforce a shadow policy or the reverse, and a misspelt name
/// would silently lose an owner or a control.
fn check_annotations<'a>(
    origin: SourceText<'_>,
    template: &'a Template,
    faults: &mut Vec<BundleDiagnostic>,
    warnings: &mut Vec<BundleDiagnostic>,
) -> Annotated<'a> {
    let read = |(name, value): (&'a AnyId, &'a Annotation)| {
        let name: &str = name.as_ref();
        (name, (value.val.as_str(), value.loc.as_ref()))
    };
    let annotations: Annotated<'a> = template.annotations().map(read).collect();
    let at = |loc: Option<&Loc>, message: String| match loc.or(template.loc()) {
        Some(loc) => BundleDiagnostic::at(origin, loc.start(), loc.end() - loc.start(), message),
        None => BundleDiagnostic::for_file(origin.file, message),
    };
    for (name, (value, loc)) in &annotations {
        match *name {
            // An empty value is no value, but looks like one to whoever reads the policy, and to lints.
            name if NEED_VALUE.contains(&name) && value.trim().is_empty() => {
                let fault = at(*loc, format!("an empty `@{name}`"));
                faults.push(fault.with_help("write what it is to say, or take it away"));
            }
            "mode" if !matches!(*value, "shadow" | "enforce") => {
                let message = format!("`{value}` is not a mode");
                faults.push(
                    at(*loc, message)
                        .with_help("write `@mode(\"shadow\")`, or `@mode(\"enforce\")` like none"),
                );
            }
            "id" if value.trim().is_empty() => {
                faults.push(at(*loc, "an empty policy id".to_owned()))
            }
            "id" if value.len() > MAX_ID_BYTES => {
                faults.push(at(
                    *loc,
                    format!("a policy id is longer than {MAX_ID_BYTES} bytes"),
                ));
            }
            "id" if value.chars().any(|c| c.is_control() || c == '`') => {
                faults.push(at(
                    *loc,
                    "a policy id holds a backtick or a control character".to_owned(),
                ));
            }
            "obligation" => {
                if let Err(said) = obligations(origin, value) {
                    let fault = at(*loc, format!("`@obligation` {said}"));
                    faults.push(fault.with_help(OBLIGATION_HELP));
                }
            }
            name if KNOWN.contains(&name) => {}
            name => {
                if let Some(meant) = meant(name) {
                    let warning = at(*loc, format!("`@{name}` means nothing here"));
                    warnings.push(warning.with_help(format!("did you mean `{meant}`?")));
                }
            }
        }
    }
    annotations
}

/// Parses an `@obligation`; a duplicate key is a fault, as in every JSON of a bundle.
fn obligations(origin: SourceText<'_>, value: &str) -> Result<(), String> {
    if obligation::read(value)?.is_empty() {
        return Err("names no obligation".to_owned());
    }
    if value.trim_start().starts_with(['{', '[']) {
        let file = origin.file;
        json::parse(SourceText { file, text: value }).map_err(|it| format!("is {}", it.message))?;
    }
    match has_invisible(value) {
        true => Err("holds a character that nobody sees".to_owned()),
        false => Ok(()),
    }
}

/// What an unknown annotation was most likely meant to be: a known one within an edit distance of two, or a mode.
fn meant(name: &str) -> Option<String> {
    let lower: String = name.to_lowercase().chars().take(MAX_NAME_CHARS).collect();
    if matches!(&*lower, "shadow" | "enforce") {
        return Some(format!("@mode(\"{lower}\")"));
    }
    let reach = |known: &str| if known.len() <= 4 { 1 } else { 2 };
    let is_near = |known: &&str| strsim::osa_distance(&lower, known) <= reach(known);
    let near = KNOWN.into_iter().find(is_near);
    near.filter(|_| lower.len() > 1)
        .map(|near| format!("@{near}"))
}

/// Length of the first line of a span: a caret under a whole policy is of no help.
pub(crate) fn first_line(text: &str, offset: usize, length: usize) -> usize {
    let span = text.get(offset..offset + length).unwrap_or_default();
    span.find('\n').unwrap_or(length)
}

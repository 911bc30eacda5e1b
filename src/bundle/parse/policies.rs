//! Parses the policies and templates of `*.cedar` files and assigns their ids.
//!
//! Start at [`collect`].

use std::collections::HashMap;
use std::sync::Arc;

use callgate_engine::cedar::{
    Annotation, AnyId, Effect, Loc, PolicyID, PolicySet, StaticPolicy, Template, parse_policyset,
};
use callgate_engine::obligation::{self, Obligation};

use crate::bundle::diagnostic::{BundleDiagnostic, SourceText};
use crate::bundle::files::SourceFile;
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

/// Parses every file. Policies of a file that does not parse are missing from the set.
pub fn collect<'a>(
    sources: impl Iterator<Item = &'a SourceFile>,
    faults: &mut Vec<BundleDiagnostic>,
    warnings: &mut Vec<BundleDiagnostic>,
) -> Policies {
    let mut policies = Policies::default();
    for source in sources {
        if let Some(fault) = nesting::find_excess(source.origin(), Language::Policies) {
            faults.push(fault);
            continue;
        }
        match parse_policyset(&source.text) {
            Ok(set) => {
                let index = policies.sources.len();
                policies.sources.push(source.clone());
                let mut templates: Vec<&Template> = set.all_templates().collect();
                templates.sort_by_key(|template| template.loc().map_or(0, Loc::start));
                // Continue counting lines from the previous policy: counting from the top is quadratic.
                let (mut line, mut counted) = (1, 0);
                for (position, template) in templates.into_iter().enumerate() {
                    let start = template.loc().map_or(counted, Loc::start);
                    let between = source.text.get(counted..start).unwrap_or_default();
                    line += between.matches('\n').count();
                    counted = start;
                    policies.add(index, (position, line), template, faults, warnings);
                }
            }
            Err(errors) => {
                faults.extend(
                    errors
                        .iter()
                        .flat_map(|error| every_diagnostic(source.origin(), error)),
                );
            }
        }
    }
    policies
}

impl Policies {
    fn add(
        &mut self,
        source_index: usize,
        (position, line): (usize, usize),
        template: &Template,
        faults: &mut Vec<BundleDiagnostic>,
        warnings: &mut Vec<BundleDiagnostic>,
    ) {
        let source = self.sources[source_index].clone();
        let origin = source.origin();
        let (offset, length) = template
            .loc()
            .map_or((0, 0), |loc| (loc.start(), loc.end() - loc.start()));
        let whole = |message: String| {
            BundleDiagnostic::at(
                origin,
                offset,
                first_line(origin.text, offset, length),
                message,
            )
        };
        if self.entries.len() >= MAX_POLICIES {
            if self.entries.len() == MAX_POLICIES {
                faults.push(whole(format!(
                    "the bundle holds more than {MAX_POLICIES} policies"
                )));
            }
            return;
        }
        let annotations = check_annotations(origin, template, faults, warnings);
        if let Some((text, loc)) = annotations.get("obligation") {
            let place = format!("`{}` line {line}", source.file);
            let loc = loc.or(template.loc());
            let span = loc.map_or((offset, length), |it| (it.start(), it.end() - it.start()));
            self.add_obligations(text, place, |message| {
                faults.push(BundleDiagnostic::at(origin, span.0, span.1, message));
            });
        }
        let id = match annotations.get("id") {
            Some((id, _)) if !id.is_empty() => (*id).to_owned(),
            _ => format!("{}#{}", source.stem, position + 1),
        };
        let is_template = template.slots().next().is_some();
        if let Some(earlier) = self.place(&id) {
            let length = first_line(origin.text, offset, length);
            return report_duplicate_id(&id, earlier, (origin, offset, length), faults);
        }
        let named = template.new_id(PolicyID::from_string(&id));
        let added = match StaticPolicy::try_from(named.clone()) {
            Ok(policy) => self.set.add_static(policy),
            Err(_) => self.set.add_template(named),
        };
        if let Err(error) = added {
            faults.push(whole(error.to_string()));
            return;
        }
        self.places
            .insert(id.clone(), (source_index, offset, length));
        let annotation = |name: &str| annotations.get(name).map(|(text, _)| *text);
        self.entries.push(PolicyEntry {
            id,
            file: Arc::clone(&source.file),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            owner: annotation("owner").map(str::to_owned),
            is_forbid: template.effect() == Effect::Forbid,
            is_template,
            is_shadow: annotation("mode") == Some("shadow"),
        });
    }
}

impl Policies {
    /// Checks that an id stands for one obligation throughout the bundle, since one response may carry both.
    fn add_obligations(&mut self, text: &str, place: String, mut fault: impl FnMut(String)) {
        for obligation in obligation::read(text).unwrap_or_default() {
            match self.obligations.get(&obligation.id) {
                Some((known, _)) if *known == obligation => {}
                Some((_, elsewhere)) => fault(format!(
                    "`@obligation` has the id `{}`, which is another obligation in {elsewhere}",
                    obligation.id
                )),
                None => {
                    let id = obligation.id.clone();
                    self.obligations.insert(id, (obligation, place.clone()));
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
            "mode" if !matches!(*value, "shadow" | "enforce") => {
                let message = format!("`{value}` is not a mode");
                faults.push(
                    at(*loc, message)
                        .with_help("write `@mode(\"shadow\")`, or `@mode(\"enforce\")` like none"),
                );
            }
            "id" if value.is_empty() => faults.push(at(*loc, "an empty policy id".to_owned())),
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
                if let Some(meant) = near_miss(name) {
                    let warning = at(*loc, format!("`@{name}` means nothing here"));
                    warnings.push(warning.with_help(format!("did you mean `@{meant}`?")));
                }
            }
        }
    }
    annotations
}

/// Parses an `@obligation`; a duplicate key is a fault, as in every JSON of a bundle.
fn obligations(origin: SourceText<'_>, value: &str) -> Result<(), String> {
    obligation::read(value)?;
    if value.trim_start().starts_with(['{', '[']) {
        let file = origin.file;
        json::parse(SourceText { file, text: value }).map_err(|it| format!("is {}", it.message))?;
    }
    match has_invisible(value) {
        true => Err("holds a character that nobody sees".to_owned()),
        false => Ok(()),
    }
}

/// The known annotation within an edit distance of two.
fn near_miss(name: &str) -> Option<&'static str> {
    let lower: String = name.to_lowercase().chars().take(MAX_NAME_CHARS).collect();
    let reach = |known: &str| if known.len() <= 4 { 1 } else { 2 };
    KNOWN.into_iter().find(|known| {
        lower != "id" && strsim::osa_distance(&lower, known) <= reach(known) && lower.len() > 1
    })
}

/// Length of the first line of a span: a caret under a whole policy is of no help.
pub(crate) fn first_line(text: &str, offset: usize, length: usize) -> usize {
    let span = text.get(offset..offset + length).unwrap_or_default();
    span.find('\n').unwrap_or(length)
}

//! Prepares proposals for review, and applies a reviewer's decisions.
//!
//! Start at [`ToolReview::pending`]. Texts come from the server under review: invisible characters are escaped.

use std::collections::BTreeMap;

use unicode_security::{MixedScript, skeleton};

use crate::analysis::import::{ToolChange, ToolImport, ToolReport, confirm, line, set_access};
use crate::analysis::import_changed::is_same_argument;
use crate::bundle::parse::registration::{
    AccessLevel, ConfirmationStatus, MAX_LIST, Sensitivity, ToolEntry,
};
use crate::bundle::validate::references::{LABELS, nearest};
use crate::domain::request::target::argument::TargetArgumentForm;
use crate::domain::request::target::check::check;
use crate::domain::request::visible::{escaped, escaped_lines, folded, has_invisible};

/// Displayed lines of a schema or a description.
const MAX_LINES: usize = 400;

/// A proposal to be reviewed, ready for display.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolReview {
    /// The tool.
    pub name: String,
    /// Whether it is new, or its definition differs from the confirmed one.
    pub change: ToolChange,
    /// What has become of it since it was confirmed, or of the proposal before; `None` if it is new.
    pub status: Option<String>,
    /// Suspicious properties, the most suspicious first.
    pub flags: Vec<String>,
    /// The server's description, by lines.
    pub description: Vec<String>,
    /// The schema of its arguments, as lines of JSON.
    pub schema: Vec<String>,
    /// Differences from the last confirmed description and schema.
    pub differences: Vec<Difference>,
}

/// A part of the definition before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which part.
    pub part: String,
    /// Removed lines.
    pub before: Vec<String>,
    /// Added lines.
    pub after: Vec<String>,
}

/// A reviewer's decision about one proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReviewDecision {
    /// Confirm the entry.
    Confirm,
    /// Set the access level.
    Access(AccessLevel),
    /// Set the labels that its results add to a session.
    Yields(Vec<String>),
    /// Set whether a call can send data out.
    Egress(bool),
    /// Set the sensitivity of what it reads or writes.
    Sensitivity(Sensitivity),
    /// Make an argument a target, or say more about one that is.
    Target(TargetArgumentForm),
    /// An argument is no target.
    NoTarget(String),
}

impl ToolReview {
    /// All proposals that await a review, by name.
    pub fn pending(imported: &ToolImport) -> Vec<Self> {
        let alike = look_alikes(imported);
        let tools = imported.tools.iter();
        let awaiting = tools.filter(|it| {
            it.change != ToolChange::Removed && it.status == ConfirmationStatus::Proposed
        });
        awaiting
            .filter_map(|report| {
                let entry = imported.registration.tools.get(&report.name)?;
                let listed = imported.listed.get(&report.name)?;
                let schema = pretty(&listed.schema);
                Some(Self {
                    name: report.name.clone(),
                    change: report.change,
                    status: entry.why.get("status").cloned(),
                    flags: flags(&report.name, entry, &schema, &alike),
                    description: lines(&listed.description),
                    schema: lines(&schema),
                    differences: differences(entry),
                })
            })
            .collect()
    }
}

impl ToolImport {
    /// Applies a decision.
    ///
    /// # Errors
    ///
    /// Why it cannot be applied: there is no such tool or target, or the target does not fit the definition.
    pub fn decide(&mut self, name: &str, decision: ReviewDecision) -> Result<(), String> {
        let Some(entry) = self.registration.tools.get_mut(name) else {
            return Err(format!("there is no tool `{name}`"));
        };
        match decision {
            ReviewDecision::Confirm => confirm(entry),
            ReviewDecision::Access(access) => set_access(entry, access),
            ReviewDecision::Yields(labels) => {
                entry.yields = labels;
                entry.why.remove("yields");
            }
            ReviewDecision::Egress(is_egress) => {
                entry.egress = is_egress;
                entry.why.remove("egress");
            }
            ReviewDecision::Sensitivity(sensitivity) => {
                entry.sensitivity = sensitivity;
                entry.why.remove("sensitivity");
            }
            ReviewDecision::Target(target) => set_target(entry, target)?,
            ReviewDecision::NoTarget(argument) => {
                let before = entry.target_arguments.len();
                let targets = &mut entry.target_arguments;
                targets.retain(|it| !is_same_argument(&it.argument, &argument));
                if targets.len() == before {
                    return Err(format!("`{argument}` is no target"));
                }
                entry.why.remove("target_arguments");
            }
        }
        let mut tools = self.tools.iter_mut();
        if let Some(report) = tools.find(|report| report.name == name) {
            *report = ToolReport {
                notes: std::mem::take(&mut report.notes),
                ..line(name, report.change, entry)
            };
        }
        Ok(())
    }
}

/// Sets the target of an argument, if it fits the definition.
fn set_target(entry: &mut ToolEntry, target: TargetArgumentForm) -> Result<(), String> {
    let mut targets = entry.target_arguments.clone();
    let own = targets.iter_mut();
    let mut own = own.filter(|it| is_same_argument(&it.argument, &target.argument));
    match own.next() {
        Some(own) => *own = target,
        None => targets.push(target),
    }
    let faults = check(&targets, entry.input_schema.as_ref());
    if let Some(fault) = faults.into_iter().next() {
        return Err(fault.fault.message);
    }
    if targets.len() > MAX_LIST {
        return Err(format!("more than {MAX_LIST} targets"));
    }
    entry.target_arguments = targets;
    entry.why.remove("target_arguments");
    Ok(())
}

/// The label of Callgate's own that another one is probably a misspelling of.
pub fn meant_label(label: &str) -> Option<&'static str> {
    match LABELS.contains(&label) {
        true => None,
        false => nearest(label, LABELS.into_iter()),
    }
}

fn pretty(schema: &serde_json::Value) -> String {
    match schema {
        serde_json::Value::Null => String::new(),
        schema => serde_json::to_string_pretty(schema).unwrap_or_default(),
    }
}

/// The first [`MAX_LINES`] lines of a text.
fn lines(text: &str) -> Vec<String> {
    let all = text.lines().count();
    let mut lines: Vec<String> = text
        .lines()
        .take(MAX_LINES)
        .map(|line| escaped(line).into_owned())
        .collect();
    if all > MAX_LINES {
        lines.push(format!("… {} more lines", all - MAX_LINES));
    }
    lines
}

fn flags(
    name: &str,
    entry: &ToolEntry,
    schema: &str,
    alike: &BTreeMap<String, Vec<String>>,
) -> Vec<String> {
    let mut flags = Vec::new();
    if has_invisible(name) {
        flags.push("the name has characters that nobody sees".to_owned());
    }
    if let Some(others) = alike.get(name) {
        let others: Vec<String> = others
            .iter()
            .map(|it| format!("`{}`", escaped(it)))
            .collect();
        flags.push(format!("the name looks like {}", others.join(" and ")));
    }
    if !name.is_ascii() {
        let letters = match name.is_single_script() {
            true => "letters beyond ASCII",
            false => "letters of several scripts",
        };
        flags.push(format!("the name has {letters}"));
    }
    // Descriptions are escaped already.
    if entry
        .description
        .as_deref()
        .is_some_and(|it| it.contains("\\u{"))
    {
        flags.push("the description has characters that nobody sees, shown as `\\u{…}`".to_owned());
    }
    if escaped_lines(schema) != schema {
        flags.push("the schema has characters that nobody sees, shown as `\\u{…}`".to_owned());
    }
    flags
}

/// Groups of names that look alike.
fn look_alikes(imported: &ToolImport) -> BTreeMap<String, Vec<String>> {
    let names = || imported.tools.iter().map(|tool| &tool.name);
    let mut looks: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    for name in names() {
        for look in [look(name), look(&folded(name))] {
            let alike = looks.entry(look).or_default();
            if alike.last() != Some(&name) {
                alike.push(name);
            }
        }
    }
    let mut alike: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for group in looks.values().filter(|group| group.len() > 1) {
        for name in group {
            let others = alike.entry((*name).clone()).or_default();
            for other in group.iter().filter(|other| *other != name) {
                if !others.contains(other) {
                    others.push((*other).clone());
                }
            }
        }
    }
    alike
}

/// The skeleton of a name: look-alike letters are replaced by one, separators removed.
fn look(name: &str) -> String {
    let looks: String = skeleton(name).collect();
    let looks = looks.to_lowercase();
    looks.chars().filter(|c| c.is_alphanumeric()).collect()
}

fn differences(entry: &ToolEntry) -> Vec<Difference> {
    let Some(before) = &entry.previous_definition else {
        return Vec::new();
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let schema =
        |schema: &Option<serde_json::Value>| schema.as_ref().map(pretty).unwrap_or_default();
    let mut differences = vec![
        difference(
            "description",
            &text(&before.description),
            &text(&entry.description),
        ),
        difference(
            "arguments",
            &schema(&before.input_schema),
            &schema(&entry.input_schema),
        ),
    ];
    differences.retain(|it| !it.before.is_empty() || !it.after.is_empty());
    // The part differs, but its earlier content was not kept.
    let parts = |parts: &Option<String>| -> BTreeMap<String, String> {
        let parts = parts.as_deref().unwrap_or_default().split_whitespace();
        let pairs = parts.filter_map(|part| part.split_once(':'));
        pairs
            .map(|(name, digest)| (name.to_owned(), digest.to_owned()))
            .collect()
    };
    let (old, new) = (parts(&before.digest_parts), parts(&entry.digest_parts));
    for part in old
        .keys()
        .chain(new.keys().filter(|part| !old.contains_key(*part)))
    {
        let is_shown = match part.as_str() {
            "description" => differences.iter().any(|it| it.part == "description"),
            "inputSchema" => differences.iter().any(|it| it.part == "arguments"),
            _ => false,
        };
        if old.get(part) != new.get(part) && !is_shown {
            differences.push(Difference {
                part: part.clone(),
                before: Vec::new(),
                after: Vec::new(),
            });
        }
    }
    differences
}

/// The differing lines of two texts, without their common prefix and suffix.
fn difference(part: &str, before: &str, after: &str) -> Difference {
    let (before, after) = (lines(before), lines(after));
    let same = |pair: &(&String, &String)| pair.0 == pair.1;
    let first = before.iter().zip(&after).take_while(same).count();
    let rest = before.len().min(after.len()) - first;
    let last = before.iter().rev().zip(after.iter().rev());
    let last = last.take_while(same).count().min(rest);
    let of = |all: &[String]| {
        all.get(first..all.len() - last)
            .unwrap_or_default()
            .to_vec()
    };
    Difference {
        part: part.to_owned(),
        before: of(&before),
        after: of(&after),
    }
}

#[cfg(test)]
#[path = "review_tests.rs"]
mod tests;

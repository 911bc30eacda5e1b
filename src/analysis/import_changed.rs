//! What becomes of a registered tool whose definition is another one now.
//!
//! Start at [`redefine`]. An entry that nobody has confirmed is proposed anew. One that a person confirmed keeps what they
//! wrote, but for what the new definition makes stricter; where a first proposal would be stricter and the entry is not, a
//! note says so. So a confirmed entry is never weaker than a first proposal without the person having been told.

use crate::analysis::propose::{self, Prefixes};
use crate::analysis::tool_list::ListedTool;
use crate::bundle::parse::registration::{
    AccessLevel, ConfirmationStatus, MAX_LIST, PreviousDefinition, Sensitivity, ToolEntry,
};
use crate::domain::request::target::argument::TargetArgumentForm;
use crate::domain::request::target::check::{check, check_text};

/// An entry for a changed definition, and what a person should know of it.
pub(super) struct Redefined {
    pub(super) entry: ToolEntry,
    pub(super) notes: Vec<String>,
}

/// The entry of a tool whose definition is not the pinned one.
pub(super) fn redefine(tool: &ListedTool, prefixes: &Prefixes, entry: ToolEntry) -> Redefined {
    let fresh = propose::propose(tool, prefixes);
    let pinned = match &entry.digest {
        Some(_) => "the server changed the definition since it was pinned",
        None => "no definition was pinned",
    };
    let mut redefined = match was_confirmed(&entry) {
        true => {
            let before = as_pinned(tool, &entry).map(|it| propose::propose(&it, prefixes));
            hold(entry, fresh, before.as_ref())
        }
        false => anew(entry, fresh),
    };
    let said = [pinned.to_owned()].into_iter();
    let said: Vec<String> = said.chain(redefined.notes.iter().cloned()).collect();
    let why = &mut redefined.entry.why;
    why.insert("status".to_owned(), said.join("; "));
    redefined
}

/// Whether a person stands behind the entry, or did until the definition changed.
fn was_confirmed(entry: &ToolEntry) -> bool {
    entry.status == ConfirmationStatus::Confirmed
        || entry.previous_digest.is_some()
        || entry.previous_definition.is_some()
}

/// A new proposal in place of one that nobody confirmed. What a company says of the tool stays.
fn anew(entry: ToolEntry, fresh: ToolEntry) -> Redefined {
    let mut notes = vec!["proposed anew".to_owned()];
    let lost = stricter(&entry, &fresh);
    if !lost.is_empty() {
        notes.push(format!("the entry before also said {}", words(&lost)));
    }
    let entry = ToolEntry {
        owner: entry.owner,
        groups: entry.groups,
        tags: entry.tags,
        typed: entry.typed,
        ..fresh
    };
    Redefined { entry, notes }
}

/// The new definition in an entry that a person confirmed.
fn hold(mut entry: ToolEntry, fresh: ToolEntry, before: Option<&ToolEntry>) -> Redefined {
    let mut notes = Vec::new();
    entry.status = ConfirmationStatus::Proposed;
    // Keep the last confirmed definition for comparison.
    let pinned = entry.previous_digest.take().or(entry.digest.take());
    entry.previous_digest = pinned;
    if entry.previous_definition.is_none() {
        entry.previous_definition = Some(Box::new(PreviousDefinition {
            description: entry.description.take(),
            input_schema: entry.input_schema.take(),
            digest_parts: entry.digest_parts.take(),
        }));
    }
    entry.description.clone_from(&fresh.description);
    entry.digest.clone_from(&fresh.digest);
    entry.digest_parts.clone_from(&fresh.digest_parts);
    entry.input_schema.clone_from(&fresh.input_schema);
    entry.argument_order.clone_from(&fresh.argument_order);
    fit_targets(&mut entry, &fresh, &mut notes);
    fit_contents(&mut entry, &mut notes);
    let (mut taken, mut left) = (Vec::new(), Vec::new());
    let changed = before.map(|before| stricter(&fresh, before));
    for point in stricter(&fresh, &entry) {
        let has_other_reason = || {
            let reason = |of: &ToolEntry| of.why.get(point.field()).cloned();
            point.is_single() && before.map(reason) != Some(reason(&fresh))
        };
        let is_new = changed.as_ref().is_none_or(|it| it.contains(&point)) || has_other_reason();
        match is_new && point.apply(&mut entry) {
            true => {
                let field = point.field();
                let why = fresh.why.get(field);
                let why = why.map(|it| (field.to_owned(), it.clone()));
                entry.why.extend(why);
                taken.push(point);
            }
            false => left.push(point),
        }
    }
    if !taken.is_empty() {
        notes.push(format!(
            "stricter than what was confirmed: {}",
            words(&taken)
        ));
    }
    if !left.is_empty() {
        notes.push(format!("a first proposal would also say {}", words(&left)));
    }
    Redefined { entry, notes }
}

/// The listed tool with the definition that was confirmed, as far as the entry keeps it; `None` if none was pinned. What
/// is not kept counts as not there, so that it is new now.
fn as_pinned(tool: &ListedTool, entry: &ToolEntry) -> Option<ListedTool> {
    let previous = entry.previous_definition.as_deref();
    let (description, schema, parts) = match previous {
        Some(it) => (&it.description, &it.input_schema, &it.digest_parts),
        None => (&entry.description, &entry.input_schema, &entry.digest_parts),
    };
    entry.previous_digest.as_ref().or(entry.digest.as_ref())?;
    let part = |of: &str, name: &str| {
        let mut parts = of.split(' ').filter_map(|part| part.split_once(':'));
        let digest = parts.find(|(part, _)| *part == name);
        digest.map(|(_, digest)| digest.to_owned())
    };
    let is_same = |name: &str| {
        let old = parts.as_deref().map(|old| part(old, name));
        old == Some(part(&tool.digest_parts, name))
    };
    let mut pinned = tool.clone();
    if !is_same("description") {
        pinned.description = description.clone().unwrap_or_default();
    }
    if !is_same("inputSchema") {
        pinned.schema = schema.clone().unwrap_or_default();
        pinned.shape.clone_from(&pinned.schema);
    }
    // Titles are not kept.
    if !is_same("title") || !is_same("annotations") {
        pinned.titles.clear();
    }
    if !is_same("annotations") {
        pinned.read_only_hint = None;
        pinned.destructive_hint = None;
        pinned.open_world_hint = None;
    }
    Some(pinned)
}

/// Makes the targets of an entry fit its new schema: what does not is adjusted, else left out, and told.
fn fit_targets(entry: &mut ToolEntry, fresh: &ToolEntry, notes: &mut Vec<String>) {
    let schema = entry.input_schema.clone();
    let fault = |it: &TargetArgumentForm| {
        let found = check(std::slice::from_ref(it), schema.as_ref());
        found.into_iter().next().map(|it| it.fault.message)
    };
    for mut target in std::mem::take(&mut entry.target_arguments) {
        if let Some(why) = fault(&target) {
            let Some(other) = variants(&target, fresh).find(|it| fault(it).is_none()) else {
                let argument = &target.argument;
                notes.push(format!("the target `{argument}` is left out: {why}"));
                continue;
            };
            let argument = &target.argument;
            notes.push(format!("the target `{argument}` is adjusted: {why}"));
            target = other;
        }
        entry.target_arguments.push(target);
    }
}

/// Leaves out the contents of files that the new schema does not have, and tells.
fn fit_contents(entry: &mut ToolEntry, notes: &mut Vec<String>) {
    let schema = entry.input_schema.as_ref();
    entry.file_contents.retain(|argument| {
        let checked = check_text(argument, schema);
        if let Err(why) = &checked {
            notes.push(format!("the content `{argument}` is left out: {why}"));
        }
        checked.is_ok()
    });
}

/// Other forms of a target for the same argument, the nearest first.
fn variants(
    target: &TargetArgumentForm,
    fresh: &ToolEntry,
) -> impl Iterator<Item = TargetArgumentForm> {
    let without_base = TargetArgumentForm {
        base: None,
        ..target.clone()
    };
    let of_any_kind = TargetArgumentForm {
        kind: None,
        ..without_base.clone()
    };
    let mut proposed = fresh.target_arguments.iter();
    let proposed = proposed.find(|it| it.argument == target.argument);
    let forms = [Some(target.clone()), proposed.cloned()];
    let forms = forms.into_iter().flatten();
    forms.chain([without_base, of_any_kind]).flat_map(|form| {
        let optional = TargetArgumentForm {
            optional: true,
            ..form.clone()
        };
        [form, optional]
    })
}

/// A point where one entry is stricter than another.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum StricterPoint {
    Access(AccessLevel),
    Egress,
    Label(String),
    Sensitivity(Sensitivity),
    Target(TargetArgumentForm),
    /// The argument is a target of both, and only here is it held to the rules of a kind.
    Kind(TargetArgumentForm),
}

impl StricterPoint {
    /// The field of the entry.
    fn field(&self) -> &'static str {
        match self {
            Self::Access(_) => "access",
            Self::Egress => "egress",
            Self::Label(_) => "yields",
            Self::Sensitivity(_) => "sensitivity",
            Self::Target(_) | Self::Kind(_) => "target_arguments",
        }
    }

    /// Whether the field holds one value, so that the reason in `why` is that of the point.
    fn is_single(&self) -> bool {
        matches!(self, Self::Access(_) | Self::Egress | Self::Sensitivity(_))
    }

    /// Makes an entry as strict. Returns `false` and leaves it as it was if it cannot be.
    fn apply(&self, entry: &mut ToolEntry) -> bool {
        let targets = entry.target_arguments.clone();
        match self {
            Self::Access(access) => entry.access = *access,
            Self::Egress => entry.egress = true,
            Self::Sensitivity(sensitivity) => entry.sensitivity = *sensitivity,
            Self::Label(label) if entry.yields.len() < MAX_LIST => {
                entry.yields.push(label.clone());
            }
            Self::Target(target) if entry.target_arguments.len() < MAX_LIST => {
                entry.target_arguments.push(target.clone());
            }
            Self::Kind(target) => {
                let mut targets = entry.target_arguments.iter_mut();
                let own = targets.find(|it| is_same_argument(&it.argument, &target.argument));
                own.into_iter().for_each(|it| {
                    it.kind.clone_from(&target.kind);
                    it.base = it.base.take().or_else(|| target.base.clone());
                });
            }
            Self::Label(_) | Self::Target(_) => return false,
        }
        let fits = check(&entry.target_arguments, entry.input_schema.as_ref()).is_empty();
        if !fits {
            entry.target_arguments = targets;
        }
        fits
    }

    fn words(&self) -> String {
        let of = |it: &TargetArgumentForm| match &it.kind {
            Some(kind) => format!("the target `{}` ({kind})", it.argument),
            None => format!("the target `{}`", it.argument),
        };
        match self {
            Self::Access(access) => format!("access {access}"),
            Self::Egress => "egress".to_owned(),
            Self::Label(label) => format!("the label `{label}`"),
            Self::Sensitivity(sensitivity) => format!("sensitivity {}", sensitivity.as_str()),
            Self::Target(target) => of(target),
            Self::Kind(target) => {
                let kind = target.kind.as_deref().unwrap_or_default();
                format!("the kind `{kind}` of the target `{}`", target.argument)
            }
        }
    }
}

/// The points in words.
pub(super) fn words(points: &[StricterPoint]) -> String {
    let words: Vec<String> = points.iter().map(StricterPoint::words).collect();
    words.join(", ")
}

/// Where an entry is stricter than another.
pub(super) fn stricter(one: &ToolEntry, than: &ToolEntry) -> Vec<StricterPoint> {
    let mut points = Vec::new();
    if one.access > than.access {
        points.push(StricterPoint::Access(one.access));
    }
    if one.egress && !than.egress {
        points.push(StricterPoint::Egress);
    }
    let labels = one.yields.iter().filter(|it| !than.yields.contains(it));
    points.extend(labels.cloned().map(StricterPoint::Label));
    if one.sensitivity > than.sensitivity {
        points.push(StricterPoint::Sensitivity(one.sensitivity));
    }
    for target in &one.target_arguments {
        let mut targets = than.target_arguments.iter();
        match targets.find(|it| is_same_argument(&it.argument, &target.argument)) {
            None => points.push(StricterPoint::Target(target.clone())),
            Some(other) if has_rules(target) && !has_rules(other) => {
                points.push(StricterPoint::Kind(target.clone()));
            }
            Some(_) => {}
        }
    }
    points
}

/// Whether values are held to the rules of a kind.
fn has_rules(target: &TargetArgumentForm) -> bool {
    !matches!(target.kind.as_deref(), None | Some("id"))
}

/// Whether two paths are of one argument: `paths` and `paths[]` are.
pub(super) fn is_same_argument(one: &str, other: &str) -> bool {
    let bare = |text: &str| text.strip_suffix("[]").unwrap_or(text).to_owned();
    bare(one) == bare(other)
}

#[cfg(test)]
#[path = "import_changed_tests.rs"]
mod tests;

//! What a proposed permit says of a call besides principal, action and resource.
//!
//! Start at [`CallKind::from_context`] and [`Circumstances::from_context`], which read what Cedar was asked with. A
//! [`CallKind`] is what makes two calls different ones: calls of two kinds have a permit each. [`Circumstances`] are what
//! all calls of one kind had in common, and what they named: [`Circumstances::meet`] takes in another call.
//!
//! An action of a tool's own may declare less than the built-in ones, so what is read is tested for first.
//!
//! Invariant: [`CallKind::conditions`] and [`Circumstances::conditions`] hold for every call that was read, and for no call
//! of another kind, without a circumstance that all of them had, or that names something that none of them named.

use std::collections::{BTreeMap, BTreeSet};

use callgate_engine::cedar::{EntityUID, Literal};
use callgate_engine::{ContextSource, Overlay};
use smol_str::SmolStr;

use crate::analysis::replay::observed::context_values::{
    entities, entity, is_true, number, record, text, texts,
};
use crate::domain::schema::TYPES;

/// From this many targets on, a permit says which place they have in common.
const MANY_TARGETS: usize = 4;

/// What makes two calls of one principal, action and resource different ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CallKind {
    /// The server, where neither principal nor resource tells it.
    server: Option<EntityUID>,
    /// Which side began the call, if the action says so: `client`, `server` or `ui`.
    initiator: Option<SmolStr>,
    /// For whom it is made, if the action says so.
    behalf: Option<Behalf>,
    /// Whether it acts upon something that its resource does not name.
    has_target: bool,
}

/// For whom a call is made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Behalf {
    /// For nobody else.
    Own,
    /// For another party.
    Of {
        /// `root` or `root_agent`.
        attribute: &'static str,
        /// Where the authority comes from.
        root: EntityUID,
        /// Who stands between root and subject.
        actors: BTreeSet<EntityUID>,
    },
}

/// What calls of one kind had in common, and what they named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Circumstances {
    /// The conditions that held for all of them.
    held: BTreeSet<&'static str>,
    /// What they acted upon, by the part that it played.
    targets: BTreeMap<Option<SmolStr>, BTreeMap<EntityUID, BTreeSet<EntityUID>>>,
    /// What servers asked the client's model for.
    sampling: Option<SamplingBounds>,
    /// What servers asked users for.
    elicitation: Option<ElicitationBounds>,
}

/// The most that any of the calls asked of the client's model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct SamplingBounds {
    max_tokens: i64,
    messages: i64,
    include_context: BTreeSet<SmolStr>,
    tools: BTreeSet<SmolStr>,
}

/// What any of the calls asked users for: fields of forms, or pages to visit by scheme and host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum ElicitationBounds {
    Form {
        fields: BTreeSet<SmolStr>,
        secrets: BTreeSet<SmolStr>,
    },
    Pages(BTreeSet<(SmolStr, SmolStr)>),
}

/// What Cedar was asked of one principal.
#[derive(Clone, Copy)]
pub(super) struct AskedOf<'a> {
    /// The principal.
    pub principal: &'a EntityUID,
    /// The resource.
    pub resource: &'a EntityUID,
    /// The context.
    pub context: &'a dyn ContextSource,
    /// What the request adds to stored entities.
    pub overlays: &'a [&'a Overlay],
    /// Whether the action's context may have an attribute.
    pub declares: &'a dyn Fn(&str) -> bool,
}

impl AskedOf<'_> {
    /// What the call acts upon, unless its resource is that.
    fn target(&self) -> Option<EntityUID> {
        let target = entity(self.context, "target")?;
        (target != *self.resource).then_some(target)
    }

    /// Whether the request names a URL without a query, which could carry data.
    fn is_plain_url(&self, uid: &EntityUID) -> bool {
        let said = self.overlays.iter().filter(|it| it.uid == *uid);
        let names = said.flat_map(|it| it.attributes.iter().map(|(name, _)| name.as_str()));
        let names: BTreeSet<&str> = names.collect();
        names.contains("host") && !names.contains("query")
    }
}

impl CallKind {
    /// The kind of a call.
    pub(super) fn from_context(asked: AskedOf<'_>) -> Self {
        let AskedOf {
            principal,
            resource,
            context,
            declares,
            ..
        } = asked;
        let of_server = [&TYPES.tool, &TYPES.prompt, &TYPES.server];
        let tells = of_server.contains(&resource.entity_type());
        let server = entity(context, "server").filter(|it| !tells && it != principal);
        Self {
            server,
            initiator: text(context, "initiator"),
            behalf: declares("delegation").then(|| Behalf::from_context(context)),
            has_target: asked.target().is_some(),
        }
    }

    /// The conditions of a permit for calls of this kind. With `is_told`, one without a target says that there is none.
    pub(super) fn conditions(&self, is_told: bool) -> Vec<String> {
        let mut conditions = Vec::new();
        if let Some(server) = &self.server {
            conditions.push(format!("context has server && context.server == {server}"));
        }
        if let Some(initiator) = &self.initiator {
            conditions.push(format!(
                "context has initiator && context.initiator == {}",
                quoted(initiator)
            ));
        }
        conditions.extend(self.behalf.as_ref().map(Behalf::condition));
        if !self.has_target && is_told {
            conditions.push("!(context has target)".to_owned());
        }
        conditions
    }

    /// The same kind, but for whether it has a target.
    pub(super) fn with_or_without_target(&self) -> Self {
        Self {
            has_target: !self.has_target,
            ..self.clone()
        }
    }
}

impl Behalf {
    fn from_context(context: &dyn ContextSource) -> Self {
        let read = record(context, "delegation", |delegation| {
            let root = |attribute| Some((attribute, entity(delegation, attribute)?));
            let (attribute, root) = root("root").or_else(|| root("root_agent"))?;
            let actors = entities(delegation, "actors");
            Some(Self::Of {
                attribute,
                root,
                actors,
            })
        });
        read.flatten().unwrap_or(Self::Own)
    }

    fn condition(&self) -> String {
        let Self::Of {
            attribute,
            root,
            actors,
        } = self
        else {
            return "!(context has delegation)".to_owned();
        };
        let through = match actors.is_empty() {
            true => "context.delegation.actors.isEmpty()".to_owned(),
            false => format!("context.delegation.actors == {}", set(actors)),
        };
        format!(
            "context has delegation && context.delegation has {attribute} && context.delegation.{attribute} == {root} && {through}"
        )
    }
}

impl Circumstances {
    /// The circumstances of one call. `is_asked` says that an approval is to be asked for, whether or not it had one.
    pub(super) fn from_context(asked: AskedOf<'_>, is_asked: bool) -> Self {
        let AskedOf {
            resource, context, ..
        } = asked;
        let verified = |name| record(context, name, |it| is_true(it, "verified"));
        let has = |name: &str| context.attribute(name).is_some();
        let system_prompt = record(context, "sampling", |it| is_true(it, "system_prompt"));
        let has_no_system_prompt = system_prompt == Some(false);
        let is_resource = *resource.entity_type() == TYPES.resource;
        let target = asked.target();
        let is_plain = target.as_ref().is_some_and(|it| asked.is_plain_url(it));
        let held = [
            (
                verified("identity") == Some(true),
                "context has identity && context.identity.verified",
            ),
            (
                verified("delegation") == Some(true),
                "context has delegation && context.delegation.verified",
            ),
            (has("session"), "context has session"),
            (has("task"), "context has task"),
            (is_asked || has("approval"), "context has approval"),
            (
                is_resource && asked.is_plain_url(resource),
                "!(resource has query)",
            ),
            (
                is_plain,
                "context has target && !(context.target has query)",
            ),
            (has_no_system_prompt, "!context.sampling.system_prompt"),
        ];
        let role = text(context, "target_role");
        let places = |uid: &EntityUID| {
            let said = asked.overlays.iter().filter(|it| it.uid == *uid);
            said.flat_map(|it| it.parents.iter().cloned()).collect()
        };
        let targets = target.map(|it| {
            let places = places(&it);
            (role, BTreeMap::from([(it, places)]))
        });
        Self {
            held: held.iter().filter(|it| it.0).map(|it| it.1).collect(),
            targets: targets.into_iter().collect(),
            sampling: record(context, "sampling", SamplingBounds::from_record),
            elicitation: record(context, "elicitation", ElicitationBounds::from_record),
        }
    }

    /// Takes in the circumstances of another call of the same kind.
    pub(super) fn meet(&mut self, other: Self) {
        self.held.retain(|it| other.held.contains(it));
        for (role, targets) in other.targets {
            self.targets.entry(role).or_default().extend(targets);
        }
        if let (Some(own), Some(other)) = (&mut self.sampling, other.sampling) {
            own.max_tokens = own.max_tokens.max(other.max_tokens);
            own.messages = own.messages.max(other.messages);
            own.include_context.extend(other.include_context);
            own.tools.extend(other.tools);
        }
        match (&mut self.elicitation, other.elicitation) {
            (
                Some(ElicitationBounds::Form { fields, secrets }),
                Some(ElicitationBounds::Form {
                    fields: more,
                    secrets: more_secrets,
                }),
            ) => {
                fields.extend(more);
                secrets.extend(more_secrets);
            }
            (Some(ElicitationBounds::Pages(pages)), Some(ElicitationBounds::Pages(more))) => {
                pages.extend(more);
            }
            _ => {}
        }
    }

    /// How many targets they name.
    pub(super) fn target_count(&self) -> usize {
        self.targets.values().map(BTreeMap::len).sum()
    }

    /// The conditions of a permit for calls in these circumstances.
    pub(super) fn conditions(&self) -> Vec<String> {
        let held = self.held.iter().map(|it| (*it).to_owned());
        let sampling = self.sampling.iter().flat_map(SamplingBounds::conditions);
        let elicitation = self.elicitation.iter();
        let elicitation = elicitation.flat_map(ElicitationBounds::conditions);
        held.chain(self.target_condition())
            .chain(sampling)
            .chain(elicitation)
            .collect()
    }

    fn target_condition(&self) -> Option<String> {
        let plays_parts = self.targets.keys().any(Option::is_some);
        let each = self.targets.iter().map(|(role, targets)| {
            let named = is_among(targets.keys(), "context.target");
            match role {
                _ if !plays_parts => named,
                None => format!("!(context has target_role) && {named}"),
                Some(role) => format!(
                    "context has target_role && context.target_role == {} && {named}",
                    quoted(role)
                ),
            }
        });
        let each: Vec<String> = each.collect();
        match each.as_slice() {
            [] => None,
            [one] => Some(format!("context has target && {one}")),
            several => {
                let several: Vec<String> = several.iter().map(|it| format!("({it})")).collect();
                Some(format!("context has target && ({})", several.join(" || ")))
            }
        }
    }

    /// The innermost place that many targets have in common, for whoever wants to permit all that is in it.
    pub(super) fn common_place(&self) -> Option<EntityUID> {
        let mut all = self.targets.values().flat_map(BTreeMap::values);
        if self.target_count() < MANY_TARGETS {
            return None;
        }
        let mut common = all.next()?.clone();
        for places in all {
            common.retain(|it| places.contains(it));
        }
        // Of places that contain one another, the innermost has the longest name.
        let length = |it: &EntityUID| AsRef::<str>::as_ref(it.eid()).len();
        common.into_iter().max_by_key(length)
    }
}

impl SamplingBounds {
    fn from_record(sampling: &dyn ContextSource) -> Self {
        Self {
            max_tokens: number(sampling, "max_tokens"),
            messages: number(sampling, "messages"),
            include_context: text(sampling, "include_context").into_iter().collect(),
            tools: texts(sampling, "tools"),
        }
    }

    fn conditions(&self) -> Vec<String> {
        let among = is_among_texts(&self.include_context, "context.sampling.include_context");
        vec![
            format!("context.sampling.max_tokens <= {}", self.max_tokens),
            format!("context.sampling.messages <= {}", self.messages),
            among,
            no_others(&self.tools, "context.sampling.tools"),
        ]
    }
}

impl ElicitationBounds {
    fn from_record(elicitation: &dyn ContextSource) -> Self {
        match (text(elicitation, "scheme"), text(elicitation, "host")) {
            (Some(scheme), Some(host)) => Self::Pages(BTreeSet::from([(scheme, host)])),
            _ => Self::Form {
                fields: texts(elicitation, "field_names"),
                secrets: texts(elicitation, "secret_fields"),
            },
        }
    }

    fn conditions(&self) -> Vec<String> {
        match self {
            Self::Form { fields, secrets } => vec![
                no_others(fields, "context.elicitation.field_names"),
                no_others(secrets, "context.elicitation.secret_fields"),
            ],
            Self::Pages(pages) => {
                let page = |(scheme, host): &(SmolStr, SmolStr)| {
                    format!(
                        "(context.elicitation.scheme == {} && context.elicitation.host == {})",
                        quoted(scheme),
                        quoted(host)
                    )
                };
                vec![pages.iter().map(page).collect::<Vec<_>>().join(" || ")]
            }
        }
    }
}

/// `value == X`, or that it is one of several entities.
pub(super) fn is_among<'e>(
    uids: impl ExactSizeIterator<Item = &'e EntityUID>,
    value: &str,
) -> String {
    let uids: Vec<String> = uids.map(ToString::to_string).collect();
    match uids.as_slice() {
        [one] => format!("{value} == {one}"),
        several => format!("[\n    {}\n  ].contains({value})", several.join(",\n    ")),
    }
}

fn is_among_texts(texts: &BTreeSet<SmolStr>, value: &str) -> String {
    let quoted: Vec<String> = texts.iter().map(|it| quoted(it)).collect();
    format!("[{}].contains({value})", quoted.join(", "))
}

/// That a set of texts has no others.
fn no_others(texts: &BTreeSet<SmolStr>, value: &str) -> String {
    if texts.is_empty() {
        return format!("{value}.isEmpty()");
    }
    let quoted: Vec<String> = texts.iter().map(|it| quoted(it)).collect();
    format!("[{}].containsAll({value})", quoted.join(", "))
}

fn set(uids: &BTreeSet<EntityUID>) -> String {
    let uids: Vec<String> = uids.iter().map(ToString::to_string).collect();
    format!("[{}]", uids.join(", "))
}

/// A text as Cedar writes it.
fn quoted(text: &str) -> String {
    Literal::from(SmolStr::new(text)).to_string()
}

#[cfg(test)]
#[path = "circumstances_tests.rs"]
mod tests;

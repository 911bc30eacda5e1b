//! Who can call which tools: for each party and tool whether every call is allowed, none, or which conditions on the call
//! are left.
//!
//! Start at [`access`]. [`analyser`] decides all calls of one tool by the same parties at once: [`known`] is what is known
//! of their context, [`partial`] evaluates policies as far as that tells, [`words`] says what is left. [`diff`] compares
//! two reports and [`registrations`] what they do not show of tools, [`csv`] and [`svg`] draw one, [`usage`] marks what was never used and [`mod@propose`] takes that away, with
//! tests of calls from [`sample`].
//!
//! A report is about the directory alone: delegations, tasks and stops of a running server only take away from it.

pub mod analyser;
pub mod csv;
pub mod diff;
pub mod known;
pub mod outcome;
pub mod partial;
pub mod propose;
pub mod registrations;
pub mod sample;
pub mod svg;
pub mod usage;
pub mod usage_span;
pub mod words;

use std::sync::Arc;

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;
use serde::Serialize;
use smol_str::SmolStr;

use crate::analysis::access::analyser::{Analyser, KnownEntities};
use crate::analysis::access::known::Parties;
use crate::analysis::access::outcome::{Access, Outcome};
use crate::analysis::access::usage_span::UsageSpan;
use crate::authn::caller::Caller;
use crate::bundle::Bundle;
use crate::domain::schema::TYPES;

/// The most pairs of parties and tool that one report decides.
pub const MAX_PAIRS: usize = 1_000_000;

/// For whom agents and servers act.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OnBehalfOf {
    /// For each stored user in turn; also on their own authority, unless the configuration demands a person.
    #[default]
    Anyone,
    /// On their own authority.
    Nobody,
    /// For these users or agents.
    These(Vec<EntityUID>),
}

/// Whose access to what.
#[derive(Debug, Clone, Default)]
pub struct AccessQuery {
    /// Agents, users, servers, and groups for all agents and users in them. Empty for all agents and users.
    pub who: Vec<EntityUID>,
    /// For whom agents and servers act.
    pub on_behalf_of: OnBehalfOf,
    /// The agents between that person and the subject, nearest to the person first.
    pub actors: Vec<EntityUID>,
    /// Groups that everyone is assumed to be in, as claims may add them.
    pub groups: Vec<EntityUID>,
    /// Only tools of these servers; empty for all.
    pub servers: Vec<SmolStr>,
    /// Only these tools, as server and name; empty for all.
    pub tools: Vec<(SmolStr, SmolStr)>,
}

/// Who can call what.
#[derive(Debug, Clone, Serialize)]
pub struct AccessReport {
    /// The tools, `<server>/<tool>`, by server and name.
    pub tools: Vec<String>,
    /// The parties, agents first.
    pub rows: Vec<Row>,
    /// What of a decision log usage was taken from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageSpan>,
    /// What is only observed by the configuration of the directory: there calls pass whatever is decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// Claims that may add to this, as the configuration maps them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<String>,
}

/// What one subject can call.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The agent, user or server.
    pub who: String,
    /// One cell for each tool of the report, in their order.
    pub cells: Vec<Cell>,
}

/// What one subject can do with one tool, over all for whom it acts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// The tool.
    pub tool: String,
    /// `always` and `never` if that is so for all for whom the subject acts.
    pub access: Access,
    /// Whether every call that is allowed needs the approval of a person.
    pub needs_approval: bool,
    /// How many calls of the tool by the subject were allowed, by the log that usage was taken from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// The outcomes, each with those for whom it is so.
    pub cases: Vec<Case>,
}

impl Cell {
    /// Whether the tool may be called, and was not by the log that usage was taken from.
    pub fn is_unused(&self) -> bool {
        self.used == Some(0) && self.access != Access::Never
    }
}

/// The same outcome for several for whom a subject acts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Case {
    /// For whom the subject acts. Empty if on its own authority.
    #[serde(rename = "for")]
    pub on_behalf_of: Vec<String>,
    /// What is decided.
    #[serde(flatten)]
    pub outcome: Arc<Outcome>,
}

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// A party that is neither stored nor a user.
    #[error("`{0}` is not known: access is about stored agents, users, groups and servers")]
    Unknown(EntityUID),
    /// A party of another type.
    #[error("`{0}` calls no tools: name an agent, user, group or server")]
    NoParty(EntityUID),
    /// A tool that is not registered.
    #[error("no tool `{0}` is registered")]
    UnknownTool(String),
    /// A server without registered tools.
    #[error("no tool of a server `{0}` is registered")]
    UnknownServer(SmolStr),
    /// No tool is left.
    #[error("no registered tool is meant")]
    NoTools,
    /// No party is left.
    #[error("no agent, user or server is meant")]
    NoParties,
    /// More pairs than [`MAX_PAIRS`].
    #[error(
        "{0} pairs of parties and tool are meant, at most {MAX_PAIRS} are decided at once: name some with `--tool`, `--server` or as parties"
    )]
    TooMany(usize),
}

/// Decides for each party and each tool what is so in all calls.
///
/// # Errors
///
/// [`AccessError`] if a party, server or tool is unknown, nothing is meant, or too much.
pub fn access(bundle: &Bundle, query: &AccessQuery) -> Result<AccessReport, AccessError> {
    all_known(&[bundle], query)?;
    report(bundle, query)
}

/// The reports of two bundles, to be compared: a server or a tool may be known to one of them alone.
///
/// # Errors
///
/// As [`access`].
pub fn access_of_both(
    before: &Bundle,
    after: &Bundle,
    query: &AccessQuery,
) -> Result<(AccessReport, AccessReport), AccessError> {
    all_known(&[before, after], query)?;
    Ok((report(before, query)?, report(after, query)?))
}

/// Parties and groups of a question that are not stored in the bundle, though the question is answered: what a token
/// claims may bring them. A misspelt name is one of them.
pub fn not_stored(bundle: &Bundle, query: &AccessQuery) -> Vec<EntityUID> {
    let roots: &[EntityUID] = match &query.on_behalf_of {
        OnBehalfOf::These(roots) => roots,
        OnBehalfOf::Anyone | OnBehalfOf::Nobody => &[],
    };
    let named = query.who.iter().chain(roots).chain(&query.groups);
    let mut missing: Vec<EntityUID> = named
        .filter(|uid| !bundle.snapshot.contains(uid))
        .cloned()
        .collect();
    missing.sort();
    missing.dedup();
    missing
}

/// Checks that each server and tool that is named is known to one of the bundles.
fn all_known(bundles: &[&Bundle], query: &AccessQuery) -> Result<(), AccessError> {
    let tools = || bundles.iter().flat_map(|it| &it.tools);
    for server in &query.servers {
        if !tools().any(|it| *it.server == **server) {
            return Err(AccessError::UnknownServer(server.clone()));
        }
    }
    for (server, tool) in &query.tools {
        if !tools().any(|it| *it.server == **server && *it.name == **tool) {
            return Err(AccessError::UnknownTool(format!("{server}/{tool}")));
        }
    }
    Ok(())
}

fn report(bundle: &Bundle, query: &AccessQuery) -> Result<AccessReport, AccessError> {
    let snapshot = &bundle.snapshot;
    let tools = tools(bundle, query);
    if tools.is_empty() {
        return Err(AccessError::NoTools);
    }
    let subjects = subjects(snapshot, &query.who)?;
    if subjects.is_empty() {
        return Err(AccessError::NoParties);
    }
    let roots = roots(bundle, query)?;
    if let Some(actor) = query.actors.iter().find(|it| !snapshot.contains(it)) {
        return Err(AccessError::Unknown(actor.clone()));
    }
    let rows: Vec<(EntityUID, Vec<Parties>)> = subjects
        .into_iter()
        .map(|subject| (subject.clone(), parties(&subject, &roots, query)))
        .collect();
    let pairs = rows.iter().map(|(_, each)| each.len()).sum::<usize>() * tools.len();
    if pairs > MAX_PAIRS {
        return Err(AccessError::TooMany(pairs));
    }
    let everyone = rows
        .iter()
        .flat_map(|(_, each)| each)
        .flat_map(|it| it.principals());
    let known = KnownEntities::new(snapshot, everyone, &query.groups);
    let mut rights = Caller::local().rights;
    rights.require_delegation = bundle.config.require_delegation;
    let analyser = Analyser::new(snapshot, rights, &known);
    let row = |(subject, each): (EntityUID, Vec<Parties>)| Row {
        who: subject.to_string(),
        cells: tools
            .iter()
            .map(|(server, tool)| cell(&analyser, &each, server, tool))
            .collect(),
    };
    Ok(AccessReport {
        rows: rows.into_iter().map(row).collect(),
        tools: tools
            .iter()
            .map(|(server, tool)| format!("{server}/{tool}"))
            .collect(),
        usage: None,
        observed: bundle.config.observe.on_summary(),
        claims: claims(bundle),
    })
}

fn cell(analyser: &Analyser<'_>, each: &[Parties], server: &SmolStr, tool: &SmolStr) -> Cell {
    let mut cases: Vec<Case> = Vec::new();
    for parties in each {
        let outcome = analyser.outcome(parties, server, tool);
        let for_whom = parties.root.as_ref().map(ToString::to_string);
        // On its own authority is a case of its own.
        let same = cases.iter_mut().find(|case| {
            let root = case.on_behalf_of.first().map(String::as_str);
            root.is_none() == for_whom.is_none()
                && (case.outcome).is_same_but_for_root(root, &outcome, for_whom.as_deref())
        });
        match same {
            Some(case) => case.on_behalf_of.extend(for_whom),
            None => cases.push(Case {
                on_behalf_of: for_whom.into_iter().collect(),
                outcome: Arc::new(outcome),
            }),
        }
    }
    let all = |access: Access| cases.iter().all(|case| case.outcome.access() == access);
    let access = match (all(Access::Always), all(Access::Never)) {
        (true, _) => Access::Always,
        (_, true) => Access::Never,
        _ => Access::Conditional,
    };
    let mut allowed = cases
        .iter()
        .filter(|case| case.outcome.access() != Access::Never);
    Cell {
        tool: format!("{server}/{tool}"),
        access,
        used: None,
        needs_approval: access == Access::Conditional
            && allowed.all(|it| it.outcome.needs_approval()),
        cases,
    }
}

/// The tools that are meant, by server and name.
fn tools(bundle: &Bundle, query: &AccessQuery) -> Vec<(SmolStr, SmolStr)> {
    let named = bundle
        .tools
        .iter()
        .map(|tool| (SmolStr::new(&tool.server), SmolStr::new(&tool.name)));
    let is_meant = |(server, tool): &(SmolStr, SmolStr)| {
        let by_name = query
            .tools
            .iter()
            .any(|it| (&it.0, &it.1) == (server, tool));
        (query.servers.is_empty() && query.tools.is_empty())
            || query.servers.contains(server)
            || by_name
    };
    let mut meant: Vec<_> = named.filter(is_meant).collect();
    meant.sort();
    meant
}

/// The subjects that are meant: agents first, then users, then servers, each by name.
fn subjects(snapshot: &Snapshot, who: &[EntityUID]) -> Result<Vec<EntityUID>, AccessError> {
    let callers = || stored(snapshot, |ty| ty == &TYPES.agent || ty == &TYPES.user);
    let mut subjects = Vec::new();
    if who.is_empty() {
        subjects = callers();
    }
    for uid in who {
        let ty = uid.entity_type();
        if *ty == TYPES.group {
            subjects.extend(callers().into_iter().filter(|it| snapshot.is_in(it, uid)));
        } else if ![&TYPES.agent, &TYPES.user, &TYPES.server].contains(&ty) {
            return Err(AccessError::NoParty(uid.clone()));
        } else if *ty == TYPES.user || snapshot.contains(uid) {
            subjects.push(uid.clone());
        } else {
            return Err(AccessError::Unknown(uid.clone()));
        }
        if *ty == TYPES.group && !snapshot.contains(uid) {
            return Err(AccessError::Unknown(uid.clone()));
        }
    }
    subjects.sort_by_key(|uid| (*uid.entity_type() != TYPES.agent, uid.clone()));
    subjects.dedup();
    Ok(subjects)
}

/// For whom agents and servers act; `None` is nobody.
fn roots(bundle: &Bundle, query: &AccessQuery) -> Result<Vec<Option<EntityUID>>, AccessError> {
    let snapshot = &bundle.snapshot;
    Ok(match &query.on_behalf_of {
        OnBehalfOf::Nobody => vec![None],
        OnBehalfOf::These(roots) => {
            for root in roots {
                let ty = root.entity_type();
                if *ty != TYPES.user && *ty != TYPES.agent {
                    return Err(AccessError::NoParty(root.clone()));
                }
                if *ty == TYPES.agent && !snapshot.contains(root) {
                    return Err(AccessError::Unknown(root.clone()));
                }
            }
            roots.iter().cloned().map(Some).collect()
        }
        OnBehalfOf::Anyone => {
            let alone = (!bundle.config.require_delegation).then_some(None);
            let users = stored(snapshot, |ty| *ty == TYPES.user);
            alone
                .into_iter()
                .chain(users.into_iter().map(Some))
                .collect()
        }
    })
}

fn parties(subject: &EntityUID, roots: &[Option<EntityUID>], query: &AccessQuery) -> Vec<Parties> {
    let alone = Parties {
        subject: subject.clone(),
        root: None,
        actors: Vec::new(),
    };
    if *subject.entity_type() == TYPES.user {
        return vec![alone];
    }
    let others = roots.iter().filter(|root| root.as_ref() != Some(subject));
    let each = others.map(|root| match root {
        None => alone.clone(),
        Some(root) => Parties {
            root: Some(root.clone()),
            actors: query.actors.clone(),
            ..alone.clone()
        },
    });
    let each: Vec<Parties> = each.collect();
    match each.is_empty() {
        true => vec![alone],
        false => each,
    }
}

/// The stored entities of some types, by name.
fn stored(
    snapshot: &Snapshot,
    is_meant: impl Fn(&callgate_engine::cedar::EntityType) -> bool,
) -> Vec<EntityUID> {
    let all = snapshot.cedar_entities().into_iter();
    let meant = all.map(|it| it.uid().clone());
    let mut meant: Vec<EntityUID> = meant.filter(|uid| is_meant(uid.entity_type())).collect();
    meant.sort();
    meant
}

/// What claims may add to the parties of a call.
fn claims(bundle: &Bundle) -> Vec<String> {
    let mapping = &bundle.config.claims;
    let groups = mapping.groups.iter();
    let groups = groups.map(|it| format!("claim `{}`: groups `{}…`", it.claim, it.prefix));
    let tags = mapping.attributes.iter();
    let tags = tags.map(|it| format!("claim `{}`: tag `{}`", it.claim, it.tag));
    groups.chain(tags).collect()
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;

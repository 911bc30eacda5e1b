//! Proposes labels, egress and sensitivity.
//!
//! Start at [`yields`]. A reading tool adds all labels unless its name says otherwise. A `false` `openWorldHint` changes
//! nothing, since a malicious server would send it too.

use crate::analysis::propose::access::AccessProposal;
use crate::analysis::propose::arguments::Arguments;
use crate::analysis::propose::lexicon::{
    ASKED, CONFIDENTIAL, ELSEWHERE, INFRASTRUCTURE, INSIDE, ITSELF, MODIFIERS, PUBLIC, READ,
    RUNNING, SECRET_NAMES, SENDING,
};
use crate::analysis::propose::secrets;
use crate::analysis::propose::words::ParsedToolName;
use crate::analysis::tool_list::ListedTool;
use crate::bundle::parse::registration::{AccessLevel, Sensitivity};

/// A proposed value and its reason.
pub(super) type Reasoned<T> = (T, String);

/// Proposes the labels that results add to a session.
pub(super) fn yields(
    tool: &ListedTool,
    named: &ParsedToolName,
    arguments: &Arguments,
    verdict: &AccessProposal,
) -> Vec<Reasoned<&'static str>> {
    let mut labels = Vec::new();
    let secret = secret(named, arguments, verdict);
    let is_open = tool.open_world_hint == Some(true);
    if verdict.is_silent {
        if is_open {
            labels.push(("untrusted", "its server says it reaches outside".to_owned()));
        }
        return labels;
    }
    let is_of_itself = verdict.access == AccessLevel::Read && tells_of_itself(named);
    if !is_of_itself || is_open {
        labels.push((
            "untrusted",
            "others may have written what it brings".to_owned(),
        ));
    }
    let public = PUBLIC.first(&named.all);
    if !is_of_itself && (public.is_none() || INSIDE.first(&named.all).is_some()) {
        labels.push((
            "private",
            "the name does not say that it is public".to_owned(),
        ));
    }
    labels.extend(secret.map(|why| ("secret", why)));
    labels
}

/// Whether every word but the leading verb is about the tool itself or pure computation.
fn tells_of_itself(named: &ParsedToolName) -> bool {
    let words = named.own.as_slice();
    let rest = match words.split_first() {
        Some((verb, rest)) if READ.has(verb) && !ITSELF.has(verb) => rest,
        _ => words,
    };
    let says = |word: &String| ITSELF.has(word) || MODIFIERS.has(word);
    rest.iter().all(says) && rest.iter().any(|word| ITSELF.has(word))
}

/// The reason why results may contain secrets.
fn secret(
    named: &ParsedToolName,
    arguments: &Arguments,
    verdict: &AccessProposal,
) -> Option<String> {
    if let Some(words) = secrets::named(&named.with_server) {
        return Some(format!("`{words}`"));
    }
    if let Some(word) = arguments.word(SECRET_NAMES) {
        return Some(format!("an argument names a `{word}`"));
    }
    if let Some(kind) = arguments.any_kind() {
        return Some(format!("`{kind}` can be any kind of thing, secrets too"));
    }
    let machine = INFRASTRUCTURE.first(&named.with_server);
    let runs = verdict.is_router && verdict.access == AccessLevel::Admin;
    let shell = named.own.iter().find(|word| RUNNING.has(word));
    match (runs, machine, shell) {
        (_, _, Some(word)) if verdict.access == AccessLevel::Admin => Some(format!(
            "`{word}`: what runs can read the secrets of its surroundings"
        )),
        (true, Some(word), _) => Some(format!("anything, with the rights of `{word}`")),
        _ if runs && arguments.runs_commands() => {
            Some("what runs can read the secrets of its surroundings".to_owned())
        }
        _ => None,
    }
}

/// The reason why a call may send data out; `None` if there is none.
pub(super) fn egress(
    tool: &ListedTool,
    named: &ParsedToolName,
    arguments: &Arguments,
    access: AccessLevel,
) -> Option<String> {
    let inside = INSIDE.first(&named.all);
    if access != AccessLevel::Read {
        return Some(match SENDING.first(&named.all) {
            Some(word) => format!("the name says `{word}`"),
            None => "nothing but its server can say that it stays inside".to_owned(),
        });
    }
    if let Some(argument) = arguments.destination() {
        return Some(format!("`{argument}` says where to"));
    }
    if let Some(word) = ELSEWHERE.first(&named.all) {
        return Some(format!("the name says `{word}`, which is elsewhere"));
    }
    if tool.open_world_hint == Some(true) {
        return Some("its server says it reaches outside".to_owned());
    }
    if let Some(argument) = arguments.asks() {
        return Some(format!("`{argument}` is put to whoever answers"));
    }
    if inside.is_some() {
        return None;
    }
    if let Some(argument) = arguments.free_text() {
        return Some(format!(
            "`{argument}` is free text, and nothing says who is asked"
        ));
    }
    let asks = named.own.iter().any(|word| ASKED.has(word));
    let looked_up = arguments.any_text().filter(|_| asks);
    let argument = looked_up.or_else(|| arguments.looked_up())?;
    Some(format!("`{argument}` is looked up, and nothing says where"))
}

/// Sensitivity of the data it reads or writes.
pub(super) fn sensitivity(
    named: &ParsedToolName,
    arguments: &Arguments,
    is_secret: bool,
) -> (Sensitivity, Option<String>) {
    if is_secret {
        return (
            Sensitivity::Restricted,
            Some("it may bring secrets".to_owned()),
        );
    }
    if let Some(words) = secrets::named(&named.all) {
        return (Sensitivity::Restricted, Some(format!("`{words}`")));
    }
    let word = CONFIDENTIAL.first(&named.all);
    match word.or_else(|| arguments.word(CONFIDENTIAL)) {
        Some(word) => (Sensitivity::Confidential, Some(format!("`{word}`"))),
        None => (Sensitivity::Internal, None),
    }
}

#[cfg(test)]
#[path = "labels_tests.rs"]
mod tests;

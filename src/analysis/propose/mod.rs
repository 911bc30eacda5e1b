//! Proposes a registration entry for a tool from its name, its arguments and its server's hints.
//!
//! Start at [`propose`]. Proposals are conservative: hints and descriptions, which the server controls, can raise the access
//! level but never lower it, and what cannot be classified is `admin`.
//!
//! `access` proposes the level, `labels` labels, egress and sensitivity, `targets` the target arguments, `contents` those with the contents of files. They go by words: `words` takes
//! names apart, `lexicon` has the lists, and `verbs`, `secrets`, `places` and `powers` say what a word means that is made of
//! others, or stands beside others. `schema_walk` finds the arguments, `statements` the verbs of descriptions.

mod access;
mod arguments;
mod contents;
mod formats;
mod labels;
mod lexicon;
mod places;
mod powers;
mod schema_walk;
mod secrets;
mod statements;
mod targets;
mod verbs;
mod words;

use std::collections::BTreeMap;

use crate::analysis::propose::access::AccessProposal;
use crate::analysis::propose::arguments::Arguments;
use crate::analysis::propose::schema_walk::SchemaWalk;
use crate::analysis::propose::words::ParsedToolName;
pub(crate) use crate::analysis::propose::words::Prefixes;
use crate::analysis::tool_list::ListedTool;
use crate::bundle::parse::registration::{ConfirmationStatus, ToolEntry};

/// Proposes an entry. Its status is always [`ConfirmationStatus::Proposed`].
pub(crate) fn propose(tool: &ListedTool, prefixes: &Prefixes) -> ToolEntry {
    let named = ParsedToolName::parse(&tool.name, prefixes);
    let walk = SchemaWalk::new(&tool.schema);
    let targets = targets::propose(tool, &named, &walk);
    let unknown = walk.unseen.clone().or(targets.unsaid);
    let arguments = Arguments::new(&walk, unknown);
    let verdict = AccessProposal::new(tool, &named, &arguments);
    let mut why = BTreeMap::new();
    let yields = labels::yields(tool, &named, &arguments, &verdict);
    if !yields.is_empty() {
        let reason = |(label, why): &(&str, String)| format!("{label}: {why}");
        let reasons: Vec<String> = yields.iter().map(reason).collect();
        why.insert("yields".to_owned(), reasons.join("; "));
    }
    let is_secret = yields.iter().any(|(label, _)| *label == "secret");
    let egress = labels::egress(tool, &named, &arguments, verdict.access);
    let is_egress = egress.is_some();
    why.extend(egress.map(|reason| ("egress".to_owned(), reason)));
    let (sensitivity, reason) = labels::sensitivity(&named, &arguments, is_secret);
    why.extend(reason.map(|reason| ("sensitivity".to_owned(), reason)));
    why.insert("access".to_owned(), verdict.reason);
    let target_arguments = targets.list;
    if !target_arguments.is_empty() {
        let names = target_arguments.iter().map(|it| it.argument.as_str());
        let names = names.collect::<Vec<_>>().join("`, `");
        let message = format!("by its name or format, `{names}` says what is acted upon");
        why.insert("target_arguments".to_owned(), message);
    }
    let file_contents = contents::propose(tool, &named, &walk);
    if !file_contents.is_empty() {
        let names = file_contents.join("`, `");
        let message = format!("`{names}` stands beside the name of a file: it is what is in it");
        why.insert("file_contents".to_owned(), message);
    }
    ToolEntry {
        access: verdict.access,
        status: ConfirmationStatus::Proposed,
        yields: yields
            .iter()
            .map(|(label, _)| (*label).to_owned())
            .collect(),
        egress: is_egress,
        sensitivity,
        owner: None,
        digest: Some(tool.digest.clone()),
        digest_parts: Some(tool.digest_parts.clone()),
        previous_digest: None,
        description: tool.stored_description(),
        previous_definition: None,
        target_arguments,
        file_contents,
        typed: false,
        groups: Vec::new(),
        tags: BTreeMap::new(),
        why,
        input_schema: Some(tool.shape.clone()),
        argument_order: tool.argument_order.clone(),
    }
}

#[cfg(test)]
mod tests;

//! Names of members that a careless reader would take for one another. The reader on the other side may not
//! mind the case of letters, as some do not, so another spelling of a member that decides is a fault.

use std::collections::HashSet;

use serde_json::{Map, Value as Json};

use crate::adapters::invalid::{Invalid, Problem, Shown};

/// Members of parameters that say what is asked for.
pub(super) const DECISIVE: [&str; 27] = [
    "action",
    "arguments",
    "content",
    "includeContext",
    "inputResponses",
    "maxTokens",
    "message",
    "messages",
    "mode",
    "model",
    "name",
    "notifications",
    "prompt",
    "promptsListChanged",
    "ref",
    "requestState",
    "requestedSchema",
    "resourceSubscriptions",
    "resourcesListChanged",
    "roots",
    "systemPrompt",
    "taskId",
    "tools",
    "toolsListChanged",
    "type",
    "uri",
    "url",
];

/// Refuses members that a careless reader would take for one that decides.
pub(in crate::adapters) fn no_look_alikes(
    members: &Map<String, Json>,
    decisive: &[&str],
    field: &str,
) -> Result<(), Invalid> {
    for name in members.keys() {
        let folded = folded(name);
        let is_other_spelling =
            |known: &&str| *known != name && known.eq_ignore_ascii_case(&folded);
        if let Some(known) = decisive.iter().find(|known| is_other_spelling(known)) {
            let problem = Problem::UnknownWord(Shown::new(name), "how the protocol spells it");
            return Err(Invalid::new(format!("{field}.{known}"), problem));
        }
    }
    Ok(())
}

/// Refuses two members whose names differ in nothing but the case of their letters.
pub(super) fn one_spelling(members: &Map<String, Json>, field: &str) -> Result<(), Invalid> {
    let mut seen = HashSet::with_capacity(members.len());
    for name in members.keys() {
        if !seen.insert(folded(name)) {
            let said = format!("`{}` appears in two spellings", Shown::new(name));
            return Err(Invalid::new(field, Problem::Json(said)));
        }
    }
    Ok(())
}

/// Upper case first: then the long s and the Kelvin sign are an s and a k, as they are for such readers.
fn folded(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}

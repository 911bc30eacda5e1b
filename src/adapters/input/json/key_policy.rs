//! Which member names may occur together in a JSON object.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::adapters::input::field_error::TextExcerpt;
use crate::domain::request::visible::{folded, has_invisible};

/// Which member names may occur together in an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::adapters) enum KeyPolicy {
    /// No two that are equal after folding: readers that ignore case or Unicode form would take them for one.
    Distinct,
    /// Any distinct names. Whoever knows the declared names compares them with these.
    AsDeclared,
    /// Any distinct byte sequences: a plain Cedar request, which only Cedar reads.
    Exact,
    /// As in MCP messages: `Distinct`, except below members whose names the sender chooses.
    Protocol,
    /// As in AuthZEN requests: any names, but no two that are one of AuthZEN's own after folding. Context and
    /// properties are `Exact`: whoever reads more of them than Cedar does checks them again.
    Authzen,
}

/// The members of an AuthZEN request that are read.
const AUTHZEN_NAMES: [&str; 14] = [
    "action",
    "context",
    "evaluations",
    "evaluations_semantic",
    "id",
    "limit",
    "name",
    "options",
    "page",
    "properties",
    "resource",
    "subject",
    "token",
    "type",
];

/// The members of an AuthZEN request in which there are members that AuthZEN names.
const AUTHZEN_PARTS: [&str; 6] = [
    "action",
    "evaluations",
    "options",
    "page",
    "resource",
    "subject",
];

/// Members of messages below which the sender chooses names: arguments (`args` in ToolHive), schemas, structured results,
/// metadata.
const OWN_NAMES: [&str; 7] = [
    "_meta",
    "args",
    "arguments",
    "input",
    "inputSchema",
    "outputSchema",
    "structuredContent",
];

impl KeyPolicy {
    /// The policy for what lies below a member.
    pub(super) fn below(self, member: &str) -> Self {
        match self {
            Self::Protocol if OWN_NAMES.contains(&member) => Self::AsDeclared,
            Self::Authzen if !AUTHZEN_PARTS.contains(&member) => Self::Exact,
            same => same,
        }
    }

    /// Why an object may not have these members; `None` if it may.
    pub(in crate::adapters) fn fault<'n>(
        self,
        members: impl Iterator<Item = &'n String> + Clone,
    ) -> Option<String> {
        if self == Self::Exact {
            return None;
        }
        if let Some(name) = members.clone().find(|name| has_invisible(name)) {
            return Some(format!(
                "the key `{}` holds a character that nobody sees",
                TextExcerpt::new(name)
            ));
        }
        match self {
            Self::AsDeclared => None,
            Self::Authzen => confusable(members, |folded| AUTHZEN_NAMES.contains(&folded)),
            _ => confusable(members, |_| true),
        }
    }
}

/// Why an object may not have these members, of which those in `read` are read: one of them holds an invisible
/// character, or two are one of those that are read after folding.
pub(in crate::adapters) fn ambiguous<'n>(
    members: impl Iterator<Item = &'n String> + Clone,
    read: &[&str],
) -> Option<String> {
    let is_read = |name: &str| read.iter().any(|known| folded(known) == name);
    KeyPolicy::AsDeclared
        .fault(members.clone())
        .or_else(|| confusable(members, is_read))
}

/// Two members that are equal after folding, where the folded name matters.
fn confusable<'n>(
    members: impl Iterator<Item = &'n String> + Clone,
    matters: impl Fn(&str) -> bool,
) -> Option<String> {
    let is_folded = |name: &String| matches!(folded(name), Cow::Borrowed(_));
    if members.clone().all(is_folded) {
        return None;
    }
    let mut seen: HashMap<Cow<'n, str>, &'n String> = HashMap::new();
    for name in members {
        let as_one = folded(name);
        if !matters(&as_one) {
            continue;
        }
        if let Some(other) = seen.insert(as_one, name) {
            let (name, other) = (TextExcerpt::new(name), TextExcerpt::new(other));
            return Some(format!(
                "the keys `{other}` and `{name}` are one to readers that fold letters"
            ));
        }
    }
    None
}

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
}

/// Members of messages below which the sender chooses names: arguments (`args` in ToolHive), schemas,
/// metadata.
const OWN_NAMES: [&str; 6] = [
    "_meta",
    "args",
    "arguments",
    "input",
    "inputSchema",
    "outputSchema",
];

impl KeyPolicy {
    /// The policy for what lies below a member.
    pub(super) fn below(self, member: &str) -> Self {
        match self {
            Self::Protocol if OWN_NAMES.contains(&member) => Self::AsDeclared,
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
        let is_folded = |name: &String| matches!(folded(name), Cow::Borrowed(_));
        if self == Self::AsDeclared || members.clone().all(is_folded) {
            return None;
        }
        let mut seen: HashMap<Cow<'n, str>, &'n String> = HashMap::new();
        for name in members {
            if let Some(other) = seen.insert(folded(name), name) {
                let (name, other) = (TextExcerpt::new(name), TextExcerpt::new(other));
                return Some(format!(
                    "the keys `{other}` and `{name}` are one to readers that fold letters"
                ));
            }
        }
        None
    }
}

//! Names of members that two readers could take for one another.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::adapters::input::field_error::TextExcerpt;
use crate::domain::request::visible::{folded, has_invisible};

/// Which names may stand side by side in an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::adapters) enum KeyPolicy {
    /// None that fold to one: a reader that minds neither the case of letters nor their form takes them for one.
    Distinct,
    /// Any that differ. Whoever knows which names there can be holds them against each other.
    AsDeclared,
    /// Any, byte by byte: those of Cedar's own question, which nobody but Cedar reads.
    Exact,
    /// As in messages of MCP: distinct, but for what holds names of somebody's own making.
    Protocol,
}

/// Members of messages that hold names of somebody's own making: arguments (`args` to ToolHive), schemas, metadata.
const OWN_NAMES: [&str; 6] = [
    "_meta",
    "args",
    "arguments",
    "input",
    "inputSchema",
    "outputSchema",
];

impl KeyPolicy {
    /// The rule for what lies below a member.
    pub(super) fn below(self, member: &str) -> Self {
        match self {
            Self::Protocol if OWN_NAMES.contains(&member) => Self::AsDeclared,
            same => same,
        }
    }

    /// Why an object cannot have these members; `None` if it can.
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

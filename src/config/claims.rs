//! `[claims]`: claims of a token that become groups and tags of its subject for one call.

use serde::Deserialize;

/// Longest name of a claim, in bytes.
const MAX_NAME_BYTES: usize = 512;
/// Most dots in the name of a claim: each may be a step into an object.
const MAX_DOTS: usize = 16;

/// The mapping; empty by default, which ignores all claims.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimMapping {
    /// Claims whose values name groups.
    pub groups: Vec<GroupClaim>,
    /// Claims whose values become tags.
    pub attributes: Vec<AttributeClaim>,
}

/// A claim that makes its subject a member of `Mcp::Group::"<prefix><value>"` for one call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupClaim {
    /// The claim: a text, which is one group with all its spaces, or a list of texts. Of `scope` alone each word is
    /// one. A claim in an object is named by its path, e.g. `realm_access.roles`; a claim that has the whole name,
    /// dots included, comes first.
    pub claim: String,
    /// Prefix of each value, so that a claim cannot name a stored group by accident.
    #[serde(default = "GroupClaim::default_prefix")]
    pub prefix: String,
    /// What the claim has to be.
    #[serde(default)]
    pub kind: ClaimKind,
}

/// A claim that becomes a tag of its subject, unless the stored entity has that tag.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributeClaim {
    /// The claim: a text, number, boolean, or a list of texts; named as in [`GroupClaim::claim`].
    pub claim: String,
    /// The tag's name.
    pub tag: String,
    /// What the claim has to be.
    #[serde(default)]
    pub kind: ClaimKind,
}

/// What a claim has to be. With a kind that is said, a call whose claim is of another kind is denied, and an empty text or
/// list counts: the groups or the tag then say exactly what the claim says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimKind {
    /// A text, number, boolean or list of texts, which cannot be told apart afterwards.
    #[default]
    Any,
    /// A text.
    Text,
    /// A list of texts.
    List,
}

impl ClaimKind {
    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Text => "text",
            Self::List => "list",
        }
    }
}

impl ClaimMapping {
    /// Whether no claim is mapped.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.attributes.is_empty()
    }

    /// Every mapped claim, with the path of its entry.
    pub fn named(&self) -> impl Iterator<Item = (String, &str)> {
        let groups = self.groups.iter().enumerate();
        let groups = groups.map(|(at, it)| (format!("claims.groups[{at}]"), it.claim.as_str()));
        let attributes = self.attributes.iter().enumerate();
        groups.chain(
            attributes.map(|(at, it)| (format!("claims.attributes[{at}]"), it.claim.as_str())),
        )
    }
}

/// Checks the name of a claim.
pub(super) fn fault_of_name(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("is empty".to_owned());
    }
    if name.len() > MAX_NAME_BYTES {
        return Some(format!("is longer than {MAX_NAME_BYTES} bytes"));
    }
    if name.matches('.').count() > MAX_DOTS {
        return Some(format!("has more than {MAX_DOTS} dots"));
    }
    (name == "act" || name.starts_with("act.")).then(|| {
        "is about the actor: name the claim without `act`, each actor gets its own".to_owned()
    })
}

impl GroupClaim {
    fn default_prefix() -> String {
        "claim:".to_owned()
    }
}

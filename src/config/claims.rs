//! Which claims of a token become facts about the subject of one call.

use serde::Deserialize;

/// The mapping; empty by default, so that no claim counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimMapping {
    /// Claims whose values name groups.
    pub groups: Vec<GroupClaim>,
    /// Claims whose values become tags of the subject.
    pub attributes: Vec<AttributeClaim>,
}

/// A claim that makes the subject a member of `Mcp::Group::"<prefix><value>"` for this one call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupClaim {
    /// The claim: a string, a list of strings, or a string of words separated by spaces (`scope`).
    pub claim: String,
    /// Put before each value, so that a claim cannot name a stored group by accident.
    #[serde(default = "GroupClaim::default_prefix")]
    pub prefix: String,
}

/// A claim that becomes a tag of the subject, unless the stored entity has that tag.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributeClaim {
    /// The claim: a string, number, boolean, or a list of strings.
    pub claim: String,
    /// The tag's name.
    pub tag: String,
}

impl GroupClaim {
    fn default_prefix() -> String {
        "claim:".to_owned()
    }
}

//! What a policy adds to an answer beside allow or deny: its obligations, and that a forbid holds where calls are only observed.
//!
//! Start at [`AnswerMarks::new`]. Two policies that match the same requests say the same only if they have the same marks.

use std::collections::BTreeSet;

use callgate_engine::obligation;

/// The marks of one policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnswerMarks {
    /// The ids of its obligations.
    pub obligations: BTreeSet<String>,
    /// Whether it is a forbid with `@mode("enforce")`.
    pub is_always_enforced: bool,
}

impl AnswerMarks {
    /// The marks by the annotations of a policy. An `@obligation` that cannot be read is a fault of its directory, and none.
    pub fn new<'a>(is_forbid: bool, annotation: impl Fn(&str) -> Option<&'a str>) -> Self {
        let obligations = annotation("obligation").and_then(|text| obligation::read(text).ok());
        let obligations = obligations.into_iter().flatten();
        Self {
            obligations: obligations.map(|it| it.id.into_string()).collect(),
            is_always_enforced: is_forbid && annotation("mode") == Some("enforce"),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an answer with the other marks has all of these.
    pub fn is_within(&self, other: &Self) -> bool {
        self.obligations.is_subset(&other.obligations)
            && (other.is_always_enforced || !self.is_always_enforced)
    }
}

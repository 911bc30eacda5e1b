//! A store whose state is older than revisions that were given out, as after a copy of it was restored.
//!
//! Invariant: no revision is given out for two states. The older state gets the revision after the last one that was given out,
//! and changes go on from there.

use serde::{Deserialize, Serialize};

/// That a store holds an older state than before, and where its revisions go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnedBack {
    /// How it came to that.
    pub how: TurnedBackHow,
    /// The revision that the state had when it was written.
    pub from: u64,
    /// The last revision that was given out since, as far as is known. The state has the next one from now on.
    pub last: u64,
}

/// How a store came to hold an older state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnedBackHow {
    /// A copy was put back, with `callgate restore`.
    Restored,
    /// It was started as it is, though it lacked commits.
    AsItIs,
    /// It was begun anew in the place of one that was lost.
    NewStore,
    /// The decision log, or a server that goes on, knows later revisions than it has: it was replaced by other means.
    Older,
}

impl TurnedBack {
    /// The revision that the state has.
    pub fn revision(&self) -> u64 {
        self.last.saturating_add(1)
    }

    /// The same if still later revisions turn out to be given out, of a store at this revision. Where nothing has been changed
    /// since it turned back, it is the same step.
    pub fn known_later(before: Option<&Self>, revision: u64, last: u64) -> Self {
        match before.filter(|before| before.revision() == revision) {
            Some(before) => Self {
                last,
                ..before.clone()
            },
            None => Self {
                how: TurnedBackHow::Older,
                from: revision,
                last,
            },
        }
    }
}

impl TurnedBackHow {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::AsItIs => "as_it_is",
            Self::NewStore => "new_store",
            Self::Older => "older",
        }
    }
}

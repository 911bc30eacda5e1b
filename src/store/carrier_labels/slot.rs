//! The labels of one carrier, and since when and until when each counts.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use smol_str::SmolStr;

use crate::domain::authority::labels::Labels;
use crate::domain::authority::session::MAX_LABELS;
use crate::store::backend::LabelTimes;
use crate::store::carrier_labels::LabelCapacityError;

#[derive(Debug)]
pub(super) struct LabelSlot {
    pub(super) labels: Arc<Labels>,
    /// The state of each label, in the order of `labels`.
    pub(super) marks: Vec<LabelState>,
}

/// When a label was last added.
#[derive(Debug, Clone, Copy)]
pub(super) struct LabelState {
    /// By any call.
    pub(super) any: LabelStamp,
    /// By a call outside of any vouched session: nobody says which conversation it belongs to.
    pub(super) loose: Option<LabelStamp>,
    /// Whether the store holds it.
    pub(super) is_settled: bool,
    /// Whether a pair has it only from one that works together with it, or it is not known where it is from.
    pub(super) is_handed: bool,
}

/// A moment, and the moment that the store holds in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LabelStamp {
    pub(super) at: SystemTime,
    /// The moment in the store, never earlier than `at`.
    pub(super) through: SystemTime,
}

impl LabelSlot {
    pub(super) fn new() -> Self {
        Self {
            labels: Arc::new(Labels::new(Vec::new())),
            marks: Vec::new(),
        }
    }

    /// The labels with their states.
    pub(super) fn each(&self) -> impl Iterator<Item = (&SmolStr, &LabelState)> {
        self.labels.items().iter().zip(&self.marks)
    }

    /// Takes in a label that the store has. Returns whether that changes anything for whoever looks at it.
    pub(super) fn merge(&mut self, brought: LabelTimes, is_own: bool) -> bool {
        let whole = |at| LabelStamp { at, through: at };
        let (any, loose) = (whole(brought.through), brought.loose_through.map(whole));
        let Some(place) = self.place_of(&brought.label) else {
            let mark = LabelState {
                any,
                loose,
                is_settled: false,
                is_handed: true,
            };
            self.push(&brought.label, mark);
            return true;
        };
        let mark = &mut self.marks[place];
        let moments = |mark: &LabelState| (mark.any.at, mark.loose.map(|loose| loose.at));
        let before = moments(mark);
        if !is_own {
            mark.any.at = mark.any.at.max(any.at);
            mark.any.through = mark.any.through.max(any.through);
        }
        mark.loose = match (mark.loose, loose) {
            (Some(known), Some(new)) if !is_own => Some(LabelStamp {
                at: known.at.max(new.at),
                through: known.through.max(new.through),
            }),
            (known, new) => known.or(new),
        };
        moments(mark) != before
    }

    /// Adds a label that it lacks.
    pub(super) fn push(&mut self, label: &SmolStr, mark: LabelState) -> &mut LabelState {
        let place = self.marks.len();
        self.labels = self.labels.with([label]);
        self.marks.push(mark);
        &mut self.marks[place]
    }

    pub(super) fn place_of(&self, label: &SmolStr) -> Option<usize> {
        self.labels.items().iter().position(|known| known == label)
    }

    pub(super) fn drop_if(&mut self, is_over: impl Fn(&LabelState) -> bool) {
        if !self.marks.iter().any(&is_over) {
            return;
        }
        let each = self
            .labels
            .items()
            .iter()
            .cloned()
            .zip(self.marks.drain(..));
        let (labels, marks): (Vec<_>, Vec<_>) = each.filter(|(_, mark)| !is_over(mark)).unzip();
        self.labels = Arc::new(Labels::new(labels));
        self.marks = marks;
    }

    /// Adds a label, or renews it.
    pub(super) fn mark(
        &mut self,
        label: &SmolStr,
        is_loose: bool,
        now: SystemTime,
        ahead: Duration,
        keeps_time: bool,
    ) -> Result<&mut LabelState, LabelCapacityError> {
        let new = LabelStamp {
            at: now,
            through: now.checked_add(ahead).unwrap_or(now),
        };
        let Some(place) = self.place_of(label) else {
            if self.marks.len() >= MAX_LABELS {
                return Err(LabelCapacityError);
            }
            let mark = LabelState {
                any: new,
                loose: is_loose.then_some(new),
                is_settled: false,
                is_handed: true,
            };
            return Ok(self.push(label, mark));
        };
        let mark = &mut self.marks[place];
        if keeps_time {
            let mut is_written = mark.any.renew(new);
            if is_loose {
                is_written &= match &mut mark.loose {
                    Some(loose) => loose.renew(new),
                    None => {
                        mark.loose = Some(new);
                        false
                    }
                };
            }
            mark.is_settled &= is_written;
        }
        Ok(mark)
    }
}

impl LabelState {
    /// What the store has to hold of it.
    pub(super) fn to_times(self, label: &SmolStr) -> LabelTimes {
        LabelTimes {
            label: label.clone(),
            through: self.any.through,
            loose_through: self.loose.map(|loose| loose.through),
        }
    }

    /// Takes in the later moments of another. Returns whether what is written of this one still covers them.
    pub(super) fn take_in(&mut self, other: &Self) -> bool {
        let mut is_written = self.any.take_in(other.any);
        if let Some(given) = other.loose {
            is_written &= match &mut self.loose {
                Some(loose) => loose.take_in(given),
                None => {
                    self.loose = Some(given);
                    false
                }
            };
        }
        is_written
    }
}

impl LabelStamp {
    /// Takes in a later moment. Returns whether the written moment still covers it.
    pub(super) fn take_in(&mut self, other: Self) -> bool {
        self.at = self.at.max(other.at);
        let is_written = self.at <= self.through;
        if !is_written {
            self.through = self.through.max(other.through);
        }
        is_written
    }

    /// Moves the stamp to a later moment. Returns whether the written moment still covers it.
    pub(super) fn renew(&mut self, new: Self) -> bool {
        self.at = self.at.max(new.at);
        if self.at <= self.through {
            return true;
        }
        self.through = new.through;
        false
    }
}

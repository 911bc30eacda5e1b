//! Limits log lines that repeat: so many of each kind a minute, and then one with the number of the others.
//!
//! Start at [`RepeatLimiter::may_say`], asked before each line, and [`RepeatLimiter::over`], which returns the numbers of
//! suppressed lines.
//!
//! Invariant: every line is either admitted or counted, and every count is returned once. [`KEYS`] kinds are kept apart;
//! further ones are counted together.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::telemetry::record::line_window::LineWindow;

/// Keys that are kept apart.
const KEYS: usize = 4_096;

/// What lines have in common that say the same.
pub trait RepeatKey: Hash + Eq {
    /// What this one is counted with where there are too many to keep apart: one of a few.
    fn shared(&self) -> Self;
}

/// Counts lines by what they say.
#[derive(Debug)]
pub struct RepeatLimiter<K> {
    windows: Mutex<HashMap<K, LineWindow>>,
    /// Lines of one key within one window; `None` for all.
    lines: Option<u32>,
}

impl<K> Default for RepeatLimiter<K> {
    fn default() -> Self {
        Self::new(None)
    }
}

impl<K> RepeatLimiter<K> {
    /// Allows so many lines of a key in a minute, or all.
    pub fn new(lines: Option<u32>) -> Self {
        Self {
            windows: Mutex::default(),
            lines,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, LineWindow>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: RepeatKey> RepeatLimiter<K> {
    /// Whether there is room for a line of this key; if not, it is counted.
    pub fn may_say(&self, key: impl FnOnce() -> K, now: Instant) -> bool {
        let Some(limit) = self.lines else {
            return true;
        };
        let key = key();
        let mut windows = self.lock();
        let key = match windows.len() >= KEYS && !windows.contains_key(&key) {
            true => key.shared(),
            false => key,
        };
        windows.entry(key).or_default().admit(limit, now)
    }

    /// What was counted in windows that are over by now, or in all of them if there is no later. They begin anew.
    pub fn over(&self, now: Instant, is_end: bool) -> Vec<(K, u64)> {
        let mut windows = self.lock();
        let over = windows.extract_if(|_, window| is_end || window.is_over(now));
        let counted = over.map(|(key, window)| (key, window.suppressed()));
        counted.filter(|(_, repeated)| *repeated > 0).collect()
    }
}

#[cfg(test)]
#[path = "repeat_limiter_tests.rs"]
mod tests;

//! So many log lines of one kind in a minute, and the number of the others.
//!
//! Start at [`LineWindow::admit`]. A window starts with the first line it is asked about. Whoever owns it ends it
//! ([`LineWindow::end`]) and logs how many lines it suppressed.

use std::time::{Duration, Instant};

/// How long lines are counted together.
pub const WINDOW: Duration = Duration::from_secs(60);

/// The lines of one kind within one [`WINDOW`].
#[derive(Debug, Default)]
pub struct LineWindow {
    started_at: Option<Instant>,
    admitted: u32,
    suppressed: u64,
}

impl LineWindow {
    /// Whether one more of at most `limit` lines may be written. If not, it is counted as suppressed.
    pub fn admit(&mut self, limit: u32, now: Instant) -> bool {
        self.started_at.get_or_insert(now);
        if self.admitted < limit {
            self.admitted += 1;
            return true;
        }
        self.suppressed = self.suppressed.saturating_add(1);
        false
    }

    /// Whether [`WINDOW`] has passed since the window started.
    pub fn is_over(&self, now: Instant) -> bool {
        let age = self.started_at.map(|at| now.saturating_duration_since(at));
        age.is_some_and(|age| age >= WINDOW)
    }

    /// How many lines were suppressed in this window.
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// Starts a new window and returns how many lines were suppressed in this one.
    pub fn end(&mut self) -> u64 {
        std::mem::take(self).suppressed
    }
}

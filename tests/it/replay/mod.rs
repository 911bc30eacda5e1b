//! Observe mode through every adapter, and replay of what a real server has put on record.

mod observe;
mod replayed;
pub mod stage;

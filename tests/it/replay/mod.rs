//! Observe mode through every adapter, and replay of what a real server has put on record.

mod lists;
mod observe;
mod replayed;
pub mod stage;

//! What every store has to do, also when its server is killed.

pub mod crash;
pub mod suite;

//! What every store has to do, also when its server is killed, and when a program of another version wrote it.

pub mod crash;
pub mod suite;
mod tls;
mod versions;

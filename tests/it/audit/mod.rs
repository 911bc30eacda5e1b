//! The decision log of a real server: what is on record, and what is kept of it whatever happens.

mod beginning;
mod clock;
mod crash;
mod disk;
pub mod log_reading;
mod outcomes;
mod records;
mod times;

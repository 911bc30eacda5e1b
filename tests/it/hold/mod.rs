//! What must hold while the server is under load and what is around it fails.

mod attack;
mod callers;
mod collector;
pub mod disk;
pub mod faults;
mod flood;
mod headers;
mod loading;
mod losses;
mod overload;
mod restart;
mod sessions;
mod silence;
mod starvation;
mod store;
mod strangers;

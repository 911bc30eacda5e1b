//! What must hold while the server is under load and what is around it fails.

mod attack;
mod collector;
mod headers;
mod loading;
mod losses;
mod restart;
mod silence;
mod store;
mod strangers;

//! What must hold while the server is under load and what is around it fails.

mod collector;
mod losses;

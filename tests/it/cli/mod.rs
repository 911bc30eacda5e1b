//! The verbs of the command line, as a person runs them.

pub mod authoring;
pub mod health;
pub mod hostile_names;
pub mod verbs;

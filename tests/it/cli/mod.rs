//! The verbs of the command line, as a person runs them.

pub mod authoring;
pub mod closed_pipes;
pub mod golden;
pub mod health;
pub mod hostile_names;
pub mod mistakes;
pub mod verbs;
pub mod written_files;

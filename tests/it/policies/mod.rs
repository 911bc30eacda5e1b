//! What the shipped policies decide, and policies over tasks, targets and approvals.

pub mod approvals_meaning;
pub mod emptied;
pub mod library;
pub mod reference;
pub mod rows;
pub mod second_servers;
pub mod shipped;
pub mod targets;
pub mod task_terms;

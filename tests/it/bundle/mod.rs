//! Directories: what `check` and `import` say of them, and how a server takes them up.

pub mod archives;
pub mod check;
pub mod directory_status;
pub mod fuzz;
pub mod import;
pub mod import_review;
pub mod judgements;
pub mod names;
pub mod pins;
pub mod published;
pub mod reload;
pub mod spellings;
pub mod type_faults;

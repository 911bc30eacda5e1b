//! What the documents say is true.

pub mod capacity;
pub mod documents;
pub mod guide;
pub mod incident;
pub mod observe;
pub mod operations;
pub mod policies;
pub mod readme;
pub mod shipped;

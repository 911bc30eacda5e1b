//! What real gateways send, and what the pages about them say.

pub mod pages;
pub mod recorded;

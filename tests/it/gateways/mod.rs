//! What real gateways send, and what the pages about them say.

pub mod agentgateway;
pub mod late;
pub mod pages;
pub mod recorded;

//! What is asked: the call and its arguments, claims, client responses, tool definitions and targets.

pub mod argument_order;
pub mod arguments;
pub mod call_context;
pub mod canonical;
pub mod claims;
pub mod client_responses;
pub mod definition;
pub mod elicitation;
pub mod json_text;
pub mod links;
pub(crate) mod secrets;
pub mod target;
pub mod visible;

//! What is asked: a call with its arguments, claims, client responses and targets.
//!
//! Start at [`call_context::CallContext`]. [`operation`] describes each operation that a call may make,
//! [`arguments`] checks argument names against the pinned schema,
//! [`target`] parses what a call acts upon, [`links`] finds links in its texts, [`elicitation`] reads forms,
//! [`claims`] maps claims to groups and tags, [`trace_context`] the trace of a request. [`definition`] pins tool definitions; [`canonical`], [`json_text`],
//! [`cedar_number`] and [`visible`] are the rules of text that they share.
//!
//! Invariant: knows no authority, no policies and no verdicts.

pub mod argument_order;
pub mod arguments;
pub mod call_context;
pub mod canonical;
pub mod cedar_number;
pub mod claims;
pub mod client_responses;
pub mod definition;
pub mod elicitation;
pub mod json_text;
pub mod links;
pub mod nulls;
pub mod operation;
pub(crate) mod secrets;
pub mod target;
pub mod trace_context;
mod unannotated;
pub mod uri_template;
pub mod visible;
pub mod words;

//! Whose request it is: verified claims and identities become a subject, and a conversation keeps it.

pub mod conversation;
pub(in crate::adapters) mod token_claims;

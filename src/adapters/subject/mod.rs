//! Whose request it is, resolved once for every gateway: from what the gateway has verified to a subject, and from
//! there to the conversation that its calls belong to.
//!
//! Start at `resolver`, which picks the first configured source of identities that a request has. `token_claims` reads
//! the claims of a token (RFC 8693), [`conversation`] builds the calls of both sides.
//!
//! Invariant: an identity counts only from a configured source, and the first source that is present decides: if it
//! cannot be used, the request is rejected.

pub mod conversation;
pub(in crate::adapters) mod resolver;
pub(in crate::adapters) mod token_claims;

//! What the protocols over plain HTTP share: who asks, what a JSON body holds, and how a question that
//! cannot be answered is refused.
//!
//! Start at [`admission::Door`]. A protocol first admits a request by its head, so that nobody's body is read
//! who may not ask, and then answers its body.
//!
//! Invariant: a refusal is never a decision. It has a status of its own, and an enforcement point treats
//! every one as a deny.

pub mod admission;
pub mod rejection;

//! Requests of plain HTTP as calls of registered tools.
//!
//! Start at `matcher`, which maps a method and a path to the call of a configured route; `problem` writes the problem
//! document (RFC 9457) of a request that does not pass.
//!
//! Invariant: a request that servers could read differently matches no route and is rejected.

pub(in crate::adapters) mod matcher;
pub(in crate::adapters) mod problem;

//! Plain HTTP requests as tool calls: routes that map methods and paths, and denials as RFC 9457 problems.

pub(crate) mod matcher;
pub(crate) mod problem;

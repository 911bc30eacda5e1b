//! The RPCs of `callgate.v1.Authorization`, and the connections they come over.

pub mod addresses;
pub mod certificates;
pub mod deadlines;
pub mod fuzz;
pub mod lifecycle;
pub mod malformed;
pub mod missing_claims;
pub mod one_connection;
pub mod protos;
pub mod reaching;
pub mod real_parts;
pub mod rpcs;
pub mod transport;
pub mod turned_away;
pub mod whose_claims;

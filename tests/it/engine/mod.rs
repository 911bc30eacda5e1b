//! Cedar's own decisions against the engine.

pub mod corpus;

//! Cedar at scale, for any schema: the same answers as Cedar's own full scan, at a cost that does not
//! grow with the number of policies or entities.
//!
//! Start at [`snapshot::Snapshot`]: everything one decision reads, immutable. A decision goes through
//! [`index`] (which policies can apply at all), [`slice`](mod@slice) (which entities they can see) and
//! [`evaluate`] (what they say).
//!
//! Invariant: no async, no IO, no clock, no wire types, no word of MCP.

pub mod evaluate;
pub mod policy;
pub mod snapshot;

//! Cedar at scale, for any schema: the same answers as Cedar's own full scan, at a cost that does not
//! grow with the number of policies or entities.
//!
//! Start at [`snapshot::Snapshot`]: everything one decision reads, immutable. [`evaluate`] takes a
//! request through `index` (which policies can apply at all), `slice` (which entities they can see)
//! and the evaluation itself; [`request`] checks it against the schema first. Entities rest in
//! `store`, packed.
//!
//! Invariant: no async, no IO, no clock, no wire types, no word of MCP.

pub mod evaluate;
mod index;
mod names;
mod packed;
pub mod policy;
pub mod request;
mod slice;
pub mod snapshot;
mod store;

//! Cedar at scale, for any schema: the same answers as Cedar's own full scan, at a cost that does not
//! grow with the number of policies or entities.
//!
//! Start at [`snapshot::Snapshot`]: everything one decision reads, immutable. [`evaluate`] takes a
//! request through `index` (which policies can apply at all) and `quick` (what their conditions say of
//! entities where they rest, seen through `view`). What `quick` leaves open, errors above all, goes to
//! Cedar's own evaluator over a `slice` of the entities. [`request`] checks a request against the schema
//! first. Entities rest in `store`, packed; [`walk`] goes through those of one type, page by page.
//!
//! Invariant: no async, no IO, no clock, no wire types, no word of MCP.

pub mod context;
pub mod evaluate;
mod index;
mod names;
pub mod obligation;
mod packed;
pub mod policy;
mod quick;
pub mod request;
mod slice;
pub mod snapshot;
mod store;
mod view;
pub mod walk;

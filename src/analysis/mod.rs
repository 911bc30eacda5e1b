//! Operations on a bundle before it is served: check it, import a server's tools, export mappings for other enforcement
//! points.
//!
//! Start at [`check`], [`import`] and [`coaz`]; [`manifest`] computes the manifest of a directory. [`clauses`] splits
//! policies into single conditions and evaluates them. The command line calls these and prints their results.
//!
//! Invariant: no printing. Results are serializable values.

pub mod access;
pub mod check;
pub mod clauses;
pub mod coaz;
pub mod explain;
pub mod import;
pub mod manifest;
pub mod propose;
pub mod review;
pub mod tool_list;

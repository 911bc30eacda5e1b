//! Operations on a bundle before it is served: check it, import a server's tools, export mappings for other enforcement
//! points.
//!
//! Start at [`check`], [`import`] and [`coaz`]; [`manifest`] computes the manifest of a directory, [`replay`] makes
//! recorded decisions again. The command line calls
//! these and prints their results.
//!
//! Invariant: no printing. Results are serializable values.

pub mod check;
pub mod coaz;
pub mod import;
pub mod manifest;
pub mod propose;
pub mod replay;
pub mod review;
pub mod tool_list;

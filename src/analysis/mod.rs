//! Operations on a bundle before it is served: check it, import a server's tools, export mappings for other enforcement
//! points.
//!
//! Start at [`init`], [`check`] with its [`lint`]s, [`import`] (with its [`catalogue`]), [`dialect`] and [`coaz`]; [`manifest`] computes the manifest of a directory, [`mod@format`] formats its policies, [`schema`] writes its whole schema, [`replay`] makes
//! recorded decisions again. [`clauses`] splits policies into single conditions and evaluates them; [`policy_test`] runs the
//! tests beside the policies, and asks [`equivalence`] which changes of a policy no test can notice; [`prove`] proves what
//! holds for every request. The command line calls these and prints their results.
//!
//! Invariant: no printing. Results are serializable values.

pub mod access;
pub mod answer_changes;
mod answer_marks;
pub mod archive;
pub mod catalogue;
pub mod check;
pub mod clauses;
pub mod coaz;
pub mod dialect;
pub mod equivalence;
pub mod explain;
#[cfg(test)]
mod fixtures;
pub mod format;
pub mod import;
mod import_changed;
pub mod import_siblings;
pub mod init;
pub mod lint;
pub mod manifest;
pub mod policy_test;
pub mod propose;
pub mod prove;
pub mod replay;
pub mod review;
pub mod schema;
pub mod tool_list;

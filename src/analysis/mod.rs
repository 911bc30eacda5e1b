//! Operations on a bundle before it is served: check it, import a server's tools, export mappings for other enforcement
//! points.
//!
//! Start at [`init`], [`check`], [`import`] (with its [`catalogue`]) and [`coaz`]; [`manifest`] computes the manifest of a directory, [`replay`] makes
//! recorded decisions again. [`clauses`] splits policies into single conditions and evaluates them; [`policy_test`] runs the
//! tests beside the policies, and asks [`equivalence`] which changes of a policy no test can notice. The command line calls
//! these and prints their results.
//!
//! Invariant: no printing. Results are serializable values.

pub mod catalogue;
pub mod check;
pub mod clauses;
pub mod coaz;
pub mod equivalence;
pub mod import;
pub mod init;
pub mod manifest;
pub mod policy_test;
pub mod propose;
pub mod replay;
pub mod review;
pub mod tool_list;

//! What people who write policies do: check a directory, import a server's tools.
//!
//! Start at [`check`] and [`import`]; [`manifest`] lists what belongs to a directory. The command line calls these and prints what they return.
//!
//! Invariant: no printing. Results are values that serialize.

pub mod check;
pub mod import;
pub mod manifest;
pub mod propose;
pub mod tool_list;

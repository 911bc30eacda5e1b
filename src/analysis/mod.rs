//! What people who write policies do: check a directory, import a server's tools, export what others ask by.
//!
//! Start at [`check`], [`import`] and [`coaz`]; [`manifest`] lists what belongs to a directory. The command line calls these
//! and prints what they return.
//!
//! Invariant: no printing. Results are values that serialize.

pub mod check;
pub mod coaz;
pub mod import;
pub mod manifest;
pub mod propose;
pub mod review;
pub mod tool_list;

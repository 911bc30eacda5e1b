//! Every integration test, in one binary.

mod bundle_fuzz;
mod check;
mod command;
mod full_scan;
mod import;
mod reload;
mod shipped_policies;

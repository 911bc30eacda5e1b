//! Every integration test, in one binary.

mod full_scan;
mod fuzz;
mod lifecycle;
mod rpcs;
mod serving;
mod transport;

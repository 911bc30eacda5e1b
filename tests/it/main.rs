//! Every integration test, in one binary.

mod architecture;
mod corpus;
mod full_scan;
mod harness;
mod real_parts;
mod telemetry;

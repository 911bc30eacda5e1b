//! Every integration test, in one binary.

mod architecture;
mod certificates;
mod corpus;
mod full_scan;
mod fuzz;
mod harness;
mod lifecycle;
mod malformed;
mod real_parts;
mod rpcs;
mod serving;
mod telemetry;
mod transport;
mod verbs;

//! Every integration test, in one binary.

mod agentdojo;
mod architecture;
mod bundle_fuzz;
mod certificates;
mod check;
mod command;
mod corpus;
mod full_scan;
mod fuzz;
mod guide;
mod harness;
mod import;
mod lifecycle;
mod live;
mod malformed;
mod readme;
mod real_parts;
mod reload;
mod rows;
mod rpcs;
mod serving;
mod shipped_policies;
mod telemetry;
mod transport;
mod verbs;

//! What operators rely on: probes, metrics, copies of the store, alerts and dashboards.

pub mod admin;
mod backup;
mod dashboards;
mod start;

//! What operators rely on: probes, metrics, certificates, backups, rules and dashboards.

mod admin;

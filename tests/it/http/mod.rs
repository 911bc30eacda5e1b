//! The protocols over plain HTTP: AuthZEN, COAZ-MCP and ToolHive.

pub mod apparitor;
pub mod authzen;
pub mod authzen_conformance;
pub mod authzen_malformed;
pub mod authzen_obligations;
pub mod authzen_text;
pub mod authzen_todo;
pub mod coaz;
pub mod coaz_export;
pub mod coaz_records;
pub mod listener;
pub mod toolhive;
pub mod toolhive_real;

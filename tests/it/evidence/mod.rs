//! Reading, proving and exporting the decision log: as a person does it, and as programs of others do.

mod cli;
pub mod fixtures;
mod incident;
mod others;
mod tiles;
pub mod witness;

//! The decision log: records of decisions, control writes and outcomes, and the files they are kept in.
//!
//! Start at [`decision_record::DecisionRecord`]; [`control_record::ControlRecord`] is the same for writes,
//! [`outcome_record::OutcomeRecord`] for what became of a call. [`envelope`] encodes them ([`wire`] is how, [`keyed_digest`] what stands for what they must not show), and
//! [`log::AuditLog`] takes them ([`log_opening`] opens it): a thread writes them ([`log_output`]) and feeds the tree ([`log_tree`]), another compresses
//! and removes files that are closed ([`archive`]). On disk: [`record`] is an envelope, [`frame`] how envelopes follow one
//! another, [`segment`] a file that is written, [`capsule`] what belongs to an envelope and is encrypted
//! ([`capsule_content`] is what it holds), [`log_files`] the names of the files, [`reader`] reads them all. [`tree`] is the
//! Merkle tree over the envelopes, [`verify`] holds log and tree against each other. [`lost_records`] counts what is known
//! to be gone, [`removals`] is what the log says it has removed, [`newest_revision`] finds the last revision that a log knows,
//! [`log_lock`] sees to it that one process writes, and [`key_guard`] that its keys stay where they are. [`filter`] and [`find`] choose records, [`outcome_check`] holds outcomes
//! against decisions, [`json`] and [`export`] write them for others.
//!
//! Invariant: no policy logic. A record states what happened; it decides nothing.

pub mod archive;
pub mod batch;
pub mod batch_outcome;
pub mod capsule;
pub mod capsule_content;
pub mod capsule_reader;
pub mod control_record;
pub mod decision_record;
pub mod envelope;
pub mod export;
pub mod filter;
pub mod find;
pub mod frame;
pub mod json;
pub mod key_guard;
pub mod keyed_digest;
pub mod left_out;
pub mod log;
pub mod log_files;
pub mod log_lock;
pub mod log_opening;
pub mod log_output;
pub mod log_queue;
pub mod log_tree;
mod log_writer;
pub mod lost_records;
pub mod newest_revision;
pub mod outcome_check;
pub mod outcome_record;
pub mod reader;
pub mod record;
mod record_time;
pub mod removals;
mod rolling;
pub mod segment;
mod steady_clock;
pub mod tree;
pub mod turn;
pub mod verify;
pub mod wire;

#[cfg(test)]
pub mod counted_wakes;

// Logs as they are written, which integration tests use too.
#[cfg(test)]
#[path = "../../tests/it/evidence/fixtures.rs"]
pub mod fixtures;

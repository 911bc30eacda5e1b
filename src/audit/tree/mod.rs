//! The Merkle tree over the records of the decision log, in the layout of a transparency log (C2SP tlog-tiles).
//!
//! Start at [`writer::TreeWriter`], which the log appends to, and [`tile_dir::TreeReader`], from which roots and proofs are
//! made. The tree is that of RFC 6962: a leaf is `SHA-256(0x00 || envelope)`, a node `SHA-256(0x01 || left || right)`. Its
//! state is signed as a checkpoint, a note with an Ed25519 signature.
//!
//! Invariant: a checkpoint is never signed that is not an extension of the one before.

pub mod checkpoint;
pub mod frontier;
pub mod hash;
pub mod key_file;
pub mod merkle;
pub mod note;
pub mod thread;
pub mod tile;
pub mod tile_dir;
pub mod tlog_proof;
pub mod unsigned;
pub mod writer;

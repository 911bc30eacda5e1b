//! Inclusion proofs that can be checked offline (C2SP tlog-proof): index, hashes and checkpoint in one text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::audit::tree::checkpoint::{Checkpoint, CheckpointError, decimal};
use crate::audit::tree::hash::TreeHash;
use crate::audit::tree::merkle::{self, MAX_PROOF_HASHES, ProofError};
use crate::audit::tree::note::{MAX_NOTE_LEN, VerifyingKey};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
const EXTRA: &str = "extra ";
/// The longest text that is read: an entry of 65,535 bytes in base64, the hashes and the checkpoint.
pub const MAX_PROOF_LEN: usize = 90_000 + 64 * MAX_PROOF_HASHES + MAX_NOTE_LEN;

/// A proof that an entry is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// The entry itself, if the proof brings it along. It is proven only by [`Self::verify`].
    pub entry: Option<Vec<u8>>,
    /// The index of the entry.
    pub index: u64,
    /// The hashes, from the leaf's sibling up.
    pub hashes: Vec<TreeHash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

/// Why a proof is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InclusionError {
    /// The text.
    #[error("it is not a proof of the form {FIRST_LINE}: {0}")]
    Form(&'static str),
    /// Its checkpoint.
    #[error("its checkpoint is of no use: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// There is nothing to prove.
    #[error("it brings no record along: give the record's bytes")]
    NoEntry,
    /// It does not hold.
    #[error("it does not hold for this record: {0}")]
    Proof(#[from] ProofError),
}

impl InclusionProof {
    /// The text. The entry, if any, is its `extra` data.
    pub fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        if let Some(entry) = &self.entry {
            text.push_str(&format!("{EXTRA}{}\n", STANDARD.encode(entry)));
        }
        text.push_str(&format!("index {}\n", self.index));
        for hash in &self.hashes {
            text.push_str(&format!("{hash}\n"));
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads the text. Nothing of it is verified.
    ///
    /// # Errors
    ///
    /// If it has another form.
    pub fn from_text(text: &str) -> Result<Self, InclusionError> {
        if text.len() > MAX_PROOF_LEN {
            return Err(InclusionError::Form("it is too long"));
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(InclusionError::Form(
            "no empty line is before the checkpoint",
        ))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(FIRST_LINE) {
            return Err(InclusionError::Form("its first line is another"));
        }
        let extra = lines.next_if(|line| line.starts_with(EXTRA));
        let entry = extra
            .map(|line| STANDARD.decode(&line[EXTRA.len()..]))
            .transpose()
            .map_err(|_| InclusionError::Form("`extra` is not base64"))?;
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(decimal)
            .ok_or(InclusionError::Form("`index` is no number"))?;
        let hashes: Option<Vec<_>> = lines
            .take(MAX_PROOF_HASHES + 1)
            .map(TreeHash::from_base64)
            .collect();
        let hashes = hashes.ok_or(InclusionError::Form("a line is no hash"))?;
        if hashes.len() > MAX_PROOF_HASHES {
            return Err(InclusionError::Form("it has too many hashes"));
        }
        Ok(Self {
            entry,
            index,
            hashes,
            checkpoint: checkpoint.to_owned(),
        })
    }

    /// Verifies that an entry is in the log of the key: the one given, or else the one that the proof brings along.
    /// Returns the checkpoint that vouches for it.
    ///
    /// # Errors
    ///
    /// If the checkpoint is not signed by the key, there is no entry, or the proof does not hold for it.
    pub fn verify(
        &self,
        entry: Option<&[u8]>,
        key: &VerifyingKey,
    ) -> Result<Checkpoint, InclusionError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, key)?;
        let entry = entry.or(self.entry.as_deref());
        let leaf = TreeHash::leaf(entry.ok_or(InclusionError::NoEntry)?);
        let (size, root) = (checkpoint.size, checkpoint.root);
        merkle::verify_inclusion(&self.hashes, self.index, leaf, size, root)?;
        Ok(checkpoint)
    }
}

#[cfg(test)]
#[path = "tlog_proof_tests.rs"]
mod tests;

//! Replaces sensitive values in records, logs and spans by keyed digests. Start at [`redaction::Redaction`].

pub mod digest_cache;
pub mod redaction;

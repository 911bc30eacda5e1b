//! What stands for sensitive values in records, logs and spans: keyed digests, and nothing else.

pub mod digest_cache;
pub mod redaction;

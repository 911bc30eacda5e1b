//! The front doors, one folder per protocol: parse a question, ask the service, encode its answer.
//!
//! Start at [`grpc`], the native one.
//!
//! Invariant: no decisions and no storage. An adapter that cannot read a question refuses it and names
//! the field; it never guesses.

pub mod grpc;

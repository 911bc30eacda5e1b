//! Messages of servers: [`filter`] removes what the client may not see and decides what the server asks for, of errors with
//! [`visits`]. [`list_entries`] reads what lists are made of, [`json_rpc_error`] writes the error that a client gets in place of a response.

pub mod filter;
pub mod json_rpc_error;
mod list_entries;
mod visits;

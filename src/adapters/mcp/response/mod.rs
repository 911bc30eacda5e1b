//! Messages of servers: [`filter`] removes what the client may not see and decides what the server asks for,
//! [`json_rpc_error`] writes the error that a client gets in place of a response.

pub mod filter;
pub mod json_rpc_error;

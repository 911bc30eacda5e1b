//! A server process, a server in this process, and the clients and programs that tests talk to them with.

pub mod command;
pub mod in_process;
pub mod parts;
pub mod plain_http;
pub mod port;
pub mod postgres;
pub mod process;

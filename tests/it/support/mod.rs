//! The kit that tests are made with: a directory in the making ([`bundle_dir`]) and the worlds to begin with ([`worlds`]);
//! what is made of it is asked directly ([`direct`]), as a server in this process ([`in_process`]) or as a process of its own
//! ([`process`]). Beside that, the clients and programs that tests talk to them with.

pub mod bundle_dir;
pub mod clock;
pub mod command;
pub mod direct;
pub mod files;
pub mod in_process;
pub mod parts;
pub mod plain_http;
pub mod port;
pub mod postgres;
pub mod process;
pub mod watched_store;
pub mod wire;
pub mod worlds;

//! One file per command.

pub mod approval;
pub mod audit;
pub mod authorize;
pub mod changes;
pub mod check;
pub mod clock;
pub mod delegation;
pub mod entity;
pub mod export;
pub mod health;
pub mod import;
pub mod init;
pub mod manifest;
pub mod replay;
pub mod serve;
pub mod session;
pub mod status;
pub mod stop;
pub mod task;
pub mod test;
pub mod tool;
pub mod try_compiling;

//! Ports of this machine.

use std::net::{SocketAddr, TcpListener};

/// An address of this machine whose port was free a moment ago.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    free_address().port()
}

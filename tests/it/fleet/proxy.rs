//! A TCP proxy that can be cut, held and led elsewhere.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a proxy does with what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Passes it on.
    Whole = 0,
    /// Keeps connections and passes nothing on.
    Held = 1,
    /// Ends connections, and takes no new ones.
    Cut = 2,
}

/// A proxy before a port of this machine.
#[derive(Clone)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

struct State {
    link: AtomicU8,
    target: AtomicU16,
    /// Connections of an earlier number are ended.
    turn: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub fn before(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            link: AtomicU8::new(0),
            target: AtomicU16::new(target),
            turn: AtomicU64::new(0),
            open: Mutex::default(),
        });
        let mine = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                mine.accept(client);
            }
        });
        Self { port, state }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, link: Link) {
        self.state.link.store(link as u8, Ordering::SeqCst);
        if link == Link::Cut {
            self.state.end_all();
        }
    }

    /// From now on it leads to another port. Open connections are ended.
    pub fn lead_to(&self, target: u16) {
        self.state.target.store(target, Ordering::SeqCst);
        self.state.end_all();
    }
}

impl State {
    fn end_all(&self) {
        self.turn.fetch_add(1, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn accept(self: &Arc<Self>, client: TcpStream) {
        if self.link.load(Ordering::SeqCst) == Link::Cut as u8 {
            return;
        }
        let target = self.target.load(Ordering::SeqCst);
        let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else {
            return;
        };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
            self.open.lock().unwrap().push(stream.try_clone().unwrap());
        }
        let turn = self.turn.load(Ordering::SeqCst);
        let pairs = [
            (client.try_clone().unwrap(), server.try_clone().unwrap()),
            (server, client),
        ];
        for (from, to) in pairs {
            let state = Arc::clone(self);
            std::thread::spawn(move || state.pass(from, to, turn));
        }
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream, turn: u64) {
        let mut buffer = vec![0; 65_536];
        while let Ok(count) = from.read(&mut buffer) {
            if count == 0 || self.turn.load(Ordering::SeqCst) != turn {
                break;
            }
            // What is held arrives later, if the connection is not given up.
            while self.link.load(Ordering::SeqCst) == Link::Held as u8 {
                std::thread::sleep(Duration::from_millis(5));
            }
            if self.turn.load(Ordering::SeqCst) != turn || to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

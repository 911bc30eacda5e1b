//! Sockets: binding and accepting, and when a connection has to end.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::Sleep;
use tokio_stream::Stream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use crate::authn::certificate::Peer;
use crate::config::listen::{CleartextBeyondLoopback, ListenConfig, SocketMode};
use crate::server::connection_limiter::{ConnectionLimiter, ConnectionPermit};

/// How long to wait after a failure to accept, such as too many open files, before trying again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long after one unanswered question a silent connection is asked again, and how often.
const KEEPALIVE_RETRY: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 4;

/// A bound socket.
pub enum Listener {
    /// TCP, for gRPC.
    Tcp(TcpListener),
    /// TCP, for the protocols over plain HTTP.
    Http(TcpListener),
    /// A Unix socket, and its file.
    Unix(UnixListener, SocketFile),
}

/// Why a socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Others could read what is asked and answered.
    #[error("the server {0}")]
    Cleartext(CleartextBeyondLoopback),
    /// A TCP address cannot be bound.
    #[error(
        "`{address}` cannot be listened on; `[listen]` of callgate.toml, `--listen` and `--http` choose another"
    )]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A Unix socket cannot be made.
    #[error("`{}` cannot be listened on", path.display())]
    Unix {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is a file that is not a socket.
    #[error("`{}` is there already and not a socket: remove it or choose another path", .0.display())]
    NotASocket(PathBuf),
    /// Another process listens.
    #[error("`{}` is in use by another process", .0.display())]
    InUse(PathBuf),
}

/// The file of a Unix socket; dropping it removes the file, unless another process has replaced it.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Listener {
    /// Binds a TCP address, but never one that offers cleartext to other machines.
    pub async fn tcp(address: SocketAddr, has_tls: bool) -> Result<Self, ListenError> {
        ListenConfig::check_address(address, has_tls).map_err(ListenError::Cleartext)?;
        let bound = TcpListener::bind(address).await;
        bound
            .map(Self::Tcp)
            .map_err(|source| ListenError::Tcp { address, source })
    }

    /// Binds a TCP address for the protocols over plain HTTP, under the same condition.
    pub async fn http(address: SocketAddr, has_tls: bool) -> Result<Self, ListenError> {
        match Self::tcp(address, has_tls).await? {
            Self::Tcp(listener) => Ok(Self::Http(listener)),
            other => Ok(other),
        }
    }

    /// Makes a Unix socket that only those whom `mode` allows can open, at no time anybody else.
    pub async fn unix(path: &Path, mode: SocketMode) -> Result<Self, ListenError> {
        check_socket_path(path).await?;
        let failed = |source| ListenError::Unix {
            path: path.to_owned(),
            source,
        };
        // Bound under another name and renamed: nobody can connect before the permissions are right.
        let hidden = hidden_name(path);
        let _ = std::fs::remove_file(&hidden);
        let listener = UnixListener::bind(&hidden).map_err(failed)?;
        let placed = std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(mode.0))
            .and_then(|()| std::fs::rename(&hidden, path))
            .and_then(|()| std::fs::symlink_metadata(path));
        match placed {
            Ok(metadata) => Ok(Self::Unix(
                listener,
                SocketFile {
                    path: path.to_owned(),
                    inode: metadata.ino(),
                },
            )),
            Err(source) => {
                let _ = std::fs::remove_file(&hidden);
                Err(failed(source))
            }
        }
    }

    /// Whether it is a TCP listener.
    pub fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::Http(_))
    }

    /// Whether it is for the protocols over plain HTTP.
    pub fn is_http(&self) -> bool {
        matches!(self, Self::Http(_))
    }

    /// The address, as a client would name it.
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(listener) | Self::Http(listener) => listener
                .local_addr()
                .map_or_else(|_| "tcp".to_owned(), |it| it.to_string()),
            Self::Unix(_, file) => format!("unix:{}", file.path.display()),
        }
    }

    /// Accepts connections for as long as the gate has room.
    pub fn incoming(self, gate: ConnectionLimiter, keepalive: Duration) -> Incoming {
        Incoming {
            listener: self,
            gate,
            keepalive: TcpKeepalive::new()
                .with_time(keepalive)
                .with_interval(KEEPALIVE_RETRY)
                .with_retries(KEEPALIVE_RETRIES),
            pause: None,
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| metadata.ino() == self.inode);
        if is_ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn hidden_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}

/// Makes sure that nothing is lost by putting a socket at `path`: only a socket that nobody listens on
/// may be replaced.
async fn check_socket_path(path: &Path) -> Result<(), ListenError> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(ListenError::Unix {
            path: path.to_owned(),
            source,
        }),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(ListenError::NotASocket(path.to_owned()))
        }
        Ok(_) => match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            _ => Err(ListenError::InUse(path.to_owned())),
        },
    }
}

/// The connections of one listener.
pub struct Incoming {
    listener: Listener,
    gate: ConnectionLimiter,
    keepalive: TcpKeepalive,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Incoming {
    /// The address that is listened on.
    pub fn address(&self) -> String {
        self.listener.address()
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            let accepted = match &self.listener {
                Listener::Tcp(listener) | Listener::Http(listener) => {
                    ready!(listener.poll_accept(context))
                        .map(|(io, from)| (Socket::Tcp(io), Some(from.ip())))
                }
                Listener::Unix(listener, _) => {
                    ready!(listener.poll_accept(context)).map(|(io, _)| (Socket::Unix(io), None))
                }
            };
            match accepted {
                Ok((socket, address)) => {
                    if let Socket::Tcp(io) = &socket {
                        // Failing to set these costs time and nothing else.
                        let _ = io.set_nodelay(true);
                        let _ = SockRef::from(io).set_tcp_keepalive(&self.keepalive);
                    }
                    match self.gate.enter(address) {
                        Some(pass) => {
                            return Poll::Ready(Some(Ok(Connection::new(socket, pass))));
                        }
                        None => {
                            tracing::debug!("a connection beyond `limits.connections` was closed")
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    self.pause = Some(Box::pin(tokio::time::sleep(ACCEPT_PAUSE)));
                }
            }
        }
    }
}

/// One connection; while it lives it takes room in the gate. It ends when the gate closes it, and when it is silent
/// for too long, whatever is spoken over it.
pub struct Connection {
    socket: Socket,
    peer: Peer,
    pass: ConnectionPermit,
    closing: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    fn new(socket: Socket, pass: ConnectionPermit) -> Self {
        Self {
            socket,
            peer: pass.peer(),
            pass,
            closing: None,
            timer: None,
        }
    }

    /// Whether it has to end: closed by the gate, or silent for too long. Wakes the task once that changes.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let standing = self.pass.standing();
        let closing = self
            .closing
            .get_or_insert_with(|| Box::pin(standing.closing()));
        if closing.as_mut().poll(context).is_ready() {
            return Poll::Ready(closed());
        }
        let patience = self.pass.gate().patience();
        loop {
            let Some(until) = standing.idle_deadline(patience) else {
                standing.close();
                self.pass.gate().count_idle();
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            };
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until.into())));
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            timer.as_mut().reset(until.into());
        }
    }
}

fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the connection made room for another one",
    )
}

impl Connection {
    /// The other end, for the log.
    pub fn peer_address(&self) -> String {
        match &self.socket {
            Socket::Tcp(io) => io
                .peer_addr()
                .map_or_else(|_| "unknown".to_owned(), |it| it.to_string()),
            Socket::Unix(_) => "unix".to_owned(),
        }
    }
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Calls a poll function of whichever socket it is.
macro_rules! of_socket {
    ($self:ident, $call:ident $(, $argument:expr)*) => {
        match &mut $self.get_mut().socket {
            Socket::Tcp(io) => Pin::new(io).$call($($argument),*),
            Socket::Unix(io) => Pin::new(io).$call($($argument),*),
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.pass.standing().is_closed() {
            return Poll::Ready(Err(closed()));
        }
        let read = match &mut this.socket {
            Socket::Tcp(io) => Pin::new(io).poll_read(context, buffer),
            Socket::Unix(io) => Pin::new(io).poll_read(context, buffer),
        };
        match read {
            Poll::Ready(read) => {
                this.pass.standing().note_read();
                Poll::Ready(read)
            }
            Poll::Pending => {
                this.pass.standing().note_all_read();
                this.poll_end(context).map(Err)
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        of_socket!(self, poll_write, context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        of_socket!(self, poll_write_vectored, context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_socket!(self, poll_flush, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_socket!(self, poll_shutdown, context)
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

//! Sockets: binding, accepting, and closing connections that are evicted or idle.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::authn::certificate::Peer;
use crate::authn::connection::ConnectionState;
use crate::config::listen::{CleartextBeyondLoopback, ListenConfig, SocketMode};
use crate::server::connection_limiter::{ConnectionLimiter, ConnectionPermit};

/// Pause after a failed accept, e.g. for too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// TCP keepalive: interval between unacknowledged probes, and their number.
const KEEPALIVE_RETRY: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 4;

/// A bound socket.
pub enum Listener {
    /// TCP, for gRPC.
    Tcp(TcpListener),
    /// TCP, for the adapters over plain HTTP.
    Http(TcpListener),
    /// TCP, for probes and scrapes in cleartext.
    Admin(TcpListener),
    /// A Unix socket, and its file.
    Unix(UnixListener, SocketFile),
}

/// A socket that cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Cleartext beyond loopback: other machines could read requests and responses.
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
    /// A Unix socket cannot be created.
    #[error("`{}` cannot be listened on", path.display())]
    Unix {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The path is a file that is not a socket.
    #[error("`{}` is there already and not a socket: remove it or choose another path", .0.display())]
    NotASocket(PathBuf),
    /// Another process listens on the path.
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
    /// Binds a TCP address for gRPC.
    ///
    /// # Errors
    ///
    /// [`ListenError`] if the address would offer cleartext to other machines, or cannot be bound.
    pub async fn tcp(address: SocketAddr, has_tls: bool) -> Result<Self, ListenError> {
        ListenConfig::check_address(address, has_tls).map_err(ListenError::Cleartext)?;
        let bound = TcpListener::bind(address).await;
        bound
            .map(Self::Tcp)
            .map_err(|source| ListenError::Tcp { address, source })
    }

    /// Binds a TCP address for the adapters over plain HTTP.
    ///
    /// # Errors
    ///
    /// As [`Listener::tcp`].
    pub async fn http(address: SocketAddr, has_tls: bool) -> Result<Self, ListenError> {
        match Self::tcp(address, has_tls).await? {
            Self::Tcp(listener) => Ok(Self::Http(listener)),
            other => Ok(other),
        }
    }

    /// Binds a TCP address for probes and scrapes. Any address will do, as nothing else is served there.
    ///
    /// # Errors
    ///
    /// [`ListenError::Tcp`] if the address cannot be bound.
    pub async fn admin(address: SocketAddr) -> Result<Self, ListenError> {
        let bound = TcpListener::bind(address).await;
        bound
            .map(Self::Admin)
            .map_err(|source| ListenError::Tcp { address, source })
    }

    /// Creates a Unix socket with the permissions `mode`, which hold from the moment the path exists.
    ///
    /// # Errors
    ///
    /// [`ListenError`] if the path is another file or a socket in use, or the socket cannot be created.
    pub async fn unix(path: &Path, mode: SocketMode) -> Result<Self, ListenError> {
        check_socket_path(path).await?;
        let failed = |source| ListenError::Unix {
            path: path.to_owned(),
            source,
        };
        // Bound under another name and renamed, so that nobody connects before the permissions are set.
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

    /// Whether it speaks TLS if there are certificates.
    pub fn may_have_tls(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::Http(_))
    }

    /// Whether it is for the adapters over plain HTTP.
    pub fn is_http(&self) -> bool {
        matches!(self, Self::Http(_))
    }

    /// Whether it is for probes and scrapes.
    pub fn is_admin(&self) -> bool {
        matches!(self, Self::Admin(_))
    }

    /// The same socket once more, if it is for probes and scrapes: whichever of both accepts a connection has it.
    pub(super) fn admin_again(&self) -> Option<io::Result<Self>> {
        let Self::Admin(listener) = self else {
            return None;
        };
        let again = listener.as_fd().try_clone_to_owned();
        Some(again.and_then(|it| TcpListener::from_std(it.into()).map(Self::Admin)))
    }

    /// What it speaks, for the log: `grpc`, `http` or `admin`.
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::Tcp(_) | Self::Unix(..) => "grpc",
            Self::Http(_) => "http",
            Self::Admin(_) => "admin",
        }
    }

    /// The address, as a client would name it.
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(listener) | Self::Http(listener) | Self::Admin(listener) => listener
                .local_addr()
                .map_or_else(|_| "tcp".to_owned(), |it| it.to_string()),
            Self::Unix(_, file) => format!("unix:{}", file.path.display()),
        }
    }

    /// Accepts connections for as long as the limiter has room.
    pub fn incoming(self, limiter: ConnectionLimiter, keepalive: Duration) -> Incoming {
        Incoming {
            listener: self,
            limiter,
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

/// Checks that a socket may be put at `path`: nothing may be there but a socket that no process listens on.
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

/// The accepted connections of one listener.
pub struct Incoming {
    listener: Listener,
    limiter: ConnectionLimiter,
    keepalive: TcpKeepalive,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Incoming {
    /// The address of the listener.
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
                Listener::Tcp(listener) | Listener::Http(listener) | Listener::Admin(listener) => {
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
                        // A failure to set these options costs latency only.
                        let _ = io.set_nodelay(true);
                        let _ = SockRef::from(io).set_tcp_keepalive(&self.keepalive);
                    }
                    match self.limiter.enter(address) {
                        Some(permit) => {
                            return Poll::Ready(Some(Ok(Connection::new(socket, permit))));
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

/// One connection. It holds a permit of the connection limiter, and ends when the limiter evicts it or when it is idle for
/// too long.
pub struct Connection {
    socket: Socket,
    permit: ConnectionPermit,
    closing: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    fn new(socket: Socket, permit: ConnectionPermit) -> Self {
        Self {
            socket,
            permit,
            closing: None,
            timer: None,
        }
    }

    /// The state of the connection.
    pub fn state(&self) -> &Arc<ConnectionState> {
        self.permit.connection()
    }

    /// Ready with the error once the connection has to end: evicted, or idle for too long.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let connection = self.permit.connection();
        let closing = self
            .closing
            .get_or_insert_with(|| Box::pin(connection.closing()));
        if closing.as_mut().poll(context).is_ready() {
            return Poll::Ready(closed());
        }
        let idle_timeouts = self.permit.limiter().idle_timeouts();
        loop {
            let Some(until) = connection.idle_deadline(idle_timeouts) else {
                connection.close();
                self.permit.limiter().count_idle();
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
    /// The peer address, for the log.
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

/// Calls a poll function of the socket.
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
        if this.permit.connection().is_closed() {
            return Poll::Ready(Err(closed()));
        }
        let read = match &mut this.socket {
            Socket::Tcp(io) => Pin::new(io).poll_read(context, buffer),
            Socket::Unix(io) => Pin::new(io).poll_read(context, buffer),
        };
        match read {
            Poll::Ready(read) => {
                this.permit.connection().note_read();
                Poll::Ready(read)
            }
            Poll::Pending => {
                // Where the task has used its budget up, the socket was not asked.
                if tokio::task::coop::has_budget_remaining() {
                    this.permit.connection().note_all_read();
                }
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

/// What tells who is at the other end of a connection.
pub trait HasPeer {
    /// The peer, which all requests on the connection have in common.
    fn peer(&self) -> Peer;
}

impl HasPeer for Connection {
    fn peer(&self) -> Peer {
        Peer::new(Arc::clone(self.state()))
    }
}

impl HasPeer for TlsStream<Connection> {
    fn peer(&self) -> Peer {
        let (connection, session) = self.get_ref();
        let chain = session.peer_certificates().unwrap_or_default();
        Peer::over_tls(Arc::clone(connection.state()), chain)
    }
}

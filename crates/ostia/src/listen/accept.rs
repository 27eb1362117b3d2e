use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ostia_core::{Clock, RequestId};
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};
use tokio::time::timeout;

use super::connection::{Shared, serve_connection};
use super::drain::Stage;
use super::transport::Plain;
use super::{Drain, Handler, Options};
use crate::config::ListenAddress;
use crate::runtime;

const BACKLOG: u32 = 4096;
/// For connections that the kernel had made when the shutdown began: closing the listener resets them.
const BACKLOG_TIME: Duration = Duration::from_millis(50);
/// Given back to the rest of the process (the admin listener, the log) while descriptors are short.
const RESERVED_DESCRIPTORS: usize = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A bound socket. Connections wait in its backlog until [`serve`] takes them.
pub struct Listener {
    socket: Bound,
}

enum Bound {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        _file: Unlink,
    },
}

impl Listener {
    /// Needs a tokio runtime. A Unix socket that nobody listens on is replaced; its file goes with the listener.
    pub async fn bind(address: &ListenAddress) -> io::Result<Self> {
        let socket = match address {
            ListenAddress::Tcp(address) => Bound::Tcp(bind_tcp(*address)?),
            ListenAddress::Unix(path) => {
                remove_stale(path).await?;
                Bound::Unix {
                    listener: UnixListener::bind(path)?,
                    _file: Unlink(path.clone()),
                }
            }
        };
        Ok(Self { socket })
    }

    /// The address with its real port; `None` for a Unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Bound::Tcp(listener) => listener.local_addr().ok(),
            Bound::Unix { .. } => None,
        }
    }

    async fn accept(&self) -> io::Result<(Plain, IpAddr)> {
        match &self.socket {
            Bound::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                socket.set_nodelay(true)?;
                Ok((Plain::Tcp(socket), peer.ip().to_canonical()))
            }
            Bound::Unix { listener, .. } => {
                let (socket, _) = listener.accept().await?;
                Ok((Plain::Unix(socket), IpAddr::V4(Ipv4Addr::LOCALHOST)))
            }
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A socket file is left behind by a process that was killed.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = path
        .symlink_metadata()
        .is_ok_and(|found| found.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        _ => Ok(()),
    }
}

/// Removes a socket file when dropped.
struct Unlink(PathBuf);

impl Drop for Unlink {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Accepts and serves connections until `drain` begins, then returns when all of them have ended: by themselves, or
/// [`Options::give_up_grace`] after [`Drain::give_up`]. What is in the backlog when `drain` begins is still served.
pub async fn serve<H: Handler>(
    listener: Listener,
    options: Options,
    handler: Arc<H>,
    drain: Drain,
    clock: Arc<dyn Clock>,
) {
    let connections = Arc::clone(&options.connections);
    let shared = Arc::new(Shared::new(handler, options, drain.clone(), clock));
    let mut doorman = Doorman::new(listener, shared);
    let mut stage = drain.watch();
    loop {
        tokio::select! {
            biased;
            () = stage.reached(Stage::Draining) => break,
            () = doorman.take_one() => {}
        }
    }
    // Elapsing is how this ends.
    let _ = timeout(BACKLOG_TIME, doorman.empty_backlog()).await;
    drop(doorman);
    connections.none_left().await;
}

struct Doorman<H> {
    listener: Listener,
    shared: Arc<Shared<H>>,
    reserve: Vec<File>,
    pause: Duration,
}

impl<H: Handler> Doorman<H> {
    fn new(listener: Listener, shared: Arc<Shared<H>>) -> Self {
        let mut doorman = Self {
            listener,
            shared,
            reserve: Vec::with_capacity(RESERVED_DESCRIPTORS),
            pause: FIRST_PAUSE,
        };
        doorman.refill_reserve();
        doorman
    }

    /// Cancel-safe: a connection that is accepted is served.
    async fn take_one(&mut self) {
        if self.reserve.len() < RESERVED_DESCRIPTORS && !self.refill_reserve() {
            return self.pause().await;
        }
        match self.listener.accept().await {
            Ok((socket, peer_ip)) => {
                self.pause = FIRST_PAUSE;
                self.admit(socket, peer_ip);
            }
            Err(error) if is_exhaustion(&error) => {
                self.reserve.clear();
                tracing::warn!(%error, open = self.shared.options.connections.open(), "accepting pauses");
                self.pause().await;
            }
            // The client was faster than us, or a signal was.
            Err(error) => tracing::debug!(%error, "accept failed"),
        }
    }

    async fn empty_backlog(&self) {
        while let Ok((socket, peer_ip)) = self.listener.accept().await {
            self.admit(socket, peer_ip);
        }
    }

    fn admit(&self, socket: Plain, peer_ip: IpAddr) {
        let options = &self.shared.options;
        let Some(open) = options.connections.enter(options.max_connections) else {
            options.connections.refuse();
            if options.tls.is_none() {
                refuse(&socket, self.shared.clock.unix_micros());
            }
            return;
        };
        let shared = Arc::clone(&self.shared);
        runtime::spawn(async move {
            serve_connection(socket, peer_ip, shared).await;
            drop(open);
        });
    }

    fn refill_reserve(&mut self) -> bool {
        while self.reserve.len() < RESERVED_DESCRIPTORS {
            match File::open("/dev/null") {
                Ok(file) => self.reserve.push(file),
                Err(_) => {
                    self.reserve.clear();
                    return false;
                }
            }
        }
        true
    }

    async fn pause(&mut self) {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        tokio::time::sleep(pause).await;
    }
}

fn is_exhaustion(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}

/// The answer to one connection too many, as far as the socket takes it at once.
fn refuse(socket: &Plain, unix_micros: i64) {
    let id = RequestId::at(unix_micros);
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\nretry-after: 1\r\nx-request-id: {id}\r\n\r\n"
    );
    // Whoever cannot be answered sees the close.
    let _ = socket.try_write(answer.as_bytes());
}

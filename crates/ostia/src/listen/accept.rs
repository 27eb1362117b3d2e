use std::fs::{File, Permissions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use ostia_core::{Clock, RequestId};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::connection::{Shared, serve_connection};
use super::drain::Stage;
use super::options::Full;
use super::transport::Plain;
use super::{Drain, Handler, Options};
use crate::runtime::{self, is_exhaustion};
use crate::settings::ListenAddress;
use crate::telemetry::Pace;

/// How many connections over the cap are answered at the same time.
const MAX_REFUSALS: usize = 64;
const REFUSAL_BYTES: u64 = 64 * 1024;
const REFUSAL_TIME: Duration = Duration::from_millis(200);
const BACKLOG: u32 = 4096;
/// Closing the listener resets connections that the kernel has already accepted, so these get a moment to be served.
const BACKLOG_TIME: Duration = Duration::from_millis(50);
/// Descriptors left to the rest of the process (the admin listener, the log) when they run short.
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
        file: Option<Unlink>,
    },
}

impl Listener {
    /// Needs a tokio runtime. Replaces a Unix socket that nobody listens on; the socket file is removed with the
    /// listener.
    pub async fn bind(address: &ListenAddress) -> io::Result<Self> {
        let socket = match address {
            ListenAddress::Tcp(address) => Bound::Tcp(bind_tcp(*address)?),
            ListenAddress::Unix(path) => {
                remove_stale(path).await?;
                Bound::Unix {
                    listener: bind_private(path)?,
                    file: Some(Unlink(path.clone())),
                }
            }
        };
        Ok(Self { socket })
    }

    /// A socket that another process opened and listens on. If it is a Unix socket, `file` is removed with the
    /// listener. Needs a tokio runtime.
    pub fn adopt(socket: OwnedFd, file: Option<PathBuf>) -> io::Result<Self> {
        let is_unix = SockRef::from(&socket).local_addr()?.is_unix();
        SockRef::from(&socket).set_nonblocking(true)?;
        let socket = match is_unix {
            true => Bound::Unix {
                listener: UnixListener::from_std(socket.into())?,
                file: file.map(Unlink),
            },
            false => Bound::Tcp(TcpListener::from_std(socket.into())?),
        };
        Ok(Self { socket })
    }

    /// A duplicate of the socket, for another process.
    pub fn share(&self) -> io::Result<OwnedFd> {
        match &self.socket {
            Bound::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Bound::Unix { listener, .. } => listener.as_fd().try_clone_to_owned(),
        }
    }

    /// Keeps the socket file, because another process listens on it.
    fn leave_file(&mut self) {
        if let Bound::Unix {
            file: Some(file), ..
        } = &mut self.socket
        {
            file.0 = PathBuf::new();
        }
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

/// Makes a socket that only its owner reaches, whatever the umask: nobody can connect before it listens.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)
}

/// A killed process leaves its socket file behind.
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
        // It may be gone already.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Accepts and serves connections until `drain` begins. Then serves what is in the backlog and returns once all
/// connections have ended: by themselves, or [`Options::give_up_grace`] after [`Drain::give_up`]. Swapped options apply
/// to connections accepted from then on.
pub async fn serve<H: Handler>(
    listener: Listener,
    options: Arc<ArcSwap<Options>>,
    handler: Arc<H>,
    drain: Drain,
    clock: Arc<dyn Clock>,
) {
    let connections = Arc::clone(&options.load().connections);
    let shared = Arc::new(Shared::new(
        handler,
        options.load_full(),
        drain.clone(),
        clock,
    ));
    let mut doorman = Doorman::new(listener, options, shared);
    let mut stage = drain.watch();
    loop {
        tokio::select! {
            biased;
            () = stage.reached(Stage::Draining) => break,
            taken = AssertUnwindSafe(doorman.take_one()).catch_unwind() => {
                if taken.is_err() {
                    // The panic hook has logged where. Keep accepting connections.
                    doorman.pause().await;
                }
            }
        }
    }
    if drain.is_handed_over() {
        // The process that takes over accepts what is in the backlog.
        doorman.listener.leave_file();
    } else {
        // The timeout is the normal end.
        let _ = timeout(BACKLOG_TIME, doorman.empty_backlog()).await;
    }
    drop(doorman);
    connections.none_left().await;
}

struct Doorman<H> {
    listener: Listener,
    options: Arc<ArcSwap<Options>>,
    shared: Arc<Shared<H>>,
    reserve: Vec<File>,
    pause: Duration,
    refusals: Arc<Semaphore>,
    told: Pace,
}

impl<H: Handler> Doorman<H> {
    fn new(listener: Listener, options: Arc<ArcSwap<Options>>, shared: Arc<Shared<H>>) -> Self {
        let mut doorman = Self {
            listener,
            options,
            shared,
            reserve: Vec::with_capacity(RESERVED_DESCRIPTORS),
            pause: FIRST_PAUSE,
            refusals: Arc::new(Semaphore::new(MAX_REFUSALS)),
            told: Pace::default(),
        };
        doorman.refill_reserve();
        doorman
    }

    /// Cancel-safe: once a connection is accepted, it is served.
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
            // The client has already gone, or a signal interrupted the call.
            Err(error) => tracing::debug!(%error, "accept failed"),
        }
    }

    async fn empty_backlog(&mut self) {
        while let Ok((socket, peer_ip)) = self.listener.accept().await {
            self.admit(socket, peer_ip);
        }
    }

    fn admit(&mut self, socket: Plain, peer_ip: IpAddr) {
        let options = self.options.load_full();
        if !Arc::ptr_eq(&options, &self.shared.options) {
            self.shared = Arc::new(self.shared.with(Arc::clone(&options)));
        }
        let guest = options.connections.guest(peer_ip);
        let open = match options.connections.enter(&guest, peer_ip, &options) {
            Ok(open) => open,
            Err(full) => {
                options.connections.refuse();
                self.tell(full, peer_ip);
                self.refuse(socket);
                return;
            }
        };
        let shared = Arc::clone(&self.shared);
        runtime::spawn(async move {
            serve_connection(socket, peer_ip, guest, shared).await;
            drop(open);
        });
    }

    /// Logs that an address has used up its share: it may be a proxy that was not declared.
    fn tell(&self, full: Full, peer_ip: IpAddr) {
        if full == Full::Address
            && let Some(untold) = self.told.count(&*self.shared.clock)
        {
            tracing::warn!(
                %peer_ip,
                untold,
                "an address has as many connections as it may (server.connections_per_address); if it is a proxy, add it to server.trusted_proxies"
            );
        }
    }

    /// Answers a connection over the cap with 503, unless too many are being answered already.
    fn refuse(&self, socket: Plain) {
        if self.shared.options.tls.is_some() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() else {
            return;
        };
        let id = RequestId::at(self.shared.clock.unix_micros());
        runtime::spawn(async move {
            // If the answer takes too long, the client just sees the connection close.
            let _ = timeout(REFUSAL_TIME, answer_busy(socket, id)).await;
            drop(permit);
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

async fn answer_busy(mut socket: Plain, id: RequestId) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\
         retry-after: 1\r\nx-request-id: {id}\r\n\r\n"
    );
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await?;
    // Closing with the request unread would send a reset, which can overtake the response.
    copy(&mut socket.take(REFUSAL_BYTES), &mut sink()).await?;
    Ok(())
}

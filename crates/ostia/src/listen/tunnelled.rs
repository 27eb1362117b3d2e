use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::UPGRADE;
use http::{HeaderMap, HeaderValue, request};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Guest;
use super::socket::Socket;

/// The protocol that a client names in `Upgrade` to turn its connection around: from then on the client answers
/// requests on it.
pub const TUNNEL: HeaderValue = HeaderValue::from_static("ostia-tunnel");

/// The header in which a replica says which one it is, so that the other side opens one tunnel to each.
pub const REPLICA: &str = "ostia-replica";

/// A request for this path is not for the engine: another process answers at the gateway's address, so that the other
/// side opens a tunnel to it too.
pub const LOOK_AGAIN: &str = "/.ostia/look-again";

/// A connection that a client opened and on which it answers requests. It counts towards its address's share for as
/// long as it is open.
pub struct Tunnelled {
    socket: Socket,
    _guest: Arc<Guest>,
}

/// A connection that becomes [`Tunnelled`] once its 101 has been written.
pub struct Turning {
    upgrade: OnUpgrade,
    guest: Arc<Guest>,
}

impl Tunnelled {
    /// Whether a request asks for a tunnel.
    pub fn is_asked_for(headers: &HeaderMap) -> bool {
        headers.get(UPGRADE) == Some(&TUNNEL)
    }
}

impl Turning {
    /// `None` for HTTP/2, where a request cannot take over its connection.
    pub fn of(head: &mut request::Parts, guest: &Arc<Guest>) -> Option<Self> {
        Some(Self {
            upgrade: head.extensions.remove::<OnUpgrade>()?,
            guest: Arc::clone(guest),
        })
    }

    /// Waits for the 101 to be written. `None`: the connection ended before that.
    pub async fn turned(self) -> Option<Tunnelled> {
        let upgraded = self.upgrade.await.ok()?;
        let parts = upgraded.downcast::<TokioIo<Socket>>().ok()?;
        Some(Tunnelled {
            socket: parts.io.into_inner().tunnelled(parts.read_buf),
            _guest: self.guest,
        })
    }
}

impl AsyncRead for Tunnelled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tunnelled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

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

/// What a client names that turns its connection round: from then on it answers requests on it.
pub const TUNNEL: HeaderValue = HeaderValue::from_static("ostia-tunnel");

/// A connection that a client opened and on which it answers requests. It counts among its address's for as long as it
/// is open.
pub struct Tunnelled {
    socket: Socket,
    _guest: Arc<Guest>,
}

/// A connection that becomes one once its 101 has been written.
pub struct Turning {
    upgrade: OnUpgrade,
    guest: Arc<Guest>,
}

impl Tunnelled {
    /// Whether a request asks for it.
    pub fn is_asked_for(headers: &HeaderMap) -> bool {
        headers.get(UPGRADE) == Some(&TUNNEL)
    }
}

impl Turning {
    /// `None`: the request cannot turn its connection, as it came over HTTP/2.
    pub fn of(head: &mut request::Parts, guest: &Arc<Guest>) -> Option<Self> {
        Some(Self {
            upgrade: head.extensions.remove::<OnUpgrade>()?,
            guest: Arc::clone(guest),
        })
    }

    /// Waits for the 101 to be written. `None`: the connection ended before.
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

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Bytes that may come before an answer's head is whole, interim (1xx) heads included. Above the read buffer's size, so
/// that a long head with the body's beginning behind it fits.
const BEFORE_HEAD: u64 = 192 * 1024;

/// A connection to a backend or a proxy, counted.
pub(super) struct Socket {
    stream: Stream,
    traffic: Arc<Traffic>,
    /// Writing failed because the peer has closed. What it said before is still to be read.
    write_broken: bool,
}

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What went over a socket. One writer, so no read-modify-write is needed.
#[derive(Default)]
pub(super) struct Traffic {
    read: AtomicU64,
    written: AtomicU64,
    /// `read` may not pass this; 0 is no limit.
    read_limit: AtomicU64,
    ended: AtomicBool,
}

impl Traffic {
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Whether the peer has closed its side, in whichever way.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Until [`Traffic::head_came`], what may be read is bounded: endless heads and endless 1xx end.
    pub(super) fn head_awaited(&self) {
        let limit = self.read() + BEFORE_HEAD;
        self.read_limit.store(limit, Ordering::Relaxed);
    }

    pub(super) fn head_came(&self) {
        self.read_limit.store(0, Ordering::Relaxed);
    }

    fn has_read_too_much(&self) -> bool {
        let limit = self.read_limit.load(Ordering::Relaxed);
        limit != 0 && self.read() > limit
    }

    fn add_read(&self, bytes: usize) {
        self.read
            .store(self.read() + bytes as u64, Ordering::Relaxed);
    }

    fn add_written(&self, bytes: usize) {
        self.written
            .store(self.written() + bytes as u64, Ordering::Relaxed);
    }
}

impl Socket {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            traffic: Arc::default(),
            write_broken: false,
        }
    }

    pub(super) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// A backend may answer (413, say) and close before it has read the request. hyper gives up on a write error, and
    /// the answer that already waits would be lost: so a write that finds the peer gone stays pending, and reading,
    /// which then always has something to tell, decides.
    fn after_write(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(bytes)) => {
                self.traffic.add_written(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) if peer_is_gone(&error) => {
                self.write_broken = true;
                Poll::Pending
            }
            other => other,
        }
    }
}

fn peer_is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        let bytes = buf.filled().len() - before;
        this.traffic.add_read(bytes);
        if result.is_ready() && bytes == 0 && buf.remaining() > 0 {
            this.traffic.ended.store(true, Ordering::Relaxed);
        }
        if this.traffic.has_read_too_much() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the answer's head does not end",
            )));
        }
        result
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.write_broken {
            return Poll::Pending;
        }
        let result = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        this.after_write(result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.write_broken {
            return Poll::Pending;
        }
        let result = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        this.after_write(result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.write_broken {
            return Poll::Pending;
        }
        let result = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        this.after_write(result.map_ok(|()| 0)).map_ok(|_| ())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

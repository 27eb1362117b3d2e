use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::habits::{HEAD_LIMIT, defer_to_reading};
use crate::listen::Tunnelled;

/// How many bytes may arrive before the response head is complete, including interim (1xx) heads, which hyper does not
/// count. Larger than [`HEAD_LIMIT`], so that a single head that is too long is refused by hyper.
const BEFORE_HEAD: u64 = HEAD_LIMIT as u64 * 3 / 2;

/// A connection to a backend or a proxy that counts its bytes.
pub(super) struct Socket {
    stream: Stream,
    traffic: Arc<Traffic>,
    /// A write failed because the peer has closed. What it sent before that is still to be read.
    write_broken: bool,
}

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A connection that the engine's side opened.
    Turned(Box<Tunnelled>),
}

/// Bytes that went over a socket. There is only one writer, so plain loads and stores suffice.
#[derive(Default)]
pub(super) struct Traffic {
    read: AtomicU64,
    written: AtomicU64,
    /// `read` stops here; 0 means no limit.
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

    /// Whether the peer has closed its side in any way.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// From now until [`Traffic::head_came`] the number of bytes that may be read is limited, so a backend cannot send
    /// heads or 1xx responses forever. A single read never crosses the limit; it may bring the head together with much
    /// of the body.
    pub(super) fn head_awaited(&self) {
        let limit = self.read() + BEFORE_HEAD;
        self.read_limit.store(limit, Ordering::Relaxed);
    }

    pub(super) fn head_came(&self) {
        self.read_limit.store(0, Ordering::Relaxed);
    }

    /// How much may be read now.
    fn room(&self) -> u64 {
        match self.read_limit.load(Ordering::Relaxed) {
            0 => u64::MAX,
            limit => limit.saturating_sub(self.read()),
        }
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

    /// A backend may respond (with 413, say) and close before it has read the whole request. If the write reported its
    /// error, hyper would drop the response that is already waiting. So a write that finds the peer gone stays pending,
    /// now and later, and the read side decides: it yields either the response or the end of the connection.
    fn after_write(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(bytes)) => {
                self.traffic.add_written(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) if peer_is_gone(&error) => {
                self.write_broken = true;
                defer_to_reading()
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
        let room = this.traffic.room();
        if room == 0 {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the response head does not end",
            )));
        }
        let before = buf.filled().len();
        let result = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(&mut stream.take(room)).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(&mut stream.take(room)).poll_read(cx, buf),
            Stream::Turned(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        let bytes = buf.filled().len() - before;
        this.traffic.add_read(bytes);
        if result.is_ready() && bytes == 0 && buf.remaining() > 0 {
            this.traffic.ended.store(true, Ordering::Relaxed);
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
            return defer_to_reading();
        }
        let result = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Turned(stream) => Pin::new(stream).poll_write(cx, buf),
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
            return defer_to_reading();
        }
        let result = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Turned(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        this.after_write(result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.write_broken {
            return defer_to_reading();
        }
        let result = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Turned(stream) => Pin::new(stream).poll_flush(cx),
        };
        this.after_write(result.map_ok(|()| 0)).map_ok(|_| ())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Turned(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_read_that_brings_the_head_may_bring_much_of_the_body() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut peer, b"ab").unwrap();
        let mut socket = Socket::new(Stream::Plain(stream));
        let traffic = socket.traffic();
        traffic.head_awaited();
        traffic.add_read(usize::try_from(BEFORE_HEAD).unwrap() - 1);
        // However large the buffer is, a read stops at the limit. Reaching the limit is not yet an error.
        let mut buffer = [0; 2];
        assert_eq!(socket.read(&mut buffer).await.unwrap(), 1);
        let error = socket.read(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        traffic.head_came();
        assert_eq!(socket.read(&mut buffer).await.unwrap(), 1);
        assert_eq!(buffer[0], b'b');
    }
}

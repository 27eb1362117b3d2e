use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use ostia_core::{Clock, RequestId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Wire;
use super::exchange::X_REQUEST_ID;
use super::framing::Framing;
use super::heads::Heads;
use super::stall::Stall;
use super::traffic::Traffic;
use super::transport::Transport;
use crate::habits::own_answer;

/// After closing our side, how long to read and discard what the client still sends: since its last byte, and in all. A
/// client that is sending a large body sees the refusal only once it has sent everything.
const LINGER_PAUSE: Duration = Duration::from_millis(500);
const LINGER_TIME: Duration = Duration::from_secs(30);
/// Larger than any body that is allowed by default.
const LINGER_BYTES: usize = 64 << 20;
/// How much to read before other connections get their turn.
const LINGER_TURN: usize = 256 * 1024;

/// What hyper reads from and writes to. It ends responses that are cut, closes connections whose client takes nothing,
/// and lingers before it closes: closing while the client still sends would cause a reset, which can destroy the
/// response.
pub(super) struct Socket {
    transport: Transport,
    /// Bytes read to detect the protocol; handed out first.
    ahead: Bytes,
    traffic: Arc<Traffic>,
    stall: Stall,
    http1: Option<Http1>,
    peer_closed: bool,
    closing: Option<Closing>,
}

struct Http1 {
    wire: Arc<Wire>,
    framing: Framing,
    heads: Heads,
    clock: Arc<dyn Clock>,
    /// hyper's own response to an unparsable request, with an id inserted.
    own_answer: Bytes,
}

enum Closing {
    Shutting,
    Lingering {
        left: usize,
        pause: Stall,
        until: Instant,
    },
}

impl Socket {
    pub fn new(
        transport: Transport,
        ahead: Bytes,
        traffic: Arc<Traffic>,
        write_idle_timeout: Duration,
    ) -> Self {
        Self {
            transport,
            ahead,
            traffic,
            stall: Stall::new(write_idle_timeout),
            http1: None,
            peer_closed: false,
            closing: None,
        }
    }

    /// Obeys [`Wire::cut`], checks the requests' framing, adds an id to hyper's own responses.
    pub fn http1(mut self, wire: Arc<Wire>, heads: Heads, clock: Arc<dyn Clock>) -> Self {
        let mut framing = Framing::new();
        note_framing(&mut framing, &self.ahead, &self.traffic);
        self.http1 = Some(Http1 {
            wire,
            framing,
            heads,
            clock,
            own_answer: Bytes::new(),
        });
        self
    }

    /// From now on carries something other than requests. `ahead`: the part of it that was already read.
    pub fn tunnelled(mut self, ahead: Bytes) -> Self {
        self.http1 = None;
        self.ahead = ahead;
        self
    }

    fn is_cut(&self) -> bool {
        self.http1
            .as_ref()
            .is_some_and(|http1| http1.wire.is_broken())
    }

    /// Intercepts a response that hyper makes by itself, to a head that it cannot parse; it is the only kind that no
    /// handler has marked. Returns `true` to tell hyper that its bytes are written; they leave with the next flush,
    /// with an id inserted.
    fn take_own_answer(&mut self, bytes: &[u8]) -> bool {
        let Some(http1) = &mut self.http1 else {
            return false;
        };
        if !self.traffic.is_quiet() {
            return false;
        }
        let Some(end) = own_answer(bytes) else {
            return false;
        };
        let (status_line, rest) = bytes.split_at(end);
        let id = RequestId::at(http1.clock.unix_micros());
        let id = format!("{X_REQUEST_ID}: {id}\r\n");
        http1.own_answer = [status_line, id.as_bytes(), rest].concat().into();
        true
    }

    fn poll_own_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(http1) = self.http1.as_mut().filter(|it| !it.own_answer.is_empty()) {
            let transport = Pin::new(&mut self.transport);
            let written = match transport.poll_write(cx, &http1.own_answer) {
                Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                other => other,
            };
            if let Poll::Ready(Ok(bytes)) = &written {
                http1.own_answer.advance(*bytes);
            }
            ready!(self.watch(cx, written))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Passes a write or flush result on, unless the client has taken nothing for too long or the response's time is
    /// over.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.traffic.set_blocked(result.is_pending());
        if result.is_ready() {
            self.stall.progress();
            return result;
        }
        let end = self.http1.as_ref().and_then(|http1| http1.wire.end());
        ready!(self.stall.poll_elapsed(end, cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client takes nothing, or too little",
        )))
    }

    /// Ends a response that is cut. It closes below TLS, without close_notify, so that the client can see the
    /// truncation.
    fn poll_break(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            ready!(self.transport.raw().poll_shutdown(cx))?;
            self.closing = Some(Closing::linger());
        }
        ready!(self.poll_linger(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::ConnectionAborted,
            "the answer was cut",
        )))
    }

    /// hyper looked for the next head before the answer was sent, and looks again only when woken.
    fn await_head(&mut self, cx: &mut Context<'_>) {
        if let Some(http1) = &mut self.http1
            && http1.heads.poll_late(&self.traffic, cx).is_ready()
        {
            cx.waker().wake_by_ref();
        }
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(Closing::Lingering { left, pause, until }) = &mut self.closing else {
            return Poll::Ready(());
        };
        let mut turn = LINGER_TURN;
        while !self.peer_closed && *left > 0 && Instant::now() < *until {
            let mut scratch = [0; 16 * 1024];
            let mut buf = ReadBuf::new(&mut scratch);
            let Poll::Ready(result) = self.transport.raw().poll_read(cx, &mut buf) else {
                return pause.poll_elapsed(Some(*until), cx);
            };
            let read = buf.filled().len();
            self.peer_closed = result.is_err() || read == 0;
            pause.progress();
            *left = left.saturating_sub(read);
            turn = turn.saturating_sub(read);
            if turn == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

impl Closing {
    fn linger() -> Self {
        Self::Lingering {
            left: LINGER_BYTES,
            pause: Stall::new(LINGER_PAUSE),
            until: Instant::now() + LINGER_TIME,
        }
    }
}

fn note_framing(framing: &mut Framing, bytes: &[u8], traffic: &Traffic) {
    if let Some(number) = framing.read(bytes) {
        traffic.odd_head(number);
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ahead.has_remaining() {
            let here = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead.split_to(here));
            return Poll::Ready(Ok(()));
        }
        if this.closing.is_some() {
            // `poll_linger` handles what arrives from now on.
            return Poll::Pending;
        }
        let (before, has_room) = (buf.filled().len(), buf.remaining() > 0);
        if Pin::new(&mut this.transport)
            .poll_read(cx, buf)?
            .is_pending()
        {
            let Some(http1) = &mut this.http1 else {
                return Poll::Pending;
            };
            // An end of file makes hyper close the connection as if the client had closed it.
            return http1.heads.poll_late(&this.traffic, cx).map(Ok);
        }
        let fresh = &buf.filled()[before..];
        this.peer_closed |= fresh.is_empty() && has_room;
        if let Some(http1) = &mut this.http1 {
            note_framing(&mut http1.framing, fresh, &this.traffic);
            http1.heads.received(&this.traffic);
            if !this.traffic.has_room(fresh.len()) {
                return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.take_own_answer(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = Pin::new(&mut self.transport).poll_write(cx, buf);
        if let Poll::Ready(Ok(bytes)) = &result {
            self.traffic.wrote(*bytes);
        }
        self.watch(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs
            && self.take_own_answer(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        let result = Pin::new(&mut self.transport).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(bytes)) = &result {
            self.traffic.wrote(*bytes);
        }
        self.watch(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    /// Ends a response that is cut. Its body returns [`crate::habits::flushed_next`], so everything it yielded was
    /// written before this call and is in the kernel once the transport is flushed. Only then may the connection end.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_own_answer(cx))?;
        let result = Pin::new(&mut self.transport).poll_flush(cx);
        ready!(self.watch(cx, result))?;
        self.traffic.flushed();
        if self.is_cut() {
            return self.poll_break(cx);
        }
        self.await_head(cx);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !matches!(self.closing, Some(Closing::Lingering { .. })) {
            self.closing = Some(Closing::Shutting);
            let result = Pin::new(&mut self.transport).poll_shutdown(cx);
            ready!(self.watch(cx, result))?;
            self.closing = Some(Closing::linger());
        }
        ready!(self.poll_linger(cx));
        Poll::Ready(Ok(()))
    }
}

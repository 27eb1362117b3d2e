use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use ostia_core::Clock;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout_at};

use super::drain::{Stage, StageWatch};
use super::exchange::{Exchanges, Protocol};
use super::guests::HeadBytes;
use super::heads::Heads;
use super::http2::{StreamQueue, Streams, builder};
use super::socket::Socket;
use super::traffic::Traffic;
use super::transport::{Plain, Transport};
use super::{Abuse, Drain, Guest, Handler, Options, Wire};
use crate::habits::{had_enough, has_written, without_head_timer};

/// RFC 9113 section 3.4.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_BUFFER_BYTES: usize = 128 * 1024;
/// How long a drained connection without a request is kept.
const FIRST_MOMENT: Duration = Duration::from_millis(200);
/// For how many checks an HTTP/2 connection without a request may seem busy because bytes are being written.
const LINGERING_CHECKS: u32 = 1;
/// Stands for "no limit" where a timer needs a number.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// What all connections of one listener share.
pub(super) struct Shared<H> {
    pub handler: Arc<H>,
    pub options: Arc<Options>,
    pub drain: Drain,
    pub clock: Arc<dyn Clock>,
    pub http1: http1::Builder,
}

impl<H: Handler> Shared<H> {
    pub fn new(
        handler: Arc<H>,
        options: Arc<Options>,
        drain: Drain,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut http1 = http1::Builder::new();
        without_head_timer(&mut http1);
        http1
            .half_close(false)
            .keep_alive(true)
            .max_header_size(MAX_HEAD_BYTES)
            .max_buf_size(MAX_BUFFER_BYTES);
        Self {
            handler,
            options,
            drain,
            clock,
            http1,
        }
    }

    /// The same, with other options.
    pub fn with(&self, options: Arc<Options>) -> Self {
        let handler = Arc::clone(&self.handler);
        let clock = Arc::clone(&self.clock);
        Self::new(handler, options, self.drain.clone(), clock)
    }

    fn header_deadline(&self) -> Instant {
        let limit = self.options.header_timeout;
        Instant::now() + if limit.is_zero() { FOREVER } else { limit }
    }
}

/// Serves one accepted socket until it closes.
pub(super) async fn serve_connection<H: Handler>(
    plain: Plain,
    peer_ip: IpAddr,
    guest: Arc<Guest>,
    shared: Arc<Shared<H>>,
) {
    let deadline = shared.header_deadline();
    let mut stage = shared.drain.watch();
    let spoken = tokio::select! {
        biased;
        spoken = timeout_at(deadline, establish(plain, &shared.options)) => spoken,
        // A connection that was just opened may have a request on its way.
        () = drained_for(&mut stage, FIRST_MOMENT) => return,
    };
    let Ok(Some(spoken)) = spoken else {
        tracing::debug!(%peer_ip, "connection ended before a request");
        return;
    };
    let traffic = Arc::<Traffic>::default();
    let socket = Socket::new(
        spoken.transport,
        spoken.ahead,
        Arc::clone(&traffic),
        shared.options.write_idle_timeout,
    );
    let exchanges = |protocol| Exchanges {
        shared: Arc::clone(&shared),
        peer_ip,
        guest: Arc::clone(&guest),
        traffic: Arc::clone(&traffic),
        protocol,
    };
    let result = match spoken.is_http2 {
        true => {
            let queue = StreamQueue::new(shared.options.write_idle_timeout);
            let exchanges = exchanges(Protocol::Http2(queue.clone()));
            let socket = socket.http2(Arc::clone(&shared.clock));
            let conn = Http2::new(socket, queue, exchanges);
            drive(conn, stage, deadline, &shared.options).await
        }
        false => {
            let wire = Arc::<Wire>::default();
            let is_spared = !shared.options.has_share(peer_ip);
            traffic.count_heads(HeadBytes::new(Arc::clone(&guest), is_spared));
            let heads = Heads::new(shared.options.idle_timeout, shared.options.header_timeout);
            let socket = socket.http1(Arc::clone(&wire), heads, Arc::clone(&shared.clock));
            let exchanges = exchanges(Protocol::Http1(Arc::clone(&wire)));
            let conn = Http1::new(socket, wire, exchanges);
            drive(conn, stage, deadline, &shared.options).await
        }
    };
    if let Err(error) = &result {
        tracing::debug!(%peer_ip, %error, requests = traffic.requests(), "connection ended");
        if had_enough(error) {
            traffic.abuse(Abuse::Protocol);
        }
    }
    if let Some(abuse) = traffic.abused() {
        let connections = &shared.options.connections;
        connections.abuse(abuse, peer_ip, traffic.requests(), &*shared.clock);
    }
}

async fn drained_for(stage: &mut StageWatch, time: Duration) {
    stage.reached(Stage::Draining).await;
    sleep(time).await;
}

struct Spoken {
    transport: Transport,
    ahead: Bytes,
    is_http2: bool,
}

/// Detects the protocol: by ALPN under TLS, otherwise by HTTP/2's preface ("prior knowledge").
async fn establish(mut plain: Plain, options: &Options) -> Option<Spoken> {
    if let Some(tls) = &options.tls {
        // Boxed: otherwise the connection's task would keep the handshake's memory for its whole life.
        let stream = Box::pin(tls.acceptor().accept(plain)).await.ok()?;
        return Some(Spoken {
            is_http2: stream.get_ref().1.alpn_protocol() == Some(b"h2"),
            transport: Transport::Tls(Box::new(stream)),
            ahead: Bytes::new(),
        });
    }
    let mut ahead = Vec::with_capacity(HTTP2_PREFACE.len());
    while HTTP2_PREFACE.starts_with(&ahead) && ahead.len() < HTTP2_PREFACE.len() {
        let mut chunk = [0; HTTP2_PREFACE.len()];
        let room = HTTP2_PREFACE.len() - ahead.len();
        match plain.read(&mut chunk[..room]).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => ahead.extend_from_slice(&chunk[..read]),
        }
    }
    Some(Spoken {
        is_http2: ahead == HTTP2_PREFACE,
        transport: Transport::Plain(plain),
        ahead: Bytes::from(ahead),
    })
}

/// A connection of either protocol, as its driver sees it.
trait Driven: Future<Output = hyper::Result<()>> + Unpin {
    /// Finish the requests in progress, accept no more.
    fn finish(&mut self);

    /// Tell every body to end.
    fn give_up(&mut self);

    /// Called when the header timeout has passed since the start, then as often as the last result asks for.
    fn check(&mut self) -> Check;
}

enum Check {
    Again,
    Never,
    Close,
}

async fn drive(
    mut conn: impl Driven,
    mut stage: StageWatch,
    first_head: Instant,
    options: &Options,
) -> hyper::Result<()> {
    let mut seen = Stage::Serving;
    let mut timer: Pin<Box<Sleep>> = Box::pin(sleep_until(first_head));
    let mut is_timed = true;
    loop {
        tokio::select! {
            biased;
            result = &mut conn => return result,
            now = stage.after(seen) => {
                seen = now;
                if now == Stage::Leaving {
                    continue;
                }
                conn.finish();
                if now == Stage::GivingUp {
                    conn.give_up();
                    timer.as_mut().reset(Instant::now() + options.give_up_grace);
                    is_timed = true;
                }
            }
            () = &mut timer, if is_timed => {
                if seen == Stage::GivingUp {
                    return Ok(());
                }
                match conn.check() {
                    Check::Again => timer.as_mut().reset(Instant::now() + interval(options)),
                    Check::Never => is_timed = false,
                    Check::Close => return Ok(()),
                }
            }
        }
    }
}

/// A quiet HTTP/2 connection is told to end after one of these, and closed after two.
fn interval(options: &Options) -> Duration {
    match options.idle_timeout.is_zero() {
        true => FOREVER,
        false => options.idle_timeout,
    }
}

struct Http1<H: Handler> {
    conn: Pin<Box<http1::UpgradeableConnection<TokioIo<Socket>, Exchanges<H>>>>,
    wire: Arc<Wire>,
    traffic: Arc<Traffic>,
}

impl<H: Handler> Http1<H> {
    fn new(socket: Socket, wire: Arc<Wire>, exchanges: Exchanges<H>) -> Self {
        let shared = Arc::clone(&exchanges.shared);
        Self {
            wire,
            traffic: Arc::clone(&exchanges.traffic),
            conn: Box::pin(
                shared
                    .http1
                    .serve_connection(TokioIo::new(socket), exchanges)
                    .with_upgrades(),
            ),
        }
    }
}

impl<H: Handler> Future for Http1<H> {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.conn.as_mut().poll(cx)
    }
}

impl<H: Handler> Driven for Http1<H> {
    fn finish(&mut self) {
        self.conn.as_mut().graceful_shutdown();
    }

    fn give_up(&mut self) {
        self.wire.give_up();
    }

    /// The socket times every head but the first, whose time began before the socket existed.
    fn check(&mut self) -> Check {
        match self.traffic.requests() {
            0 => Check::Close,
            _ => Check::Never,
        }
    }
}

type Http2Connection<H> = http2::Connection<TokioIo<Socket>, Exchanges<H>, StreamQueue>;

struct Http2<H: Handler> {
    conn: Pin<Box<Http2Connection<H>>>,
    streams: Streams,
    traffic: Arc<Traffic>,
    /// Requests, answers and written bytes at the last check.
    last_seen: (u64, u64, u64),
    /// Consecutive checks without a new request or answer, though bytes were written.
    lingered: u32,
    is_finishing: bool,
}

impl<H: Handler> Http2<H> {
    fn new(socket: Socket, queue: StreamQueue, exchanges: Exchanges<H>) -> Self {
        let traffic = Arc::clone(&exchanges.traffic);
        let conn = builder(queue.clone()).serve_connection(TokioIo::new(socket), exchanges);
        Self {
            conn: Box::pin(conn),
            streams: Streams::new(queue),
            traffic,
            last_seen: (0, 0, 0),
            lingered: 0,
            is_finishing: false,
        }
    }
}

impl<H: Handler> Future for Http2<H> {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let polled = this.conn.as_mut().poll(cx);
        if !has_written(&polled) {
            return polled;
        }
        this.traffic.settle();
        this.streams.poll_abused(cx).map(|()| {
            this.traffic.abuse(Abuse::Resets);
            Ok(())
        })
    }
}

impl<H: Handler> Driven for Http2<H> {
    fn finish(&mut self) {
        self.is_finishing = true;
        self.conn.as_mut().graceful_shutdown();
    }

    fn give_up(&mut self) {
        self.streams.give_up();
    }

    /// Idle for one interval: GOAWAY. Idle for another: closed, even if the peer has not read everything. What counts is
    /// requests and answers; bytes of an answer's end may still be on their way, but so may answers to PINGs, so those do
    /// not count for long.
    fn check(&mut self) -> Check {
        let traffic = &self.traffic;
        let seen = (traffic.requests(), traffic.ended(), traffic.written());
        let (requests, ended, written) = self.last_seen;
        let is_quiet = self.streams.are_idle() && (seen.0, seen.1) == (requests, ended);
        self.lingered = if is_quiet { self.lingered + 1 } else { 0 };
        let was_idle = is_quiet && (seen.2 == written || self.lingered > LINGERING_CHECKS);
        self.last_seen = seen;
        match (was_idle, self.is_finishing, seen.0) {
            (_, _, 0) | (true, true, _) => Check::Close,
            (true, false, _) => {
                self.finish();
                Check::Again
            }
            (false, _, _) => Check::Again,
        }
    }
}

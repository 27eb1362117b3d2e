use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use ostia_core::Clock;
use tokio::task::AbortHandle;

use super::FailureKind;
use super::client::within;
use super::message::OutBody;
use super::pool::Open;
use super::socket::{Socket, Traffic};
use super::trouble::{Trouble, chain, kind_of};
use crate::habits::{Stepping, UNSAID, had_enough, said_streams, was_refused};

/// Streams on one connection. If the peer allows fewer, its number counts: requests beyond it would wait inside hyper.
const STREAMS: u16 = 100;
/// How much of a response is buffered here unread.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The same for a tunnel, which is the only connection to its engine.
const TUNNEL_STREAMS: u16 = 1024;
/// How many times the windows of all streams a connection's window is.
const SMALL_FRAMES: u32 = 6;
/// What still arrives for a stream that was cancelled here is dropped, as long as h2 remembers the stream. Otherwise each
/// frame counts as the backend's fault, and too many of them end the connection with everybody's streams.
const REMEMBERED_RESETS: usize = 4096;
const REMEMBERED_FOR: Duration = Duration::from_secs(10);
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// An HTTP/2 connection that requests share. The only kind of connection with a driver task of its own.
pub(super) struct SharedConnection {
    sender: http2::SendRequest<OutBody>,
    traffic: Arc<Traffic>,
    streams: Arc<AtomicUsize>,
    limit: Arc<AtomicUsize>,
    most: usize,
    last_used: Instant,
    driver: AbortHandle,
    steps: Stepping,
}

/// One request's stream on a shared connection.
pub(super) struct Lane {
    sender: http2::SendRequest<OutBody>,
    traffic: Arc<Traffic>,
    place: LanePlace,
}

/// Counts one stream until it is dropped.
pub(super) struct LanePlace(Arc<AtomicUsize>);

impl Drop for LanePlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SharedConnection {
    pub(super) async fn open(
        socket: Socket,
        open: Open,
        host: Arc<str>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, hyper::Error> {
        Self::open_for(STREAMS, socket, open, host, clock).await
    }

    /// A connection that the engine's side opened.
    pub(super) async fn tunnel(
        socket: Socket,
        open: Open,
        host: Arc<str>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, hyper::Error> {
        Self::open_for(TUNNEL_STREAMS, socket, open, host, clock).await
    }

    async fn open_for(
        most: u16,
        socket: Socket,
        open: Open,
        host: Arc<str>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, hyper::Error> {
        let socket = socket.http2(Arc::clone(clock));
        let traffic = socket.traffic();
        let steps = Stepping::default();
        let (sender, mut connection) = http2::Builder::new(steps.clone())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            // More than every stream's window, so that slow readers do not stall the others. h2 derives from it how many
            // small frames may wait unread before it gives the connection up: this is room for frames of 64 bytes, of
            // which token streams are made, in every window.
            .initial_connection_window_size(STREAM_WINDOW * u32::from(most) * SMALL_FRAMES)
            .max_concurrent_reset_streams(REMEMBERED_RESETS)
            .reset_stream_duration(REMEMBERED_FOR)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .initial_max_send_streams(UNSAID)
            .handshake(TokioIo::new(socket))
            .await?;
        // The peer's first frame says how many streams it allows (RFC 9113 section 3.4), but hyper does not wait for
        // it. We do: requests beyond that number would queue inside hyper.
        let has_ended = poll_fn(|task| {
            steps.wake_after_steps(task.waker());
            let polled = Pin::new(&mut connection).poll(task);
            let said = said_streams(connection.current_max_send_streams());
            match polled {
                Poll::Ready(ended) => Poll::Ready(ended.map(|()| true)),
                Poll::Pending if said.is_none() => Poll::Pending,
                Poll::Pending => Poll::Ready(Ok(false)),
            }
        })
        .await?;
        let limit = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
        let told = Arc::clone(&limit);
        let driven_traffic = Arc::clone(&traffic);
        let driving = async move {
            let _open = open;
            let driven = poll_fn(|task| {
                let polled = Pin::new(&mut connection).poll(task);
                told.store(connection.current_max_send_streams(), Ordering::Relaxed);
                polled
            });
            if !has_ended && let Err(error) = driven.await {
                tell_end(&host, &driven_traffic, &error);
            }
        };
        let driver = crate::runtime::spawn(driving).abort_handle();
        Ok(Self {
            sender,
            traffic,
            streams: Arc::default(),
            limit,
            most: most.into(),
            last_used: clock.now(),
            driver,
            steps,
        })
    }

    /// A stream for one more request; `None` if the connection is full or closed.
    pub(super) fn enter(&mut self, now: Instant) -> Option<Lane> {
        let limit = self.limit.load(Ordering::Relaxed).clamp(1, self.most);
        if self.sender.is_closed() || self.streams.load(Ordering::Relaxed) >= limit {
            return None;
        }
        self.last_used = now;
        self.traffic.add_request();
        self.streams.fetch_add(1, Ordering::Relaxed);
        Some(Lane {
            sender: self.sender.clone(),
            traffic: Arc::clone(&self.traffic),
            place: LanePlace(Arc::clone(&self.streams)),
        })
    }

    /// Closes it at once, whatever runs on it.
    pub(super) fn cut(&self) {
        self.driver.abort();
        self.steps.cut();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(super) fn is_in_use(&self) -> bool {
        self.streams.load(Ordering::Relaxed) > 0
    }

    /// Whether it can be dropped: closed, or unused for longer than `idle`.
    pub(super) fn is_spent(&mut self, now: Instant, idle: Option<Duration>) -> bool {
        if self.is_in_use() {
            self.last_used = now;
        }
        self.sender.is_closed() || idle.is_some_and(|idle| now >= self.last_used + idle)
    }

    pub(super) fn carries(&self, lane: &Lane) -> bool {
        Arc::ptr_eq(&self.streams, &lane.place.0)
    }
}

impl Lane {
    /// Like `Link::exchange`, except that bytes can only be counted for the whole connection: `written` is true as soon
    /// as hyper has taken the request.
    pub(super) async fn exchange(
        &mut self,
        mut request: Request<OutBody>,
        patience: Option<Duration>,
        begun: &mut (dyn FnMut() + Send),
    ) -> Result<Response<Incoming>, Trouble> {
        let waiting = request.body_mut().gauge();
        let read = self.traffic.read();
        let mut reply = pin!(self.sender.try_send_request(request));
        begun();
        loop {
            let before = self.traffic.written();
            match within(patience, reply.as_mut()).await {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(mut failed)) => {
                    let refused = was_refused(failed.error());
                    return Err(Trouble {
                        kind: kind_of(failed.error()),
                        detail: chain(failed.error()),
                        written: failed.take_message().is_none() && !refused,
                        silent: self.traffic.has_ended() && self.traffic.read() == read,
                        refused,
                    });
                }
                None if waiting.load(Ordering::Relaxed) > 0 && self.traffic.written() != before => {
                }
                None => {
                    return Err(Trouble {
                        kind: FailureKind::Timeout,
                        detail: "no response head in time".to_owned(),
                        written: true,
                        silent: false,
                        refused: false,
                    });
                }
            }
        }
    }

    pub(super) fn into_place(self) -> LanePlace {
        self.place
    }
}

/// A backend that floods a connection is told to its operator: requests on it fail, and the next ones open a new one.
fn tell_end(host: &str, traffic: &Traffic, error: &hyper::Error) {
    let cause = chain(error);
    if traffic.is_flooded() || had_enough(error) {
        tracing::warn!(
            host,
            cause,
            "an HTTP/2 connection was closed: its backend abused the protocol"
        );
    } else {
        tracing::debug!(host, cause, "an HTTP/2 connection ended");
    }
}

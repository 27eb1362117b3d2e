//! HTTP/2 with its streams in the connection's own task. When the connection ends, its requests end with it, and no
//! spawned task stands between the client's socket and a backend's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper_util::rt::TokioTimer;
use parking_lot::Mutex;

use super::Wire;
use super::stall::Stall;
use crate::habits::{Appetite, Handover};

/// The connection is closed when clients have cancelled this many more requests before their response than were
/// answered. "Rapid reset" (CVE-2023-44487) costs the client little and the server much.
const MAX_ABANDONED: u32 = 200;

const MAX_STREAMS: u32 = 256;
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const SEND_BUFFER: usize = 32 * 1024;
const MAX_HEADER_LIST: u32 = 64 * 1024;
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Errors on streams in a connection's life. h2 counts DATA here too that was on its way to a stream which was answered
/// before its body had come, beyond the 50 such streams that it remembers. So an honest proxy in front of many clients
/// needs room.
const MAX_STREAM_ERRORS: usize = 1024;

pub(super) fn builder(queue: StreamQueue) -> http2::Builder<StreamQueue> {
    let mut builder = http2::Builder::new(queue);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_local_error_reset_streams(MAX_STREAM_ERRORS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL);
    builder
}

/// How far a response has come.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pub appetite: Appetite,
    answered: AtomicBool,
}

impl Flow {
    pub fn answered(&self) {
        self.answered.store(true, Relaxed);
    }
}

/// What a stream's request and work share, created when the request arrives.
#[derive(Clone, Default)]
pub(super) struct StreamParts {
    pub wire: Arc<Wire>,
    pub flow: Arc<Flow>,
}

/// Where hyper puts the work of each stream, so that [`Streams`] can run it in the connection's own task.
#[derive(Clone)]
pub(super) struct StreamQueue {
    queue: Arc<Mutex<Queue>>,
    write_idle_timeout: Duration,
}

#[derive(Default)]
struct Queue {
    announced: Handover<StreamParts>,
    started: Vec<Stream>,
}

impl StreamQueue {
    pub fn new(write_idle_timeout: Duration) -> Self {
        Self {
            queue: Arc::default(),
            write_idle_timeout,
        }
    }

    pub fn announce(&self) -> StreamParts {
        let parts = StreamParts::default();
        self.queue.lock().announced.leave(parts.clone());
        parts
    }

    fn take_started(&self) -> Vec<Stream> {
        std::mem::take(&mut self.queue.lock().started)
    }
}

impl<F> Executor<F> for StreamQueue
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, work: F) {
        let mut queue = self.queue.lock();
        let parts = queue.announced.take().unwrap_or_default();
        queue.started.push(Stream {
            work: Box::pin(work),
            parts,
            held_since: None,
            stall: Stall::new(self.write_idle_timeout),
        });
    }
}

/// Resolves to whether the request was answered.
struct Stream {
    work: Pin<Box<dyn Future<Output = ()> + Send>>,
    parts: StreamParts,
    /// The poll of the body since which the peer has taken nothing.
    held_since: Option<u64>,
    stall: Stall,
}

impl Future for Stream {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let this = &mut *self;
        // A panic must end only its own stream: the other streams of the connection run in the same task.
        let work = AssertUnwindSafe(|| this.work.as_mut().poll(cx));
        let is_done = !catch_unwind(work).is_ok_and(|polled| polled.is_pending());
        let flow = &this.parts.flow;
        let held_since = flow.appetite.held_since();
        if held_since.is_none() || held_since != this.held_since {
            this.held_since = held_since;
            this.stall.progress();
        }
        let end = this.parts.wire.end();
        let is_held = held_since.is_some();
        if is_done || (is_held && this.stall.poll_elapsed(end, cx).is_ready()) {
            return Poll::Ready(flow.answered.load(Relaxed));
        }
        Poll::Pending
    }
}

/// The streams of one connection.
pub(super) struct Streams {
    queue: StreamQueue,
    running: FuturesUnordered<Stream>,
    abandoned: u32,
    is_given_up: bool,
}

impl Streams {
    pub fn new(queue: StreamQueue) -> Self {
        Self {
            queue,
            running: FuturesUnordered::new(),
            abandoned: 0,
            is_given_up: false,
        }
    }

    pub fn are_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Tells every stream and makes sure that each is polled once more.
    pub fn give_up(&mut self) {
        self.is_given_up = true;
        for stream in std::mem::take(&mut self.running) {
            stream.parts.wire.give_up();
            self.running.push(stream);
        }
    }

    /// Polls the streams until none makes progress. Ready if the client abuses resets.
    pub fn poll_abused(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for stream in self.queue.take_started() {
            if self.is_given_up {
                stream.parts.wire.give_up();
            }
            self.running.push(stream);
        }
        while let Poll::Ready(Some(answered)) = self.running.poll_next_unpin(cx) {
            self.abandoned = match answered {
                true => self.abandoned.saturating_sub(1),
                false => self.abandoned + 1,
            };
            if self.abandoned > MAX_ABANDONED {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

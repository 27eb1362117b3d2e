//! Behaviour of hyper 1.12 and h2 0.4 that our connection code relies on although their documentation does not promise
//! it.
//!
//! In: hyper's connections, bodies, heads and errors. Out: one named item per habit, used by `listen` and `upstream`
//! wherever they rely on it. Not here: what those rooms do with it, and whatever hyper documents.
//!
//! Each item says what we rely on and where in the source it is; `habits/tests` has a test for each that fails if hyper
//! changes. That is why hyper is pinned. To move the pin, run these tests and read the named places again.

mod driven;
mod gate;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http1;
use tokio::task::AbortHandle;

pub use driven::{Driven, HEAD_LIMIT, defer_to_reading};

// HTTP/1 from clients.

/// What a body returns when its connection must end after everything that it has yielded: `Pending`, forever.
///
/// hyper's loop reads, writes, then flushes (`proto/h1/dispatch.rs`, `poll_loop`). The write step ends at the pending
/// body. The flush step calls the socket's `poll_flush` only once hyper's own buffer is empty (`proto/h1/io.rs`,
/// `poll_flush`). So when the socket's `poll_flush` is called next, the socket has everything and may end the
/// connection.
///
/// An `Err` would not work: the loop returns before it flushes, and what is buffered is lost, even the head.
pub fn flushed_next<T>() -> Poll<T> {
    Poll::Pending
}

/// Await this between a handler's end and its response if the request's body was not read to the end.
///
/// hyper notices a dropped body on its next read: it drains what is there or gives the connection up
/// (`proto/h1/dispatch.rs`, `poll_read`: `poll_drain_or_close_read`). It reads once per turn, before it polls the
/// service for the response, and it can write `Connection: close` only into a head that comes later. So the response
/// must wait for one turn.
pub async fn unread_body_noticed() {
    let mut has_waited = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The end of the status line in a response that hyper makes by itself, to a head that it cannot parse.
///
/// `proto/h1/conn.rs`, `on_parse_error`: the head goes into an empty buffer, has no body and leaves in one write. So
/// the write begins with the status line and contains no handler's response. Call this only while no request is in
/// progress.
pub fn own_answer(written: &[u8]) -> Option<usize> {
    if !written.starts_with(b"HTTP/1.") {
        return None;
    }
    memchr::memchr(b'\n', written).map(|end| end + 1)
}

/// Travels with a request and then with its response body. Its drop tells that hyper has all of the response or will
/// never get it.
///
/// hyper drops a request's future with its last result and a body with its last frame, before it flushes
/// (`proto/h1/dispatch.rs`, `poll_msg` and `poll_write`: `clear_body`); the flush follows in the same turn.
pub struct UntilTaken<T>(pub Arc<T>, pub fn(&T));

impl<T> Drop for UntilTaken<T> {
    fn drop(&mut self) {
        (self.1)(&self.0);
    }
}

/// Resolves in the first poll of its connection in which `holds` is true. It registers no waker, so only the request
/// itself may await it, or its body poll it; not another task, nor a combinator that polls only the parts that were
/// woken.
///
/// Each poll of a connection polls its request's future, or else its body unless the buffer is full
/// (`proto/h1/dispatch.rs`, `poll_write`: `poll_msg`, `can_buffer_body`, `poll_frame`). If a client takes nothing, only
/// the socket is polled. On HTTP/2, `listen` polls the streams itself.
pub async fn seen_at_next_poll(holds: impl Fn() -> bool) {
    std::future::poll_fn(|_| match holds() {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

/// Leaves the time for heads, and between requests, to the socket below.
///
/// hyper has one timer for both (`proto/h1/conn.rs`, `poll_read_head`: it starts right after a response), 30 s by default
/// where a timer is set. It polls the socket's read side for as long as it waits for a head, and takes the end of what can be
/// read there, before a head or in it, as the end of the connection, without an answer.
pub fn without_head_timer(builder: &mut http1::Builder) {
    builder.header_read_timeout(None);
}

/// Whether a request's head may have had two conflicting lengths.
///
/// hyper removes `Content-Length` if there is `Transfer-Encoding` (`proto/h1/role.rs`, `Server::parse`). Nobody can see
/// the conflict, so every chunked request may have had it. 1.12 closes the connection after such a request by itself;
/// we do not rely on that.
pub fn may_hide_a_length(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
}

// HTTP/2 from clients.

/// Passes a request's parts to the work that hyper starts for it.
///
/// hyper calls the service and immediately afterwards hands that request's work to its executor (`proto/h2/server.rs`,
/// `poll_server`: `service.call`, `execute_h2stream`). So what the service left last belongs to the work that comes
/// next.
#[derive(Default)]
pub struct Handover<T>(Option<T>);

impl<T> Handover<T> {
    pub fn leave(&mut self, parts: T) {
        self.0 = Some(parts);
    }

    pub fn take(&mut self) -> Option<T> {
        self.0.take()
    }
}

/// Detects a peer that holds up a response by not reading it.
///
/// hyper polls a body again only when the peer's window had room for at least the first byte of the previous frame
/// (`proto/h2/mod.rs`, `PipeToSendStream::poll`: `buffered_data`, `poll_capacity`). So if a body's last poll yielded a
/// frame, it waits for the peer; otherwise it waits for its own source.
#[derive(Debug, Default)]
pub struct Appetite {
    polls: AtomicU64,
    has_yielded: AtomicBool,
}

impl Appetite {
    /// Call this with the result of each poll of the body.
    pub fn note<T>(&self, polled: &Poll<T>) {
        self.polls.fetch_add(1, Relaxed);
        self.has_yielded.store(polled.is_ready(), Relaxed);
    }

    /// The number of the poll since which the peer has been holding up the response.
    pub fn held_since(&self) -> Option<u64> {
        self.has_yielded
            .load(Relaxed)
            .then(|| self.polls.load(Relaxed))
    }
}

/// Splits the last byte off a response's last frame, to be yielded alone by the next poll. If hyper then polls the body
/// once more, the peer's window had room for everything.
///
/// A frame goes to h2 as soon as the window has room for its first byte after all that h2 still holds
/// (`proto/h2/mod.rs`, `PipeToSendStream::poll`: `capacity() == 0`). For a frame of one byte, that is the whole frame.
pub fn hold_back_last_byte(frame: &mut Bytes) -> Option<Bytes> {
    match frame.len() {
        0 | 1 => None,
        length => Some(frame.split_off(length - 1)),
    }
}

/// Whether a poll of an HTTP/2 connection wrote every frame that fits the peer's windows, as far as the socket takes
/// bytes.
///
/// h2 reads until there is nothing left to read, and then writes until there is nothing left to write (h2
/// `proto/connection.rs`, `poll`: `poll_complete` after the pending `poll2`). A pending poll has come that far.
pub fn has_written<T>(polled: &Poll<T>) -> bool {
    polled.is_pending()
}

/// Whether h2 ended the connection because the peer did too much of something: heads without end, DATA without bytes,
/// errors on streams, resets of requests that nobody had taken yet.
///
/// h2 then sends GOAWAY with ENHANCE_YOUR_CALM and reports that (h2 `proto/connection.rs`, `handle_poll2_result`). hyper
/// keeps the error as the source of its own.
pub fn had_enough(error: &hyper::Error) -> bool {
    h2_cause(error).is_some_and(|found| {
        found.is_library() && found.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
    })
}

/// Whether the peer refused a stream, which says that it has done nothing with the request (RFC 9113 section 8.7).
pub fn was_refused(error: &hyper::Error) -> bool {
    h2_cause(error).is_some_and(|found| {
        found.is_reset() && found.is_remote() && found.reason() == Some(h2::Reason::REFUSED_STREAM)
    })
}

/// The error with which a service refuses a stream: hyper resets it for the reason that it finds among the causes
/// (`error.rs`, `h2_reason`).
pub fn refused() -> h2::Error {
    h2::Reason::REFUSED_STREAM.into()
}

/// The error with which a service breaks a stream off.
pub fn broken_off() -> h2::Error {
    h2::Reason::INTERNAL_ERROR.into()
}

fn h2_cause(error: &hyper::Error) -> Option<&h2::Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        if let Some(found) = next.downcast_ref::<h2::Error>() {
            return Some(found);
        }
        cause = next.source();
    }
    None
}

// Both sides.

/// Whether an incoming message has no bytes beyond those handed out so far.
///
/// If the length was announced, hyper says so with the last frame, and for an empty body at once (`body/incoming.rs`,
/// `is_end_stream`), not only by the `None` that follows.
pub fn is_whole(body: &Incoming) -> bool {
    body.is_end_stream()
}

/// The I/O error of the socket or the decoder that caused a hyper error.
///
/// hyper keeps it unchanged in the chain of sources, at any depth (`error.rs`, `Error::with`).
pub fn io_cause(error: &hyper::Error) -> Option<&io::Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        if let Some(found) = next.downcast_ref() {
            return Some(found);
        }
        cause = next.source();
    }
    None
}

/// Whether a body ended early because its framing is broken, not because the peer went away.
///
/// For invalid chunks hyper's decoder returns `InvalidInput` or `InvalidData`, for an early end `UnexpectedEof`
/// (`proto/h1/decode.rs`).
pub fn is_broken_framing(error: &hyper::Error) -> bool {
    let kind = io_cause(error).map(io::Error::kind);
    let is_invalid = matches!(
        kind,
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
    );
    is_invalid || error.is_parse()
}

// To backends.

/// Removes `Content-Length` from a response head that also has `Transfer-Encoding`, and returns whether it did.
///
/// Unlike in a request (see [`may_hide_a_length`]), hyper leaves both in a response head, and goes by the chunks
/// (`proto/h1/role.rs`, `Client::parse`).
pub fn drop_second_length(headers: &mut HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) && headers.remove(CONTENT_LENGTH).is_some()
}

/// Stands for a peer's stream limit until it has announced one; pass it to `initial_max_send_streams`.
pub const UNSAID: usize = usize::MAX - 1;

/// How many streams a backend allows, from a connection's `current_max_send_streams`; `None` until it has announced it.
///
/// h2 returns the initial number until the peer's first settings arrive, and `usize::MAX` after settings that name none
/// (h2 `proto/streams/counts.rs`, `apply_remote_settings`). No peer announces [`UNSAID`] by chance.
pub fn said_streams(current: usize) -> Option<usize> {
    (current != UNSAID).then_some(current)
}

/// Runs the tasks of a connection that requests share, and wakes the registered waker after every step of one of them.
///
/// hyper reads from the peer in such a task and wakes nobody when settings arrive (`proto/h2/client.rs`, `handshake`:
/// `ConnTask`). So whoever waits for them must look after each step.
///
/// The first of these tasks owns the socket. It goes on for as long as a stream runs, also without hyper's `Connection`.
#[derive(Clone, Default)]
pub struct Stepping(Arc<Steps>);

#[derive(Default)]
struct Steps {
    waker: AtomicWaker,
    /// The task that owns the socket.
    first: OnceLock<AbortHandle>,
}

impl Stepping {
    pub fn wake_after_steps(&self, waker: &std::task::Waker) {
        self.0.waker.register(waker);
    }

    /// Closes the socket at once: every stream breaks.
    pub fn cut(&self) {
        if let Some(first) = self.0.first.get() {
            first.abort();
        }
    }
}

impl<F> Executor<F> for Stepping
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, work: F) {
        let steps = Arc::clone(&self.0);
        let task = crate::runtime::spawn(async move {
            let mut work = pin!(work);
            std::future::poll_fn(|task| {
                let polled = work.as_mut().poll(task);
                steps.waker.wake();
                polled
            })
            .await;
        });
        let _is_first = self.0.first.set(task.abort_handle());
    }
}

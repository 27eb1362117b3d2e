//! What the connections' code takes for granted of hyper 1.12 and h2 0.4, though their documentation does not promise it.
//!
//! In: hyper's connections, bodies, heads and errors. Out: one name for each habit, which `listen` and `upstream` use
//! where they lean on it. Not here: what those rooms do with it, and whatever hyper documents.
//!
//! Each name says what is relied on and where the source has it; `habits/tests` holds a test for each, which fails once
//! hyper behaves otherwise. For their sake hyper is pinned. Whoever moves the pin runs these tests and reads the named
//! places again.

mod driven;
mod gate;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::{Executor, Timer};
use hyper::server::conn::http1;

pub use driven::{Driven, HEAD_LIMIT, defer_to_reading};

// HTTP/1 from clients.

/// What a body says when its connection is to end behind all that it has yielded: `Pending`, for ever.
///
/// hyper's loop reads, writes and flushes (`proto/h1/dispatch.rs`, `poll_loop`). "Writes" ends with the pending body;
/// "flushes" calls the socket's `poll_flush` only when hyper's own buffer is empty (`proto/h1/io.rs`, `poll_flush`). So
/// the next `poll_flush` of the socket finds everything with the socket, and may end the connection there.
///
/// An `Err` would not do: the loop leaves with it before it flushes, and what is buffered is lost, even the head.
pub fn flushed_next<T>() -> Poll<T> {
    Poll::Pending
}

/// To be awaited between a handler's end and its answer, where the request's body was not read to its end.
///
/// hyper notices a dropped body when it reads next: it takes what is there, or else gives the connection up
/// (`proto/h1/dispatch.rs`, `poll_read`: `poll_drain_or_close_read`). It reads once in each turn, before it asks the
/// service for the answer, and writes `Connection: close` only into a head that comes after that. So the answer has to
/// wait for one turn.
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

/// Where the status line ends in an answer that hyper makes by itself, to a head that it cannot read.
///
/// `proto/h1/conn.rs`, `on_parse_error`: the head goes into an empty buffer, has no body, and leaves in one write. So the
/// first bytes of that write are the status line, and no handler's answer is mixed in: call this only where none is under
/// way.
pub fn own_answer(written: &[u8]) -> Option<usize> {
    if !written.starts_with(b"HTTP/1.") {
        return None;
    }
    memchr::memchr(b'\n', written).map(|end| end + 1)
}

/// Goes with a request and then with its answer's body, and tells when hyper has all of that answer, or will never have.
///
/// hyper drops a request's future with its last result and a body with its last frame, before it flushes
/// (`proto/h1/dispatch.rs`, `poll_msg` and `poll_write`: `clear_body`); what follows in the same turn is the flush.
pub struct UntilTaken<T>(pub Arc<T>, pub fn(&T));

impl<T> Drop for UntilTaken<T> {
    fn drop(&mut self) {
        (self.1)(&self.0);
    }
}

/// Resolves in the first poll of its connection in which `holds`. Keeps no waker: to be awaited by the request itself or
/// asked by its body, not in another task, nor in a combinator that polls only those of its parts that were woken.
///
/// Each poll of a connection polls its request's future, or else its body unless the buffer is full: of a client that takes
/// nothing only the socket hears (`proto/h1/dispatch.rs`, `poll_write`: `poll_msg`, `can_buffer_body`, `poll_frame`). On
/// HTTP/2 `listen` polls the streams by itself.
pub async fn seen_at_next_poll(holds: impl Fn() -> bool) {
    std::future::poll_fn(|_| match holds() {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

/// Limits the time that a client has for each head, idle time before it included.
///
/// hyper starts this timer with the first poll that looks for a head (`proto/h1/conn.rs`, `poll_read_head`): behind an
/// answer at once, on a new connection not before hyper has it. So the time for the first head began earlier, and who
/// accepts the connection has to watch it as well.
pub fn time_heads<M>(builder: &mut http1::Builder, timer: M, limit: Option<Duration>)
where
    M: Timer + Send + Sync + 'static,
{
    builder.timer(timer).header_read_timeout(limit);
}

/// Whether a request's head may have held two lengths that contradict each other.
///
/// hyper takes `Content-Length` away where there is `Transfer-Encoding` (`proto/h1/role.rs`, `Server::parse`). So nobody
/// sees the conflict, and every chunked request is one that may have had it. 1.12 closes the connection behind such a
/// request by itself; nothing here leans on that.
pub fn may_hide_a_length(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
}

// HTTP/2 from clients.

/// Gives each request's parts to the work that hyper starts for it.
///
/// hyper calls the service and right after that hands the work of the same request to its executor
/// (`proto/h2/server.rs`, `poll_server`: `service.call`, `execute_h2stream`). So what the service left last belongs to
/// the work that comes next.
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

/// Whether a peer holds up an answer by taking nothing of it.
///
/// hyper polls a body again only when the frame before has found room in the peer's window, at least for its first byte
/// (`proto/h2/mod.rs`, `PipeToSendStream::poll`: `buffered_data`, `poll_capacity`). So a body whose last poll yielded
/// waits for the peer, and one whose last poll did not waits for itself.
#[derive(Debug, Default)]
pub struct Appetite {
    polls: AtomicU64,
    has_yielded: AtomicBool,
}

impl Appetite {
    /// To be called with the result of each poll of the body.
    pub fn note<T>(&self, polled: &Poll<T>) {
        self.polls.fetch_add(1, Relaxed);
        self.has_yielded.store(polled.is_ready(), Relaxed);
    }

    /// The number of the poll since which the peer holds the answer up.
    pub fn held_since(&self) -> Option<u64> {
        self.has_yielded
            .load(Relaxed)
            .then(|| self.polls.load(Relaxed))
    }
}

/// Splits the last byte off an answer's last frame, to be yielded alone by the next poll: when hyper polls the body once
/// more after that, the peer's window held everything.
///
/// A frame goes to h2 as soon as the window has room for its first byte behind all that h2 still holds
/// (`proto/h2/mod.rs`, `PipeToSendStream::poll`: `capacity() == 0`). For a frame of one byte this is the whole frame.
pub fn hold_back_last_byte(frame: &mut Bytes) -> Option<Bytes> {
    match frame.len() {
        0 | 1 => None,
        length => Some(frame.split_off(length - 1)),
    }
}

/// Whether a poll of an HTTP/2 connection wrote each frame for which the peer has a window, as far as the socket takes
/// bytes.
///
/// h2 reads until nothing is left to read, and then writes until nothing is left to write
/// (h2 `proto/connection.rs`, `poll`: `poll_complete` behind the pending `poll2`). So a pending poll has come that far.
pub fn has_written<T>(polled: &Poll<T>) -> bool {
    polled.is_pending()
}

// Both sides.

/// Whether a message that is read here has no more bytes than were handed out so far.
///
/// Where a length was announced hyper says so with the last frame, where there is no body at once
/// (`body/incoming.rs`, `is_end_stream`), and not only by the `None` behind it.
pub fn is_whole(body: &Incoming) -> bool {
    body.is_end_stream()
}

/// The socket's error, or the decoder's, behind an error of hyper.
///
/// hyper keeps it as a source, unchanged, however deep (`error.rs`, `Error::with`).
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
/// hyper's decoder of chunks says `InvalidInput` or `InvalidData` of bytes that are no chunks, and `UnexpectedEof` of an
/// early end (`proto/h1/decode.rs`).
pub fn is_broken_framing(error: &hyper::Error) -> bool {
    let kind = io_cause(error).map(io::Error::kind);
    let is_invalid = matches!(
        kind,
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
    );
    is_invalid || error.is_parse()
}

// To backends.

/// Takes `Content-Length` off an answer's head that has `Transfer-Encoding` too, and tells whether it was so.
///
/// Other than from a request (see [`may_hide_a_length`]) hyper leaves both lengths in an answer's head, and goes by the
/// chunks (`proto/h1/role.rs`, `Client::parse`).
pub fn drop_second_length(headers: &mut HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) && headers.remove(CONTENT_LENGTH).is_some()
}

/// Stands for a peer's number of streams until it has said one: to be given to `initial_max_send_streams`.
pub const UNSAID: usize = usize::MAX - 1;

/// How many streams a backend takes, of a connection's `current_max_send_streams`; `None` until it has said.
///
/// h2 shows the initial number until the peer's first settings are here, and `usize::MAX` behind settings that name none
/// (h2 `proto/streams/counts.rs`, `apply_remote_settings`). It is never [`UNSAID`] by chance.
pub fn said_streams(current: usize) -> Option<usize> {
    (current != UNSAID).then_some(current)
}

/// Where hyper starts the tasks of a connection that requests share. Wakes after every step of one of them.
///
/// hyper reads from the peer in such a task, and wakes nobody for settings that came
/// (`proto/h2/client.rs`, `handshake`: `ConnTask`). So who waits for them has to look after each step.
#[derive(Clone, Default)]
pub struct Stepping(Arc<AtomicWaker>);

impl Stepping {
    pub fn wake_after_steps(&self, waker: &std::task::Waker) {
        self.0.register(waker);
    }
}

impl<F> Executor<F> for Stepping
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, work: F) {
        let steps = Arc::clone(&self.0);
        drop(crate::runtime::spawn(async move {
            let mut work = pin!(work);
            std::future::poll_fn(|task| {
                let polled = work.as_mut().poll(task);
                steps.wake();
                polled
            })
            .await;
        }));
    }
}

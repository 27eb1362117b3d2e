use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::habits::seen_at_next_poll;

/// What a response body and its connection's socket tell each other. One per connection on HTTP/1, one per stream on
/// HTTP/2.
#[derive(Debug, Default)]
pub struct Wire {
    cut: AtomicBool,
    give_up: AtomicBool,
    broken: AtomicBool,
    end: Mutex<Option<Instant>>,
}

impl Wire {
    /// Body to socket: the message ends here, unfinished. Everything yielded so far, including a frame from the same
    /// poll, is written first. Then HTTP/1 closes the connection without the last chunk, and HTTP/2 resets the stream.
    /// Only the body's own `poll_frame` may call this, and it must return `Pending` from then on.
    ///
    /// On HTTP/2, a call in the poll that yields the last frame loses none of it. After a call in a later poll, a peer
    /// whose window is full has 50 ms to open it.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Body to socket: the response has this much time left. While bytes wait for the client nobody polls the body, so
    /// if the time runs out then, the connection (on HTTP/2 the stream) is closed by the socket. Applies until the next
    /// request.
    pub fn end_within(&self, time: Option<Duration>) {
        *self.end.lock() = time.and_then(|time| Instant::now().checked_add(time));
    }

    pub(super) fn end(&self) -> Option<Instant> {
        *self.end.lock()
    }

    /// Listener to body: the drain limit has passed. Send what an honest broken end needs, then [`Wire::cut`].
    pub fn give_up(&self) {
        self.give_up.store(true, Ordering::Release);
    }

    pub fn is_given_up(&self) -> bool {
        self.give_up.load(Ordering::Acquire)
    }

    /// Resolves when the drain limit has passed, for `select!` beside a slow wait. It registers no waker: after
    /// [`Wire::give_up`] the listener polls every request and every body of the connection once. So do not await it in
    /// another task, nor inside a combinator that polls its parts only when they are woken.
    pub async fn given_up(&self) {
        seen_at_next_poll(|| self.is_given_up()).await;
    }

    /// The body has handed over its last frame; the socket may end the connection at its next complete flush.
    pub(super) fn break_off(&self) {
        self.broken.store(true, Ordering::Release);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }
}

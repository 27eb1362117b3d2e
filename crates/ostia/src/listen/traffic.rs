use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::Waker;

use parking_lot::Mutex;

use super::guests::HeadBytes;

/// What a connection's socket, its requests and its driver know of each other. All of them run in one task; atomics are
/// needed only because that task moves between threads.
#[derive(Default)]
pub(super) struct Traffic {
    requests: AtomicU64,
    odd_head: AtomicU64,
    ended: AtomicU64,
    is_quiet: AtomicBool,
    written: AtomicU64,
    blocked: AtomicBool,
    settled: AtomicU64,
    settle_waiters: Mutex<Vec<Waker>>,
    /// Counts the memory of the incomplete head, on HTTP/1.
    head: Mutex<Option<HeadBytes>>,
}

impl Traffic {
    /// From now on, heads are counted.
    pub fn count_heads(&self, head: HeadBytes) {
        *self.head.lock() = Some(head);
    }

    /// Call this when `bytes` more have arrived. False if they belong to a head and there is no memory for it.
    pub fn has_room(&self, bytes: usize) -> bool {
        let mut head = self.head.lock();
        !self.is_all_ended() || head.as_mut().is_none_or(|head| head.add(bytes))
    }

    /// Counts a request. True if the raw bytes of its head, or of an earlier one, were odd.
    pub fn request(&self) -> bool {
        let number = self.requests.fetch_add(1, Relaxed) + 1;
        if let Some(head) = &mut *self.head.lock() {
            head.end();
        }
        let odd = self.odd_head.load(Relaxed);
        odd != 0 && number >= odd
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// hyper has all of one more response, or will never get it.
    pub fn end(&self) {
        self.is_quiet.store(false, Relaxed);
        self.ended.fetch_add(1, Relaxed);
    }

    /// Responses that hyper has all of.
    pub fn ended(&self) -> u64 {
        self.ended.load(Relaxed)
    }

    /// Everything is flushed.
    pub fn flushed(&self) {
        self.is_quiet.store(self.is_all_ended(), Relaxed);
    }

    /// No request waits for its response or a part of it, so whatever is written now is hyper's own.
    pub fn is_quiet(&self) -> bool {
        self.is_all_ended() && (self.requests() == 0 || self.is_quiet.load(Relaxed))
    }

    /// A request was answered, and the next one has not arrived.
    pub fn is_between_requests(&self) -> bool {
        self.requests() > 0 && self.is_all_ended()
    }

    pub fn is_all_ended(&self) -> bool {
        self.ended.load(Relaxed) == self.requests()
    }

    /// The head with this number, counted from 1, must be refused.
    pub fn odd_head(&self, number: u64) {
        self.odd_head.store(number, Relaxed);
    }

    pub fn wrote(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Relaxed);
    }

    /// Bytes that the socket has taken.
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    pub fn set_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Relaxed);
    }

    /// The driver has polled an HTTP/2 connection to the end: unless the socket is full, every frame that fits the
    /// peer's window is written.
    pub fn settle(&self) {
        if self.blocked.load(Relaxed) {
            return;
        }
        self.settled.fetch_add(1, Relaxed);
        for waker in std::mem::take(&mut *self.settle_waiters.lock()) {
            waker.wake();
        }
    }

    pub fn settled(&self) -> u64 {
        self.settled.load(Relaxed)
    }

    pub fn wake_when_settled(&self, waker: Waker) {
        self.settle_waiters.lock().push(waker);
    }
}

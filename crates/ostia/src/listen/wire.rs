use std::sync::atomic::{AtomicBool, Ordering};

/// What an answer's body and its connection's socket tell each other.
#[derive(Debug, Default)]
pub struct Wire {
    cut: AtomicBool,
    give_up: AtomicBool,
}

impl Wire {
    /// Body to socket (HTTP/1): once everything written so far is flushed, end the connection without completing the
    /// message. The body stays `Pending` from here on.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Listener to body: the drain limit has passed; send what an honest broken end needs, then [`Wire::cut`].
    pub fn give_up(&self) {
        self.give_up.store(true, Ordering::Release);
    }

    pub fn is_given_up(&self) -> bool {
        self.give_up.load(Ordering::Acquire)
    }
}

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

/// The body of an answer.
pub enum AnswerBody {
    /// With its length told before.
    Whole(Option<Bytes>),
    Paced(Paced),
}

/// Pieces in their own time, each a write of its own.
pub struct Paced {
    pieces: Arc<[Piece]>,
    next: usize,
    is_broken: bool,
    /// Whether the wait for the next piece is over.
    waited: bool,
    timer: Option<Timer>,
}

/// Bytes, and how long to wait before they are sent.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) wait: Duration,
    pub(crate) bytes: Bytes,
}

/// Deadlines that follow each other, so that a slow client delays no later piece.
struct Timer {
    sleep: Pin<Box<Sleep>>,
    is_armed: bool,
}

/// The answer ends here, in the middle: the connection closes without the end of its message.
#[derive(Debug, Clone, Copy)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken on purpose")
    }
}

impl std::error::Error for Broken {}

impl AnswerBody {
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()))
    }

    pub(crate) fn paced(pieces: Arc<[Piece]>) -> Self {
        Self::Paced(Paced {
            pieces,
            next: 0,
            is_broken: false,
            waited: false,
            timer: None,
        })
    }

    /// The same pieces, and no end.
    pub(crate) fn broken(pieces: Arc<[Piece]>) -> Self {
        let mut body = Self::paced(pieces);
        if let Self::Paced(paced) = &mut body {
            paced.is_broken = true;
        }
        body
    }
}

impl Paced {
    fn poll(&mut self, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        ready!(self.poll_wait(task));
        self.waited = false;
        let piece = self.pieces.get(self.next);
        self.next += 1;
        Poll::Ready(match piece {
            Some(piece) => Some(Ok(Frame::data(piece.bytes.clone()))),
            None if self.is_broken => Some(Err(Broken)),
            None => None,
        })
    }

    /// Waits before each piece and before the end, if only for one turn of the loop: an engine writes each token by
    /// itself, whereas hyper joins what is ready at once into a few large writes.
    fn poll_wait(&mut self, task: &mut Context<'_>) -> Poll<()> {
        if self.waited || self.next > self.pieces.len() {
            return Poll::Ready(());
        }
        let wait = self.pieces.get(self.next).map(|piece| piece.wait);
        match wait.filter(|wait| !wait.is_zero()) {
            Some(wait) => ready!(self.timer.get_or_insert_with(Timer::now).poll(wait, task)),
            None if self.next == 0 => {}
            None => {
                self.waited = true;
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        self.waited = true;
        Poll::Ready(())
    }
}

impl Timer {
    fn now() -> Self {
        Self {
            sleep: Box::pin(sleep(Duration::ZERO)),
            is_armed: false,
        }
    }

    fn poll(&mut self, wait: Duration, task: &mut Context<'_>) -> Poll<()> {
        if !self.is_armed {
            let due = self.sleep.deadline() + wait;
            self.sleep.as_mut().reset(due);
            self.is_armed = true;
        }
        ready!(self.sleep.as_mut().poll(task));
        self.is_armed = false;
        Poll::Ready(())
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Paced(paced) => paced.poll(task),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Paced(_) => SizeHint::default(),
        }
    }
}

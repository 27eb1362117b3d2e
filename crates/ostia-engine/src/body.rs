use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::load::Work;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// The body of an answer.
pub enum AnswerBody {
    /// Sent with a Content-Length.
    Whole(Option<Bytes>),
    Paced(Paced),
}

/// Pieces sent at their own times, each in a write of its own.
pub struct Paced {
    pieces: Arc<[Piece]>,
    next: usize,
    is_broken: bool,
    /// Keeps the engine busy until the end of the answer.
    work: Option<Work>,
    wait: Wait,
    /// When the last delayed piece was due, so that a slow client does not delay later pieces.
    due: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// Bytes, and how long to wait before sending them.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) wait: Duration,
    pub(crate) bytes: Bytes,
}

/// What happens before the next piece, or before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    Nothing,
    /// One turn of the event loop. An engine writes each token separately, while hyper joins whatever is ready at once
    /// into a few large writes.
    Turn,
    Sleep,
}

impl AnswerBody {
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()))
    }

    /// `is_broken`: closes the connection after the last piece, without ending the message.
    pub(crate) fn paced(pieces: Arc<[Piece]>, is_broken: bool) -> Self {
        let mut paced = Paced {
            pieces,
            next: 0,
            is_broken,
            work: None,
            wait: Wait::Nothing,
            due: Instant::now(),
            sleep: None,
        };
        paced.prepare(Wait::Nothing);
        Self::Paced(paced)
    }

    /// Attaches work that lasts as long as the answer.
    pub(crate) fn worked_at(mut self, work: Work) -> Self {
        if let Self::Paced(paced) = &mut self {
            paced.work = Some(work);
        }
        self
    }
}

impl Paced {
    fn poll(&mut self, task: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match (self.wait, &mut self.sleep) {
            (Wait::Turn, _) => {
                self.wait = Wait::Nothing;
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
            (Wait::Sleep, Some(sleep)) => ready!(sleep.as_mut().poll(task)),
            _ => {}
        }
        let piece = self.pieces.get(self.next).map(|piece| piece.bytes.clone());
        self.next += 1;
        self.prepare(Wait::Turn);
        if piece.is_none() {
            self.work = None;
        }
        Poll::Ready(match piece {
            Some(bytes) => Some(Ok(Frame::data(bytes))),
            None if self.is_broken => Some(Err(io::ErrorKind::ConnectionAborted.into())),
            None => None,
        })
    }

    fn prepare(&mut self, least: Wait) {
        let wait = self.pieces.get(self.next).map(|piece| piece.wait);
        let Some(wait) = wait.filter(|wait| !wait.is_zero()) else {
            self.wait = least;
            return;
        };
        self.due += wait;
        self.wait = Wait::Sleep;
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(self.due),
            None => self.sleep = Some(Box::pin(sleep_until(self.due))),
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
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

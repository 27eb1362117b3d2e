use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::listen::BodyBroken;

/// An answer that takes its time.
pub(super) struct PacedBody {
    pieces: VecDeque<Piece>,
    /// Known where nothing is paced.
    length: Option<u64>,
    end: BodyEnd,
    waiting: Option<Pin<Box<Sleep>>>,
}

/// Bytes, and how long to wait before they are sent.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) wait: Duration,
    pub(super) bytes: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyEnd {
    Complete,
    Broken,
}

impl PacedBody {
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            length: Some(bytes.len() as u64),
            pieces: VecDeque::from([Piece {
                wait: Duration::ZERO,
                bytes,
            }]),
            end: BodyEnd::Complete,
            waiting: None,
        }
    }

    pub(super) fn paced(pieces: impl IntoIterator<Item = Piece>, end: BodyEnd) -> Self {
        Self {
            pieces: pieces.into_iter().collect(),
            length: None,
            end,
            waiting: None,
        }
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = BodyBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        let this = &mut *self;
        let Some(next) = this.pieces.front() else {
            return Poll::Ready(match this.end {
                BodyEnd::Complete => None,
                BodyEnd::Broken => Some(Err(BodyBroken)),
            });
        };
        if !next.wait.is_zero() {
            let wait = next.wait;
            let waiting = this.waiting.get_or_insert_with(|| Box::pin(sleep(wait)));
            std::task::ready!(waiting.as_mut().poll(task));
            this.waiting = None;
        }
        let piece = this.pieces.pop_front();
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece.bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.end == BodyEnd::Complete
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

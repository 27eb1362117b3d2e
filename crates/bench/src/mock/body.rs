//! Answer bodies: a whole one, or chunks in time.

use super::answer;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

pub enum Answer {
    Whole(Option<Bytes>),
    Stream(Chunks),
}

pub struct Chunks {
    next: u64,
    count: u64,
    usage: bool,
    interval: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// Set when the next chunk may go out; cleared after each, so that the server writes it first.
    ready: bool,
}

impl Chunks {
    pub fn new(count: u64, interval: Duration, usage: bool) -> Self {
        Self {
            next: 0,
            count,
            usage,
            interval,
            timer: None,
            ready: true,
        }
    }

    /// The chunks, the usage chunk if one was asked for, `[DONE]`, and nothing more.
    fn event(&mut self) -> Option<Bytes> {
        let step = self.next;
        self.next += 1;
        match step.checked_sub(self.count) {
            None => Some(answer::chunk(step, step + 1 == self.count)),
            Some(0) if self.usage => Some(answer::usage(self.count)),
            Some(after) if after == u64::from(self.usage) => {
                Some(Bytes::from_static(b"data: [DONE]\n\n"))
            }
            Some(_) => None,
        }
    }

    /// Pauses after each chunk, if only for one turn of the loop: an engine writes each token by itself,
    /// whereas a body that is always ready would be joined into a few large writes.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ready {
            return Poll::Ready(());
        }
        if self.interval.is_zero() {
            self.ready = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let due = Instant::now() + self.interval;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let next = timer.deadline() + self.interval;
        timer.as_mut().reset(next);
        self.ready = true;
        Poll::Ready(())
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let event = match self.get_mut() {
            Self::Whole(bytes) => bytes.take(),
            Self::Stream(chunks) => {
                if chunks.poll_pause(cx).is_pending() {
                    return Poll::Pending;
                }
                chunks.ready = false;
                chunks.event()
            }
        };
        Poll::Ready(event.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::Checker;

    #[test]
    fn a_stream_is_whole_with_and_without_usage() {
        for usage in [false, true] {
            let mut chunks = Chunks::new(64, Duration::ZERO, usage);
            let mut checker = Checker::default();
            let events: Vec<_> = std::iter::from_fn(|| chunks.event()).collect();
            assert_eq!(events.len(), 65 + usize::from(usage));
            events.iter().for_each(|event| {
                checker.feed(event);
            });
            assert_eq!(checker.finish(64), Ok(()));
        }
    }
}

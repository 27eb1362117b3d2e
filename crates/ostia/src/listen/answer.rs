use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::guests::Held;
use super::http2::Flow;
use super::traffic::Traffic;
use super::{BodyBroken, Wire};
use crate::habits::{UntilTaken, flushed_next, hold_back_last_byte};

/// The time between the last frame and the reset. A full window may still hold the frame back, see [`Wire::cut`]; and a
/// client that gets both at once may discard what it has not read yet, as curl does.
const RESET_GRACE: Duration = Duration::from_millis(50);

pin_project! {
    /// A handler's body on its way to hyper. Makes a broken end look the same on both protocols.
    pub(super) struct AnswerBody<B> {
        #[pin]
        body: B,
        wire: Arc<Wire>,
        stream: Option<Box<Stream>>,
        ending: Ending,
    }
}

/// Travels with a request and then with its response, and tells the connection's traffic when hyper has all of the
/// response. The request counts for its address until then.
pub(super) struct Ending {
    taken: UntilTaken<Traffic>,
    _share: Option<Held>,
}

pub(super) fn ending(traffic: Arc<Traffic>, share: Option<Held>) -> Ending {
    Ending {
        taken: UntilTaken(traffic, Traffic::end),
        _share: share,
    }
}

/// What HTTP/2 needs in addition.
struct Stream {
    flow: Arc<Flow>,
    traffic: Arc<Traffic>,
    /// The last byte before a cut. It is held back because the next poll then proves that the peer's window had room
    /// for the rest.
    tail: Option<Bytes>,
    breaking: Option<Breaking>,
}

struct Breaking {
    after: u64,
    grace: Option<Pin<Box<Sleep>>>,
}

impl<B> AnswerBody<B> {
    pub fn http1(body: B, wire: Arc<Wire>, ending: Ending) -> Self {
        Self {
            body,
            wire,
            stream: None,
            ending,
        }
    }

    pub fn http2(body: B, wire: Arc<Wire>, flow: Arc<Flow>, ending: Ending) -> Self {
        let stream = Stream {
            flow,
            traffic: Arc::clone(&ending.taken.0),
            tail: None,
            breaking: None,
        };
        Self {
            body,
            wire,
            stream: Some(Box::new(stream)),
            ending,
        }
    }
}

type Polled = Poll<Option<Result<Frame<Bytes>, BodyBroken>>>;

impl<B> Body for AnswerBody<B>
where
    B: Body<Data = Bytes, Error = BodyBroken>,
{
    type Data = Bytes;
    type Error = BodyBroken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let this = self.project();
        let Some(stream) = this.stream else {
            return poll_http1(this.body, this.wire, cx);
        };
        let polled = stream.poll(this.body, this.wire, cx);
        stream.flow.appetite.note(&polled);
        polled
    }

    fn is_end_stream(&self) -> bool {
        !self.wire.is_cut() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// From the first sign of a break this body returns [`flushed_next`]: the socket ends the connection in that flush, see
/// [`super::socket`]. Returning the error would make hyper lose what it has not written yet.
fn poll_http1<B>(body: Pin<&mut B>, wire: &Wire, cx: &mut Context<'_>) -> Polled
where
    B: Body<Data = Bytes, Error = BodyBroken>,
{
    if wire.is_broken() {
        return flushed_next();
    }
    match poll_until_cut(body, wire, cx) {
        Poll::Ready(Some(Err(BodyBroken))) => {
            wire.break_off();
            flushed_next()
        }
        other => other,
    }
}

/// `Err` once the body has handed over everything and wants to be cut, in whichever way it says so.
fn poll_until_cut<B>(body: Pin<&mut B>, wire: &Wire, cx: &mut Context<'_>) -> Polled
where
    B: Body<Data = Bytes, Error = BodyBroken>,
{
    match body.poll_frame(cx) {
        Poll::Ready(Some(Err(BodyBroken))) => {
            wire.cut();
            Poll::Ready(Some(Err(BodyBroken)))
        }
        Poll::Ready(None) | Poll::Pending if wire.is_cut() => Poll::Ready(Some(Err(BodyBroken))),
        other => other,
    }
}

impl Stream {
    fn poll<B>(&mut self, body: Pin<&mut B>, wire: &Wire, cx: &mut Context<'_>) -> Polled
    where
        B: Body<Data = Bytes, Error = BodyBroken>,
    {
        if let Some(tail) = self.tail.take() {
            return Poll::Ready(Some(Ok(Frame::data(tail))));
        }
        if self.breaking.is_none() {
            match poll_until_cut(body, wire, cx) {
                Poll::Ready(Some(Ok(frame))) if wire.is_cut() => {
                    return Poll::Ready(Some(Ok(self.split(frame))));
                }
                Poll::Ready(Some(Err(BodyBroken))) => {
                    self.breaking = Some(self.begin_breaking());
                }
                other => return other,
            }
        }
        ready!(self.poll_broken(cx));
        Poll::Ready(Some(Err(BodyBroken)))
    }

    /// Holds back the last byte of the last frame for the next poll.
    fn split(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(mut data) => {
                self.tail = hold_back_last_byte(&mut data);
                Frame::data(data)
            }
            Err(trailers) => trailers,
        }
    }

    fn begin_breaking(&self) -> Breaking {
        Breaking {
            after: self.traffic.settled(),
            grace: Some(Box::pin(sleep(RESET_GRACE))),
        }
    }

    /// Ready when everything yielded is in the kernel: a reset discards what h2 still holds.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(breaking) = &mut self.breaking else {
            return Poll::Ready(());
        };
        if let Some(grace) = &mut breaking.grace {
            ready!(grace.as_mut().poll(cx));
            breaking.grace = None;
        }
        if self.traffic.settled() > breaking.after {
            return Poll::Ready(());
        }
        self.traffic.wake_when_settled(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::Instant;

    use super::*;

    /// Breaks in the same poll that yields its only frame.
    struct Breaks {
        wire: Arc<Wire>,
        frame: Option<Bytes>,
    }

    impl Body for Breaks {
        type Data = Bytes;
        type Error = BodyBroken;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Polled {
            self.wire.cut();
            let frame = self.frame.take().map(|frame| Ok(Frame::data(frame)));
            frame.map_or(Poll::Pending, |frame| Poll::Ready(Some(frame)))
        }
    }

    #[tokio::test]
    async fn a_reset_leaves_the_client_time_to_read_what_came_before() {
        let (wire, traffic) = (Arc::<Wire>::default(), Arc::<Traffic>::default());
        let body = Breaks {
            wire: Arc::clone(&wire),
            frame: Some(Bytes::from_static(b"end")),
        };
        let ending = ending(Arc::clone(&traffic), None);
        let mut body = Box::pin(AnswerBody::http2(body, wire, Arc::default(), ending));
        let begun = Instant::now();
        let mut came = Vec::new();
        let end = loop {
            let frame = poll_fn(|cx| {
                let polled = body.as_mut().poll_frame(cx);
                // The connection writes immediately.
                traffic.settle();
                polled
            });
            match frame.await {
                Some(Ok(frame)) => came.extend_from_slice(frame.data_ref().unwrap()),
                end => break end,
            }
        };
        assert!(matches!(end, Some(Err(BodyBroken))));
        assert_eq!(came, b"end");
        assert!(begun.elapsed() >= RESET_GRACE);
    }
}

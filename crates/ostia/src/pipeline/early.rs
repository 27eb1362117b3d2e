//! Heads that are sent before the outcome is known, because a client that hears nothing for long gives up.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use ostia_core::{HeadSent, Outlasting};
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

use super::edge::Served;
use super::lasting::Work;
use crate::listen::{BodyBroken, Wire};
use crate::refusal::Refusal;
use crate::relay::{ClientBody, KEEPALIVE, is_events, stream_head};

/// What a request and the code that waits for its answer share.
#[derive(Clone, Default)]
pub(super) struct Early {
    pub head_sent: HeadSent,
    pub outlasting: Outlasting,
    allowed: Arc<Allowed>,
}

/// Whether the answer will be a stream.
#[derive(Default)]
struct Allowed {
    is_set: AtomicBool,
    set: Notify,
}

/// What happened first.
pub(super) enum First {
    Served(Box<Served>),
    /// It is time to send a head. The request goes on.
    Due(Work),
}

/// The body of an answer whose head was sent early: comments, then the answer's own body or an error event.
pub(super) struct EarlyBody {
    work: Option<Work>,
    answer: Option<ClientBody>,
    ready: Option<Bytes>,
    is_breaking: bool,
    wire: Arc<Wire>,
    pause: Option<Duration>,
    sleep: Pin<Box<Sleep>>,
}

impl Early {
    /// The answer, if there is one, will be an event stream.
    pub(super) fn allow(&self) {
        self.allowed.is_set.store(true, Ordering::Release);
        self.allowed.set.notify_waiters();
    }

    /// Waits for the answer, but at most until it is time for a head.
    pub(super) async fn first(&self, mut work: Work, after: Duration) -> First {
        let due = async {
            sleep(after).await;
            // Created before the check, so that a notification in between is not missed.
            let set = self.allowed.set.notified();
            if !self.allowed.is_set.load(Ordering::Acquire) {
                set.await;
            }
        };
        tokio::select! {
            biased;
            served = &mut work => First::Served(Box::new(served)),
            () = due => {
                self.head_sent.set();
                First::Due(work)
            }
        }
    }
}

impl EarlyBody {
    /// The head, and a body that continues the work. `pause`: the time between comments.
    pub(super) fn begin(
        work: Work,
        wire: Arc<Wire>,
        pause: Option<Duration>,
    ) -> Response<ClientBody> {
        let body = Self {
            work: Some(work),
            answer: None,
            ready: Some(KEEPALIVE),
            is_breaking: false,
            wire,
            pause,
            sleep: Box::pin(sleep(pause.unwrap_or_default())),
        };
        let mut response = Response::new(ClientBody::boxed(body));
        *response.headers_mut() = stream_head();
        response
    }

    fn go_on(&mut self, served: Served) {
        let (dialect, outcome) = served.early();
        let refusal = match outcome {
            Ok(response) if is_events(response.headers()) => {
                self.answer = Some(response.into_body());
                return;
            }
            // Its row says complete, but it is not what the client was promised.
            Ok(_) => Refusal::not_a_stream(),
            Err(refusal) => refusal,
        };
        self.ready = Some(dialect.refused_end(&refusal));
        self.is_breaking = true;
    }

    /// Whether it is time for a comment; if not, the task is woken then.
    fn poll_pause(&mut self, task: &mut Context<'_>) -> Poll<()> {
        let Some(pause) = self.pause else {
            return Poll::Pending;
        };
        std::task::ready!(self.sleep.as_mut().poll(task));
        let next = tokio::time::Instant::now() + pause;
        self.sleep.as_mut().reset(next);
        Poll::Ready(())
    }
}

impl Body for EarlyBody {
    type Data = Bytes;
    type Error = BodyBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        let this = &mut *self;
        loop {
            if let Some(bytes) = this.ready.take() {
                // Together with the last frame, as for any broken stream.
                if this.is_breaking {
                    this.wire.cut();
                }
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if this.is_breaking {
                return Poll::Pending;
            }
            if let Some(answer) = &mut this.answer {
                return Pin::new(answer).poll_frame(task);
            }
            let Some(work) = &mut this.work else {
                return Poll::Ready(None);
            };
            if let Poll::Ready(served) = Pin::new(work).poll(task) {
                this.work = None;
                this.go_on(served);
                continue;
            }
            std::task::ready!(this.poll_pause(task));
            this.ready = Some(KEEPALIVE);
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_over = self.answer.as_ref().is_some_and(Body::is_end_stream);
        self.ready.is_none() && !self.is_breaking && is_over
    }
}

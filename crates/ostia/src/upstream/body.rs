use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::BodyError;
use super::http2::LanePlace;
use super::link::Link;
use super::pool::{Busy, Pool};
use super::trouble::body_error_of;
use crate::habits::is_whole;

/// A response body. It owns the connection. Dropped early, it closes the connection (HTTP/1) or resets the stream
/// (HTTP/2), so the backend stops working at once. Read to the end, it returns the connection to the pool. If the
/// length was announced, that happens before the last bytes are handed out, so the client's next request can already
/// reuse the connection.
///
/// Yields data frames only; trailers are dropped.
pub struct UpstreamBody {
    incoming: Incoming,
    hold: Hold,
}

enum Hold {
    Link {
        link: Box<Link>,
        /// The pool to return to; `None` if the connection must not be reused.
        home: Option<Arc<Pool>>,
        busy: Busy,
    },
    Lane {
        _place: LanePlace,
        _busy: Busy,
    },
    /// The body has ended, complete or not.
    Nothing,
}

impl UpstreamBody {
    pub(super) fn on_link(
        incoming: Incoming,
        link: Box<Link>,
        home: Option<Arc<Pool>>,
        busy: Busy,
    ) -> Self {
        let mut body = Self {
            incoming,
            hold: Hold::Link { link, home, busy },
        };
        if is_whole(&body.incoming) {
            body.finish();
        }
        body
    }

    pub(super) fn on_lane(incoming: Incoming, place: LanePlace, busy: Busy) -> Self {
        Self {
            incoming,
            hold: Hold::Lane {
                _place: place,
                _busy: busy,
            },
        }
    }

    /// The message is complete: returns the connection if it can be reused.
    fn finish(&mut self) {
        let hold = std::mem::replace(&mut self.hold, Hold::Nothing);
        if let Hold::Link {
            mut link,
            home,
            busy,
        } = hold
        {
            drop(busy);
            if let Some(home) = home
                && link.is_idle()
            {
                home.put(link);
            }
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            let polled = match &mut this.hold {
                Hold::Link { link, .. } => link.poll_body(cx, &mut this.incoming),
                Hold::Lane { .. } => Pin::new(&mut this.incoming).poll_frame(cx),
                Hold::Nothing => return Poll::Ready(None),
            };
            match ready!(polled) {
                Some(Ok(frame)) if frame.is_data() => {
                    if is_whole(&this.incoming) {
                        this.finish();
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Ok(_trailers)) => {}
                Some(Err(error)) => {
                    this.hold = Hold::Nothing;
                    return Poll::Ready(Some(Err(body_error_of(&error))));
                }
                None => {
                    this.finish();
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.hold, Hold::Nothing) || is_whole(&self.incoming)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

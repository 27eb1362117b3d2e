use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::bulk::BulkBody;
use super::stream::StreamBody;
use crate::backend::AnswerBody;
use crate::listen::BodyBroken;
use crate::runtime::spawn_beside;
use crate::telemetry::AccessLog;

/// The body of every response that the gateway sends.
pub struct ClientBody {
    source: Source,
    /// Dropped with the body, so that the `access` event covers the whole response.
    access: Option<AccessLog>,
}

enum Source {
    Whole(Option<Bytes>),
    Bulk(Box<BulkBody<AnswerBody>>),
    Stream(Box<StreamBody<AnswerBody>>),
    /// A body that the pipeline assembled from several responses.
    Other(Pin<Box<dyn Body<Data = Bytes, Error = BodyBroken> + Send>>),
}

impl ClientBody {
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Source::Whole((!bytes.is_empty()).then_some(bytes)).into()
    }

    /// An empty body.
    pub fn empty() -> Self {
        Source::Whole(None).into()
    }

    pub(super) fn bulk(body: Box<BulkBody<AnswerBody>>) -> Self {
        Source::Bulk(body).into()
    }

    pub(super) fn stream(body: Box<StreamBody<AnswerBody>>) -> Self {
        Source::Stream(body).into()
    }

    pub fn boxed(body: impl Body<Data = Bytes, Error = BodyBroken> + Send + 'static) -> Self {
        Source::Other(Box::pin(body)).into()
    }

    /// Delays the access event until the body ends.
    pub fn logged(mut self, access: AccessLog) -> Self {
        self.access = Some(access);
        self
    }
}

impl From<Source> for ClientBody {
    fn from(source: Source) -> Self {
        Self {
            source,
            access: None,
        }
    }
}

impl ClientBody {
    /// An answer that goes on without its client, because its backend bills to the end.
    fn take_lasting(&mut self) -> Option<Source> {
        let goes_on = match &mut self.source {
            Source::Bulk(body) => body.outlast(),
            Source::Stream(body) => body.outlast(),
            Source::Whole(_) | Source::Other(_) => false,
        };
        goes_on.then(|| std::mem::replace(&mut self.source, Source::Whole(None)))
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        if let Some(mut source) = self.take_lasting() {
            spawn_beside(async move {
                match &mut source {
                    Source::Bulk(body) => poll_fn(|task| body.poll_to_end(task)).await,
                    Source::Stream(body) => poll_fn(|task| body.poll_to_end(task)).await,
                    Source::Whole(_) | Source::Other(_) => {}
                }
            });
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        let polled = match &mut self.source {
            Source::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Bulk(body) => Pin::new(&mut **body).poll_frame(task),
            Source::Stream(body) => Pin::new(&mut **body).poll_frame(task),
            Source::Other(body) => body.as_mut().poll_frame(task),
        };
        if let (Some(access), Poll::Ready(Some(Ok(frame)))) = (&mut self.access, &polled) {
            access.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(bytes) => bytes.is_none(),
            Source::Bulk(body) => body.is_end_stream(),
            Source::Stream(body) => body.is_end_stream(),
            Source::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::Bulk(body) => body.size_hint(),
            Source::Stream(_) | Source::Other(_) => SizeHint::default(),
        }
    }
}

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::bulk::BulkBody;
use super::stream::StreamBody;
use crate::listen::BodyBroken;
use crate::upstream::UpstreamBody;

/// The body of every answer that leaves the gateway.
pub enum ClientBody {
    Whole(Option<Bytes>),
    #[expect(private_interfaces, reason = "made by the relay alone")]
    Bulk(Box<BulkBody<UpstreamBody>>),
    #[expect(private_interfaces, reason = "made by the relay alone")]
    Stream(Box<StreamBody<UpstreamBody>>),
}

impl ClientBody {
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Bulk(body) => Pin::new(&mut **body).poll_frame(task),
            Self::Stream(body) => Pin::new(&mut **body).poll_frame(task),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Bulk(body) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Bulk(body) => body.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

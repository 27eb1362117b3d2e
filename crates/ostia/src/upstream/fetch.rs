use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;

use super::client::{Client, within};
use super::message::Message;
use super::{BodyError, Failure, UpstreamBody};

/// Why a small question to a backend has no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No answer at all; the text is for the log.
    #[error("{}", .0.detail)]
    Failed(Failure),
    #[error(transparent)]
    Broken(#[from] BodyError),
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    #[error("the answer did not end in time")]
    Timeout,
}

impl Client {
    /// A GET for the gateway itself (status pages, model lists, readiness). Redirects are answers like any other.
    ///
    /// `headers` are sent as they are. The body may take as long as the deployment's `stream_idle` timeout, and not
    /// more than `limit` bytes are read.
    pub async fn get(
        &self,
        path_and_query: &str,
        headers: HeaderMap,
        limit: usize,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let (head, body) = self
            .fetch(Method::GET, path_and_query, headers, None, limit)
            .await?;
        Ok((head.status, body))
    }

    /// The same with a body or without, and with the answer's headers. Sent once on a new connection; a reused one that
    /// turns out dead is replaced.
    pub async fn fetch(
        &self,
        method: Method,
        path_and_query: &str,
        headers: HeaderMap,
        body: Option<Bytes>,
        limit: usize,
    ) -> Result<(Parts, Bytes), FetchError> {
        let message = Message::new(
            method,
            path_and_query.to_owned(),
            headers,
            body.into_iter().collect(),
        )
        .map_err(|error| FetchError::Failed(error.into()))?;
        let answer = self
            .dispatch(self.own_pool(), message, self.timeouts, &mut |_| {})
            .await
            .map_err(FetchError::Failed)?;
        let body = within(self.timeouts.stream_idle, collect(answer.body, limit)).await;
        Ok((answer.head, body.ok_or(FetchError::Timeout)??))
    }
}

async fn collect(mut body: UpstreamBody, limit: usize) -> Result<Bytes, FetchError> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if all.len() + data.len() > limit {
            return Err(FetchError::TooLarge(limit));
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}

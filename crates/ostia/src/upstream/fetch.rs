use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use ostia_core::BoxFuture;

use super::FailureKind;
use super::client::{Client, within};
use super::message::Message;
use super::{BodyError, UpstreamBody, UpstreamFailure};
use crate::codings;
use crate::upstream::{Ask, AskError, Question, Reply};

/// Why a small request to a backend failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No response at all; the text is for the log.
    #[error("{}", .0.detail)]
    Failed(UpstreamFailure),
    #[error(transparent)]
    Broken(#[from] BodyError),
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    #[error("the answer is compressed, and cannot be decompressed")]
    Coding,
    #[error("the answer did not end in time")]
    Timeout,
}

impl Client {
    /// A GET that the gateway makes for itself (status pages, model lists, readiness). Redirects are not followed.
    ///
    /// `headers` are sent as they are. The body may take as long as the deployment's `stream_idle` timeout, and at most
    /// `limit` bytes are read.
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

    /// The same with any method and body, and with the response's headers. Sent once on a new connection; a reused
    /// connection that turns out to be dead is replaced.
    pub async fn fetch(
        &self,
        method: Method,
        path_and_query: &str,
        headers: HeaderMap,
        body: Option<Bytes>,
        limit: usize,
    ) -> Result<(Parts, Bytes), FetchError> {
        let question = Question {
            method,
            origin: None,
            path_and_query: path_and_query.to_owned(),
            headers,
            body: body.unwrap_or_default(),
            limit,
        };
        self.exchange(question).await
    }

    async fn exchange(&self, question: Question) -> Result<(Parts, Bytes), FetchError> {
        let pool = self
            .pool_of(question.origin.as_ref())
            .map_err(FetchError::Failed)?;
        let body = Some(question.body).filter(|body| !body.is_empty());
        let message = Message::new(
            question.method,
            question.path_and_query,
            question.headers,
            body.into_iter().collect(),
        )
        .map_err(|error| FetchError::Failed(error.into()))?;
        let answer = self
            .dispatch(pool, message, self.timeouts, &mut |_| {})
            .await
            .map_err(FetchError::Failed)?;
        let reading = collect(answer.body, question.limit);
        let body = within(self.timeouts.stream_idle, reading).await;
        let body = body.ok_or(FetchError::Timeout)??;
        let plain = codings::plain(body, &answer.head.headers, question.limit).await;
        Ok((answer.head, plain.ok_or(FetchError::Coding)?))
    }
}

impl Ask for Client {
    fn ask(&self, question: Question) -> BoxFuture<'_, Result<Reply, AskError>> {
        Box::pin(async move {
            let (head, body) = self.exchange(question).await?;
            Ok(Reply {
                status: head.status,
                body,
            })
        })
    }
}

impl From<FetchError> for AskError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Timeout => Self::Timeout,
            FetchError::Failed(failure) if failure.kind == FailureKind::Timeout => Self::Timeout,
            other => Self::Failed(other.to_string()),
        }
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

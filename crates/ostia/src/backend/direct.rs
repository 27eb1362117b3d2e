use async_trait::async_trait;
use http::Response;

use super::{AnswerBody, Backend, Entry, Exchange, Failure};

/// HTTP to `config.api_url`, the client's bytes as they are: what backends that speak the OpenAI API need, and the
/// parent of those that only change something.
///
/// What its keys mean is read with the entry: they say how the host is reached, for every kind that calls one.
#[derive(Debug, Default, Clone, Copy)]
pub struct DirectApi;

#[async_trait]
impl Backend for DirectApi {
    fn open(_: &mut Entry<'_>) -> Option<Self> {
        Some(Self)
    }

    /// The registry's own is called without this box.
    async fn call(&self, exchange: Exchange<'_>) -> Result<Response<AnswerBody>, Failure> {
        exchange.direct().await
    }
}

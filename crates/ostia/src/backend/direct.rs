use async_trait::async_trait;
use http::Response;

use super::{AnswerBody, Backend, Entry, Exchange, Failure};

/// HTTP to `config.api_url` with the client's bytes unchanged: what backends that speak the OpenAI API need, and the
/// base for hooks that only change something.
///
/// Its keys are read with the entry, not here: they say how to reach the host, which every kind of backend that calls
/// one needs.
#[derive(Debug, Default, Clone, Copy)]
pub struct DirectApi;

#[async_trait]
impl Backend for DirectApi {
    fn open(_: &mut Entry<'_>) -> Option<Self> {
        Some(Self)
    }

    /// Used only through the trait: the registry's own `direct_api` is called without this box.
    async fn call(&self, exchange: Exchange<'_>) -> Result<Response<AnswerBody>, Failure> {
        exchange.direct().await
    }
}

use async_trait::async_trait;
use http::{HeaderMap, StatusCode};
use ostia_core::{Identity, LedgerRow};

use super::RequestContext;
use crate::catalog::Deployment;

/// Why an adapter did not let a request go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdapterError {
    /// Told to the caller as written; `status` is 400 to 599, anything else becomes 500.
    #[error("refused: {message}")]
    Refusal {
        status: StatusCode,
        message: String,
        code: String,
    },
    /// A fault of the adapter itself; the text is for the log, the caller gets 500 `adapter_error`.
    #[error("adapter failed: {0}")]
    Failed(String),
}

/// The head of a backend's answer, and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct ResponseContext<'a> {
    pub principal: &'a Identity,
    pub deployment: &'a Deployment,
    pub status: StatusCode,
    pub headers: &'a HeaderMap,
}

/// What a site may do with requests to an endpoint. Every method has a default that does nothing, which is
/// [`DirectApi`]; returning `Ok` goes on to the backend, where FIRST's adapters called their parent.
///
/// To add one: implement it, register it by name (`Gateway::builder().endpoint_adapter(...)`), and put that name into
/// the fixture's `endpoint_adapter` or into `[adapters]`. Hooks must not block their thread: what waits, awaits.
#[async_trait]
pub trait EndpointAdapter: Send + Sync + 'static {
    /// Runs for a client that did not ask for a stream.
    async fn on_request(&self, context: &mut RequestContext<'_>) -> Result<(), AdapterError> {
        let _ = context;
        Ok(())
    }

    /// Runs instead of `on_request` for a client that asked for a stream.
    async fn on_stream_request(
        &self,
        context: &mut RequestContext<'_>,
    ) -> Result<(), AdapterError> {
        self.on_request(context).await
    }

    /// Sees the head of the backend's answer. Must not wait.
    fn on_response(&self, context: &ResponseContext<'_>) {
        let _ = context;
    }

    /// Sees how the request ended: its row in the ledger. Must not wait.
    fn on_complete(&self, row: &LedgerRow<'_>) {
        let _ = row;
    }
}

/// The request as it is: what every adapter falls back to, and the parent of those that wrap it.
#[derive(Debug, Default, Clone, Copy)]
pub struct DirectApi;

impl EndpointAdapter for DirectApi {}

impl AdapterError {
    /// A refusal with the caller's text. A status outside 400..=599 becomes 500.
    pub fn refusal(status: u16, message: impl Into<String>, code: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status)
            .ok()
            .filter(|status| status.is_client_error() || status.is_server_error())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::Refusal {
            status,
            message: message.into(),
            code: code.into(),
        }
    }
}

impl From<crate::upstream::AskError> for AdapterError {
    fn from(error: crate::upstream::AskError) -> Self {
        Self::Failed(error.to_string())
    }
}

use async_trait::async_trait;
use http::StatusCode;
use ostia_core::LedgerRow;

use super::{Entry, RequestContext, ResponseContext};

/// Why an adapter stopped a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdapterError {
    /// The caller is told this as written. `status` is 400 to 599; anything else becomes 500.
    #[error("refused: {message}")]
    Refusal {
        status: StatusCode,
        message: String,
        code: String,
    },
    /// The adapter itself failed. The text is for the log; the caller gets 500 `adapter_error`.
    #[error("adapter failed: {0}")]
    Failed(String),
}

/// What a site can do to requests to an endpoint, whatever backend serves them: a decorator around it. Every method has
/// a default that does nothing. Returning `Ok` goes on to the backend, where FIRST's adapters called their parent.
///
/// To add one: implement it, register it by name (`Gateway::builder().endpoint_adapter(...)`), and put that name into
/// the fixture's `endpoint_adapter` or into `[adapters]`. Hooks must not block their thread: await whatever takes time.
#[async_trait]
pub trait EndpointAdapter: Send + Sync + 'static {
    /// Reports mistakes in an entry's `config`. Called whenever the files are read.
    fn check(&self, entry: &mut Entry<'_>) {
        let _ = entry;
    }

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

    /// Sees the head of the backend's response and may change it. The client waits for it.
    async fn on_response(&self, context: &mut ResponseContext<'_>) {
        let _ = context;
    }

    /// Sees how the request ended: its row in the ledger. Must not wait.
    fn on_complete(&self, row: &LedgerRow<'_>) {
        let _ = row;
    }
}

impl AdapterError {
    /// A refusal with the adapter's own text. A status outside 400..=599 becomes 500.
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

use std::sync::Arc;

use http::{StatusCode, response};
use ostia_core::{BoxFuture, LedgerRow};

use super::Outgoing;
use crate::catalog::Deployment;
use crate::identify::Principal;
use crate::read::Call;

/// What an adapter sees of a request, and the request to the backend, which it may change.
pub struct RequestContext<'a> {
    pub principal: &'a Principal,
    pub deployment: &'a Arc<Deployment>,
    pub call: &'a Call,
    /// As the direct API would send it.
    pub outgoing: Outgoing,
}

/// Why an adapter did not let a request go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdapterError {
    /// Told to the caller as written; `status` is 400 to 599.
    #[error("refused: {message}")]
    Refusal {
        status: StatusCode,
        message: String,
        code: String,
    },
    /// A fault of the adapter itself; the text is for the log.
    #[error("adapter failed: {0}")]
    Failed(String),
}

/// What a site may do with requests to an endpoint. Returning `Ok` goes on to the backend.
pub trait EndpointAdapter: Send + Sync + 'static {
    /// Runs for a client that did not ask for a stream.
    fn on_request<'a>(
        &'a self,
        context: &'a mut RequestContext<'_>,
    ) -> BoxFuture<'a, Result<(), AdapterError>>;

    /// Runs instead of `on_request` for a client that asked for a stream.
    fn on_stream_request<'a>(
        &'a self,
        context: &'a mut RequestContext<'_>,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        self.on_request(context)
    }

    /// Sees the head of the backend's answer.
    fn on_response(&self, head: &response::Parts) {
        let _ = head;
    }

    /// Sees how the request ended.
    fn on_complete(&self, row: &LedgerRow<'_>) {
        let _ = row;
    }
}

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use ostia_core::{BoxFuture, Clock};
use parking_lot::Mutex;

use crate::catalog::{Origin, Target, Timeouts};
use crate::identify::{Web, WebAnswer, WebFault, WebRequest};
use crate::upstream::{Client, Clients, FailureKind, FetchError};

/// A longer response from an identity provider is an attack or a mistake.
const LONGEST_ANSWER: usize = 1024 * 1024;
const CONNECT: Duration = Duration::from_millis(1_500);
const ANSWER: Duration = Duration::from_secs(4);
const IDLE: Duration = Duration::from_secs(15);

/// Calls identity providers with the same client as backends: one TLS stack, one resolver, no redirects.
pub struct IdentityWeb {
    made: Mutex<HashMap<Origin, Arc<Client>>>,
    clients: Arc<Clients>,
}

impl IdentityWeb {
    pub fn new(clients: Arc<Clients>) -> Self {
        Self {
            made: Mutex::default(),
            clients,
        }
    }

    /// For commands that serve no requests.
    pub fn standalone(clock: Arc<dyn Clock>) -> Self {
        Self::new(Arc::new(Clients::new(clock)))
    }

    async fn fetch(&self, request: WebRequest) -> Result<WebAnswer, WebFault> {
        let client = self.client(&request.url.origin)?;
        let path = request.url.path_and_query();
        let (method, headers, body) = write(request)?;
        let fetched = client.fetch(method, &path, headers, body, LONGEST_ANSWER);
        // The client limits each step. This limits all of them together, even if bytes trickle in.
        let (head, body) = tokio::time::timeout(CONNECT + ANSWER, fetched)
            .await
            .map_err(|_| WebFault::Timeout)??;
        Ok(WebAnswer {
            status: head.status,
            content_type: head
                .headers
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
            body,
        })
    }

    fn client(&self, origin: &Origin) -> Result<Arc<Client>, WebFault> {
        let mut made = self.made.lock();
        if let Some(client) = made.get(origin) {
            return Ok(Arc::clone(client));
        }
        let client = self.clients.client(&target(origin));
        let client = client.map_err(|error| WebFault::Unreachable(error.to_string()))?;
        made.insert(origin.clone(), Arc::clone(&client));
        Ok(client)
    }
}

impl Web for IdentityWeb {
    fn call(&self, request: WebRequest) -> BoxFuture<'_, Result<WebAnswer, WebFault>> {
        Box::pin(self.fetch(request))
    }
}

fn write(request: WebRequest) -> Result<(Method, HeaderMap, Option<Bytes>), WebFault> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("ostia/", env!("CARGO_PKG_VERSION"))),
    );
    if let Some(authorization) = request.authorization {
        let mut value = HeaderValue::try_from(authorization.expose().as_str())
            .map_err(|_| WebFault::Broken("a credential is not valid in a header".to_owned()))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let Some(form) = request.form else {
        return Ok((Method::GET, headers, None));
    };
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(CONTENT_TYPE, kind);
    let body = Bytes::from(form.expose().clone());
    Ok((Method::POST, headers, Some(body)))
}

fn target(origin: &Origin) -> Target {
    let timeouts = Timeouts {
        connect: Some(CONNECT),
        response_header: Some(ANSWER),
        stream_idle: Some(ANSWER),
        total: None,
    };
    Target {
        pool_idle_timeout: Some(IDLE),
        ..Target::plain(origin.clone(), timeouts)
    }
}

impl From<FetchError> for WebFault {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Failed(failure) => match failure.kind {
                FailureKind::Timeout => Self::Timeout,
                FailureKind::Unreachable | FailureKind::Exhausted | FailureKind::Tls => {
                    Self::Unreachable(failure.detail)
                }
                FailureKind::Closed | FailureKind::Invalid => Self::Broken(failure.detail),
            },
            FetchError::Broken(error) => Self::Broken(error.to_string()),
            FetchError::TooLarge(limit) => Self::TooLarge(limit),
            FetchError::Coding => Self::Broken(error.to_string()),
            FetchError::Timeout => Self::Timeout,
        }
    }
}

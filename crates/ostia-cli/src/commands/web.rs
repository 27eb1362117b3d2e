//! HTTP calls that commands make themselves, to backends and gateways.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, StatusCode};
use ostia::catalog::{HttpUrl, Proxy, Scheme, Target, Timeouts, Tls};
use ostia::upstream::Clients;
use ostia_core::{Secret, SystemClock};
use serde_json::Value;

use crate::failure::Failure;

/// Larger than any answer to these commands.
const LONGEST: usize = 16 << 20;
const CONNECT: Duration = Duration::from_secs(5);

/// A request: its content, and its time limit.
#[derive(Clone)]
pub struct Page {
    pub bearer: Option<Secret<String>>,
    /// In addition to those that are always sent.
    pub headers: HeaderMap,
    pub body: Option<Value>,
    /// The longest silence.
    pub patience: Duration,
    /// Authorities to trust for the other side; `None`: the machine's.
    pub ca_cert: Option<PathBuf>,
    pub proxy: Option<Secret<String>>,
}

/// A complete answer.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            bearer: None,
            headers: HeaderMap::new(),
            body: None,
            patience: Duration::from_secs(10),
            ca_cert: None,
            proxy: None,
        }
    }
}

impl Page {
    pub async fn get(self, url: &HttpUrl) -> Result<Answer, Failure> {
        self.call(Method::GET, url).await
    }

    pub async fn post(self, url: &HttpUrl) -> Result<Answer, Failure> {
        self.call(Method::POST, url).await
    }

    pub async fn call(self, method: Method, url: &HttpUrl) -> Result<Answer, Failure> {
        let host = url.base();
        let failed = |why: String| Failure::other(format!("{host}: {why}"));
        let clients = Clients::new(Arc::new(SystemClock));
        let client = clients
            .client(&self.target(url))
            .map_err(|error| failed(error.to_string()))?;
        let headers = self.headers()?;
        let body = self.body.map(|body| Bytes::from(body.to_string()));
        let path = url.path_and_query();
        let (head, body) = client
            .fetch(method, &path, headers, body, LONGEST)
            .await
            .map_err(|error| failed(error.to_string()))?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    /// How to connect to the other side.
    pub fn target(&self, url: &HttpUrl) -> Target {
        let patience = Some(self.patience);
        let timeouts = Timeouts {
            connect: Some(CONNECT),
            response_header: patience,
            stream_idle: patience,
            total: None,
        };
        Target {
            tls: Tls {
                ca_cert_path: self.ca_cert.clone(),
                ..Tls::default()
            },
            proxy: self.proxy.clone().map_or(Proxy::None, Proxy::Url),
            ..Target::plain(url.origin.clone(), timeouts)
        }
    }

    fn headers(&self) -> Result<HeaderMap, Failure> {
        const JSON: HeaderValue = HeaderValue::from_static("application/json");
        const AGENT: HeaderValue =
            HeaderValue::from_static(concat!("ostia/", env!("CARGO_PKG_VERSION")));
        let mut headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static("*/*")),
            (USER_AGENT, AGENT),
        ]);
        if self.body.is_some() {
            headers.insert(CONTENT_TYPE, JSON);
        }
        headers.extend(self.headers.clone());
        if let Some(key) = &self.bearer {
            let value = HeaderValue::try_from(format!("Bearer {}", key.expose()));
            let mut value =
                value.map_err(|_| Failure::usage("the key is not valid in a header"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Keys are sent over TLS only, except to this machine.
pub fn parse_private(text: &str) -> Result<HttpUrl, Failure> {
    let shown = text.escape_debug();
    let url =
        HttpUrl::parse_bare(text).map_err(|fault| Failure::usage(format!("`{shown}` {fault}")))?;
    let host = &*url.origin.host;
    let here = host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    if url.origin.scheme == Scheme::Http && !here {
        return Err(Failure::usage(format!(
            "`{shown}` must be https:// (plain http:// is for loopback only)"
        )));
    }
    Ok(url)
}

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use ostia_core::BoxFuture;
use serde_json::Value;

use crate::catalog::{HttpUrl, Origin, Target};

/// A small HTTP request that the gateway or an adapter makes for itself.
#[derive(Debug, Clone)]
pub struct Question {
    pub method: Method,
    /// `None`: the client's own origin.
    pub origin: Option<Origin>,
    pub path_and_query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// A longer response body is an error.
    pub limit: usize,
}

/// The complete response to a [`Question`]. Redirects are not followed.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub body: Bytes,
}

/// Why there is no [`Reply`]. The texts are for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("{0}")]
    NotAllowed(String),
    #[error("no answer in time")]
    Timeout,
    #[error("{0}")]
    Failed(String),
}

/// Sends questions over connections set up for one target, with its TLS, proxy and timeouts.
pub trait Ask: Send + Sync + 'static {
    fn ask(&self, question: Question) -> BoxFuture<'_, Result<Reply, AskError>>;
}

/// Where an adapter may call: the host of the target's URL and the hosts that its entry allows.
#[derive(Debug, Clone)]
pub struct Reach {
    own: Origin,
    allowed_hosts: Arc<[String]>,
}

impl Reach {
    pub fn of(target: &Target) -> Self {
        Self {
            own: target.origin.clone(),
            allowed_hosts: target.allowed_hosts.clone().into(),
        }
    }

    pub fn own(&self) -> &Origin {
        &self.own
    }

    /// Allows the target's scheme, on the target's own host or an allowed one. Link-local addresses are always refused:
    /// cloud metadata services hand out the machine's credentials there. The reasons never repeat the URL.
    pub fn check(&self, origin: &Origin) -> Result<(), AskError> {
        let refuse = |why: &str| Err(AskError::NotAllowed(why.to_owned()));
        if origin.scheme != self.own.scheme {
            return refuse("the URL's scheme differs from the entry's own");
        }
        if origin.is_link_local() {
            return refuse("the URL points to a link-local address");
        }
        let listed = |allowed: &String| {
            *allowed == *origin.host
                || *allowed == origin.authority()
                || *allowed == format!("[{}]", origin.host)
                || *allowed == format!("{}:{}", origin.host, origin.port)
        };
        if origin.host == self.own.host || self.allowed_hosts.iter().any(listed) {
            return Ok(());
        }
        refuse("the URL's host is neither the entry's own nor listed in its allowed_hosts")
    }
}

/// HTTP for adapters, with the target's TLS, proxy and timeouts, to allowed hosts only. The endpoint's key is sent only
/// after [`Http::with_key`], and only to the target's own host and port.
#[derive(Clone)]
pub struct Http {
    ask: Option<Arc<dyn Ask>>,
    reach: Reach,
    key: Option<HeaderValue>,
    send_key: bool,
    headers: HeaderMap,
    time_limit: Duration,
    limit: usize,
}

/// Far more than any status page needs.
pub const REPLY_LIMIT: usize = 4 << 20;

impl Http {
    /// `ask` is `None` if the target cannot be called at all, because its TLS files are broken.
    pub fn new(ask: Option<Arc<dyn Ask>>, target: &Target, time_limit: Duration) -> Self {
        let key = target
            .key
            .as_ref()
            .and_then(|key| HeaderValue::try_from(format!("Bearer {}", key.expose())).ok())
            .map(|mut value| {
                value.set_sensitive(true);
                value
            });
        Self {
            ask,
            reach: Reach::of(target),
            key,
            send_key: false,
            headers: HeaderMap::new(),
            time_limit,
            limit: REPLY_LIMIT,
        }
    }

    /// Also sends the endpoint's key.
    pub fn with_key(mut self) -> Self {
        self.send_key = true;
        self
    }

    /// Also sends this header.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Shortens the time limit.
    pub fn within(mut self, limit: Duration) -> Self {
        self.time_limit = self.time_limit.min(limit);
        self
    }

    /// Reads responses of at most this many bytes.
    pub fn up_to(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// `url`: absolute, or a path on the target's own host.
    pub async fn get(&self, url: &str) -> Result<Reply, AskError> {
        self.call(Method::GET, url, Bytes::new()).await
    }

    pub async fn post(&self, url: &str, body: &Value) -> Result<Reply, AskError> {
        self.call(Method::POST, url, body.to_string().into()).await
    }

    async fn call(&self, method: Method, url: &str, body: Bytes) -> Result<Reply, AskError> {
        let (origin, path_and_query) = self.address(url)?;
        let mut headers = self.headers.clone();
        headers
            .entry(ACCEPT)
            .or_insert(HeaderValue::from_static("application/json"));
        if method == Method::POST {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let at_home = origin.is_none();
        if let Some(key) = self.key.as_ref().filter(|_| self.send_key && at_home) {
            headers.insert(AUTHORIZATION, key.clone());
        }
        let question = Question {
            method,
            origin,
            path_and_query,
            headers,
            body,
            limit: self.limit,
        };
        let ask = self
            .ask
            .as_ref()
            .ok_or_else(|| AskError::Failed("there is no usable HTTP client".to_owned()))?;
        tokio::time::timeout(self.time_limit, ask.ask(question))
            .await
            .unwrap_or(Err(AskError::Timeout))
    }

    fn address(&self, url: &str) -> Result<(Option<Origin>, String), AskError> {
        if url.starts_with('/') {
            return Ok((None, url.to_owned()));
        }
        let url = HttpUrl::parse(url)
            .map_err(|fault| AskError::NotAllowed(format!("the URL {fault}")))?;
        if url.userinfo {
            let why = "the URL holds a user name or password";
            return Err(AskError::NotAllowed(why.to_owned()));
        }
        let path_and_query = url.path_and_query();
        if url.origin == *self.reach.own() {
            return Ok((None, path_and_query));
        }
        self.reach.check(&url.origin)?;
        Ok((Some(url.origin), path_and_query))
    }
}

impl Reply {
    pub fn json(&self) -> Result<Value, AskError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| AskError::Failed(format!("the answer is not JSON: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Scheme;

    fn origin(scheme: Scheme, host: &str, port: u16) -> Origin {
        Origin {
            scheme,
            host: host.into(),
            port,
        }
    }

    #[test]
    fn only_the_own_host_and_listed_ones_are_in_reach() {
        let reach = Reach {
            own: origin(Scheme::Https, "gpu.example", 443),
            allowed_hosts: ["other.example".to_owned(), "third.example:8443".to_owned()].into(),
        };
        let cases = [
            (Scheme::Https, "gpu.example", 443, true),
            (Scheme::Https, "gpu.example", 9000, true),
            (Scheme::Http, "gpu.example", 443, false),
            (Scheme::Https, "other.example", 1, true),
            (Scheme::Https, "third.example", 8443, true),
            (Scheme::Https, "third.example", 443, false),
            (Scheme::Https, "gpu.example.evil.example", 443, false),
            (Scheme::Https, "evil.example", 443, false),
        ];
        for (scheme, host, port, allowed) in cases {
            let checked = reach.check(&origin(scheme, host, port));
            assert_eq!(checked.is_ok(), allowed, "{scheme:?} {host}:{port}");
        }
    }

    #[test]
    fn link_local_addresses_are_out_of_reach_even_if_listed() {
        for host in [
            "169.254.169.254",
            "fe80::1",
            "::ffff:169.254.169.254",
            "febf::1",
        ] {
            let own = origin(Scheme::Http, host, 80);
            let reach = Reach {
                own: own.clone(),
                allowed_hosts: [host.to_owned()].into(),
            };
            assert!(reach.check(&own).is_err(), "{host}");
        }
    }
}

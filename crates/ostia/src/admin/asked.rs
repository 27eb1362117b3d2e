use std::time::Duration;

use form_urlencoded::parse;
use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use serde_json::Value;

use crate::listen::Inbound;
use crate::refusal::Refusal;

/// The longest body that is read. A longer one cannot be a list of a site's users.
const LONGEST: usize = 16 << 20;
/// How long to wait for a body.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request on the admin listener whose sender was let in.
pub(super) struct Asked {
    inbound: Inbound,
    /// The values of the placeholders in its route's pattern.
    captures: Vec<String>,
}

impl Asked {
    pub const fn new(inbound: Inbound, captures: Vec<String>) -> Self {
        Self { inbound, captures }
    }

    /// The value of the pattern's only placeholder.
    pub fn capture(&self) -> &str {
        self.captures.first().map_or("", String::as_str)
    }

    /// The query, still percent-encoded.
    pub fn raw_query(&self) -> &str {
        self.inbound.head.uri.query().unwrap_or_default()
    }

    /// The last value of this name in the query.
    pub fn query(&self, name: &str) -> Option<String> {
        let named = parse(self.raw_query().as_bytes()).filter(|(key, _)| key == name);
        named.last().map(|(_, value)| value.into_owned())
    }

    /// Whether a flag in the query is on. The bare name turns it on, and so does any value except `false`, `0` and
    /// `no`.
    pub fn says(&self, name: &str) -> bool {
        let value = self.query(name);
        value.is_some_and(|value| !matches!(&*value, "false" | "0" | "no"))
    }

    /// The body, which must be one JSON object.
    pub async fn json(&mut self) -> Result<Value, Refusal> {
        let body = Limited::new(&mut self.inbound.body, LONGEST).collect();
        let read = tokio::time::timeout(PATIENCE, body).await;
        let Ok(Ok(read)) = read else {
            return Err(Refusal::client(
                StatusCode::BAD_REQUEST,
                "invalid_json",
                "The body did not come, or is too long.",
            ));
        };
        let value = serde_json::from_slice::<Value>(&read.to_bytes());
        value.ok().filter(Value::is_object).ok_or_else(|| {
            Refusal::client(
                StatusCode::BAD_REQUEST,
                "invalid_json",
                "The body has to be one JSON object.",
            )
        })
    }
}

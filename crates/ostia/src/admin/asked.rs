use std::time::Duration;

use form_urlencoded::parse;
use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use serde_json::Value;

use crate::listen::Inbound;
use crate::refusal::Refusal;

/// A longer body is no list of a site's users.
const LONGEST: usize = 16 << 20;
/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request of the admin listener whose sender was let in.
pub(super) struct Asked {
    inbound: Inbound,
    /// What the placeholders of its pattern stand for.
    captures: Vec<String>,
}

impl Asked {
    pub const fn new(inbound: Inbound, captures: Vec<String>) -> Self {
        Self { inbound, captures }
    }

    /// What the pattern's one placeholder stands for.
    pub fn capture(&self) -> &str {
        self.captures.first().map_or("", String::as_str)
    }

    /// The whole query, as it came.
    pub fn raw_query(&self) -> &str {
        self.inbound.head.uri.query().unwrap_or_default()
    }

    /// The last value of this name in the query.
    pub fn query(&self, name: &str) -> Option<String> {
        let named = parse(self.raw_query().as_bytes()).filter(|(key, _)| key == name);
        named.last().map(|(_, value)| value.into_owned())
    }

    /// Whether the query says yes: the name alone does, as do all values but these.
    pub fn says(&self, name: &str) -> bool {
        let value = self.query(name);
        value.is_some_and(|value| !matches!(&*value, "false" | "0" | "no"))
    }

    /// The body, which has to be one JSON object.
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

use std::time::Duration;

use form_urlencoded::parse;
use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::listen::Inbound;
use crate::refusal::Refusal;

const LONGEST: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

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

    /// The last value of this name in the query.
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.inbound.head.uri.query().unwrap_or_default();
        let named = parse(query.as_bytes()).filter(|(key, _)| key == name);
        named.last().map(|(_, value)| value.into_owned())
    }

    /// Its body, a JSON object.
    pub async fn object(self) -> Result<(Vec<String>, Map<String, Value>), Refusal> {
        let reading = Limited::new(self.inbound.body, LONGEST).collect();
        let invalid =
            |text: &'static str| Refusal::client(StatusCode::BAD_REQUEST, "invalid_json", text);
        let body = match timeout(PATIENCE, reading).await {
            Ok(Ok(body)) => body.to_bytes(),
            _ => return Err(invalid("The body is too long, too slow or broken.")),
        };
        let object = serde_json::from_slice(&body);
        let object = object.map_err(|_| invalid("The body must be a JSON object."))?;
        Ok((self.captures, object))
    }

    /// Whether the query says yes: the name alone does, as do all values but these.
    pub fn says(&self, name: &str) -> bool {
        let value = self.query(name);
        value.is_some_and(|value| !matches!(&*value, "false" | "0" | "no"))
    }
}

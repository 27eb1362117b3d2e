use bytes::Bytes;
use memchr::memmem;
use serde_json::Value;

use crate::wire::{Fields, Framing, Head};

/// A request as it arrived, unchanged.
#[derive(Debug, Clone, Default)]
pub struct Received {
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    pub head: Head,
    /// The exact bytes, without chunk framing.
    pub body: Bytes,
    /// Whether the whole body has come.
    pub complete: bool,
    pub trailers: Fields,
    /// Violations of RFC 9112 in the request; empty for a correct gateway.
    pub breaches: Vec<String>,
}

impl Received {
    pub(super) fn from_head(head: Head) -> Self {
        let mut words = head.first_line.split(' ');
        let method = words.next().unwrap_or("").to_owned();
        let target = words.next().unwrap_or("").to_owned();
        let version = words.next().unwrap_or("");
        let mut breaches = Vec::new();
        if version != "HTTP/1.1" || words.next().is_some() {
            breaches.push(format!("request line {:?}", head.first_line));
        }
        if head.fields.all("host").count() != 1 {
            breaches.push("not exactly one Host".to_owned());
        }
        for name in [
            "keep-alive",
            "proxy-connection",
            "te",
            "trailer",
            "upgrade",
            "proxy-authorization",
        ] {
            if head.fields.first(name).is_some() {
                breaches.push(format!("hop-by-hop field {name}"));
            }
        }
        Self {
            method,
            target,
            head,
            breaches,
            ..Self::default()
        }
    }

    pub(super) fn framing(&mut self) -> Framing {
        self.head.framing(Framing::Nothing).unwrap_or_else(|cut| {
            self.breaches.push(format!("{cut:?}"));
            Framing::Nothing
        })
    }

    /// The first value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.fields.first(name)
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or("")
    }

    /// The id under which the gateway knows this request.
    pub fn request_id(&self) -> Option<&str> {
        self.header("x-request-id")
    }

    /// The key behind `Bearer `.
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// The body as JSON; `Null` if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// `model` of a JSON body or of a form.
    pub fn model(&self) -> Option<String> {
        if let Some(model) = self.json()["model"].as_str() {
            return Some(model.to_owned());
        }
        let part = memmem::find(&self.body, b"name=\"model\"")?;
        let value = memmem::find(&self.body[part..], b"\r\n\r\n")? + part + 4;
        let length = memmem::find(&self.body[value..], b"\r\n")?;
        let model = &self.body[value..value + length];
        String::from_utf8(model.to_vec()).ok()
    }

    pub fn wants_stream(&self) -> bool {
        self.json()["stream"] == Value::Bool(true)
    }

    pub fn wants_usage(&self) -> bool {
        self.json()["stream_options"]["include_usage"] == Value::Bool(true)
    }

    pub(super) fn wants_close(&self) -> bool {
        let says_close = |value: &str| value.eq_ignore_ascii_case("close");
        self.head.first_line.ends_with("HTTP/1.0")
            || self.head.fields.all("connection").any(says_close)
    }
}

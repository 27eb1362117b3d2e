use bytes::{Bytes, BytesMut};
use serde_json::Value;

/// A request being built. Nothing is checked, so it may be wrong on purpose.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    target: String,
    version: String,
    headers: Vec<(String, String)>,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    None,
    Length(Bytes),
    Chunked(Vec<Bytes>),
}

impl Request {
    /// Whether its answer has no body, whatever the head says.
    pub(super) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            version: "HTTP/1.1".to_owned(),
            headers: vec![("Host".to_owned(), "localhost".to_owned())],
            body: Body::None,
        }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub fn post(target: &str) -> Self {
        Self::new("POST", target)
    }

    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// Adds a header line, even if there is one of this name.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes every header of this name, `Host` too.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    #[must_use]
    pub fn bearer(self, key: &str) -> Self {
        self.header("Authorization", &format!("Bearer {key}"))
    }

    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json")
            .body(body.to_string())
    }

    /// A body with its `Content-Length`.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Body::Length(body.into());
        self
    }

    /// A chunked body, one chunk each; an empty piece would end it.
    #[must_use]
    pub fn chunked(mut self, pieces: impl IntoIterator<Item = impl Into<Bytes>>) -> Self {
        self.body = Body::Chunked(pieces.into_iter().map(Into::into).collect());
        self
    }

    /// The whole message.
    pub fn bytes(&self) -> Bytes {
        let mut bytes = BytesMut::from(self.head().as_bytes());
        match &self.body {
            Body::None => {}
            Body::Length(body) => bytes.extend_from_slice(body),
            Body::Chunked(pieces) => {
                for piece in pieces {
                    bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    bytes.extend_from_slice(piece);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            }
        }
        bytes.freeze()
    }

    /// The head alone, for tests that send the body by other means.
    pub fn head(&self) -> String {
        let mut head = format!("{} {} {}\r\n", self.method, self.target, self.version);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match &self.body {
            Body::None => {}
            Body::Length(body) => head.push_str(&format!("Content-Length: {}\r\n", body.len())),
            Body::Chunked(_) => head.push_str("Transfer-Encoding: chunked\r\n"),
        }
        head.push_str("\r\n");
        head
    }
}

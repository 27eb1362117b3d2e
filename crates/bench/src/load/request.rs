//! The request: made once, then cloned for every send.

use super::agent;
use crate::Result;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use std::cell::Cell;
use std::net::SocketAddr;
use std::str::FromStr;

/// Options that `load` and `hold` share.
#[derive(clap::Args, Clone)]
pub struct Target {
    /// Where to send, as address:port
    pub addr: SocketAddr,
    #[arg(long, default_value = "/v1/chat/completions")]
    pub path: String,
    #[arg(long, default_value = "bench-model")]
    pub model: String,
    /// A further header, as "Name: value"; may be repeated
    #[arg(short = 'H', long = "header")]
    pub headers: Vec<String>,
    /// Ask for a stream
    #[arg(long)]
    pub stream: bool,
    /// Ask for the usage chunk of a stream
    #[arg(long)]
    pub usage: bool,
    /// Chunks that the mock puts into a stream; more or fewer is an error
    #[arg(long, default_value_t = 64)]
    pub chunks: u64,
    /// Bytes of prompt: 256, 32k, 1m
    #[arg(long, default_value = "256")]
    pub prompt: Size,
    /// Send the turns of a coding agent's session instead, again and again
    #[arg(long)]
    pub agent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub usize);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let (digits, unit) = match lower.strip_suffix('k') {
            Some(digits) => (digits, 1 << 10),
            None => lower
                .strip_suffix('m')
                .map_or((lower.as_str(), 1), |digits| (digits, 1 << 20)),
        };
        let number = digits
            .parse::<usize>()
            .map_err(|_| format!("{text:?} is not a size"))?;
        number
            .checked_mul(unit)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is too much"))
    }
}

pub struct Template {
    pub addr: SocketAddr,
    pub stream: bool,
    pub chunks: u64,
    uri: Uri,
    headers: HeaderMap,
    /// Sent in turn.
    bodies: Vec<Bytes>,
    sent: Cell<usize>,
}

impl Template {
    pub fn new(target: &Target) -> Result<Self> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(&target.addr.to_string())?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for header in &target.headers {
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| format!("--header {header:?} has no colon"))?;
            headers.append(
                HeaderName::from_str(name.trim())?,
                HeaderValue::from_str(value.trim())?,
            );
        }
        Ok(Self {
            addr: target.addr,
            stream: target.stream,
            chunks: target.chunks,
            uri: target.path.parse()?,
            headers,
            bodies: match target.agent {
                true => agent::turns(&target.model, flags(target)),
                false => vec![body(target)],
            },
            sent: Cell::new(0),
        })
    }

    pub fn request(&self) -> Request<Full<Bytes>> {
        let number = self.sent.replace(self.sent.get() + 1);
        let body = &self.bodies[number % self.bodies.len()];
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

fn body(target: &Target) -> Bytes {
    let model = serde_json::Value::from(target.model.as_str());
    let text = prompt(target.prompt.0);
    let what = match target.path.ends_with("/embeddings") {
        true => format!(r#""input":"{text}""#),
        false => format!(r#""messages":[{{"role":"user","content":"{text}"}}]"#),
    };
    // The model comes last, so that a gateway has to scan the prompt to find it. Real clients choose the order
    // themselves, too.
    Bytes::from(format!(
        r#"{{{what}{},"max_tokens":64,"model":{model}}}"#,
        flags(target)
    ))
}

const fn flags(target: &Target) -> &'static str {
    match (target.stream, target.usage) {
        (false, _) => "",
        (true, false) => r#","stream":true"#,
        (true, true) => r#","stream":true,"stream_options":{"include_usage":true}"#,
    }
}

/// Lines of words. Escapes are about as frequent as in real prompts, because scanning for them is part of the cost.
pub fn prompt(bytes: usize) -> String {
    const LINE: &str =
        r"The quick brown fox said \u201cjump\u201d to the lazy dog, and nobody moved at all.\n";
    let mut text = LINE.repeat(bytes / LINE.len());
    text.extend(std::iter::repeat_n('x', bytes - text.len()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(
            ["256", "32k", "1M"].map(|text| text.parse()),
            [Ok(Size(256)), Ok(Size(32 << 10)), Ok(Size(1 << 20))]
        );
        assert!("k".parse::<Size>().is_err() && "1g".parse::<Size>().is_err());
    }

    #[test]
    fn bodies_are_json_for_every_kind_of_request() {
        for (path, stream, usage) in [
            ("/v1/chat/completions", false, false),
            ("/v1/embeddings", false, false),
            ("/v1/chat/completions", true, true),
        ] {
            let target = Target {
                addr: SocketAddr::from(([127, 0, 0, 1], 80)),
                path: path.into(),
                model: "a\"b".into(),
                headers: vec!["authorization: Bearer x".into()],
                stream,
                usage,
                chunks: 64,
                prompt: Size(1000),
                agent: false,
            };
            let value: serde_json::Value = serde_json::from_slice(&body(&target)).unwrap();
            assert_eq!(value["model"], "a\"b");
            assert_eq!(value["stream"] == true, stream);
            assert!(
                Template::new(&target)
                    .unwrap()
                    .request()
                    .headers()
                    .contains_key("authorization")
            );
        }
        assert_eq!(prompt(1000).len(), 1000);
    }
}

use std::net::IpAddr;
use std::time::Duration;

use form_urlencoded::parse;
use http::{StatusCode, header, request};
use http_body_util::{BodyExt as _, Limited};

use super::answer::Fault;
use crate::identify::Sender;
use crate::listen::Inbound;

/// A longer form was not filled in by hand.
const LONGEST: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// A request of a browser.
pub(super) struct Asked {
    pub head: request::Parts,
    pub sender: Sender,
    pub request_id: String,
    /// The path up to where the pages begin: "" or the base path.
    pub prefix: String,
    pub captures: Vec<String>,
    form: Vec<(String, String)>,
}

impl Asked {
    /// Reads the whole request.
    pub async fn read(
        mut inbound: Inbound,
        prefix: String,
        captures: Vec<String>,
    ) -> Result<Self, Fault> {
        let mut form = Vec::new();
        if inbound.head.method == http::Method::POST {
            let kind = inbound.head.headers.get(header::CONTENT_TYPE);
            let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            if !kind.starts_with("application/x-www-form-urlencoded") {
                return Err(Fault::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "This page takes forms only.",
                ));
            }
            let body = Limited::new(&mut inbound.body, LONGEST).collect();
            let Ok(Ok(body)) = tokio::time::timeout(PATIENCE, body).await else {
                return Err(Fault::new(
                    StatusCode::BAD_REQUEST,
                    "The form did not arrive, or is too long.",
                ));
            };
            form = pairs(&body.to_bytes());
        }
        Ok(Self {
            sender: Sender::of(&inbound),
            request_id: inbound.id.to_string(),
            head: inbound.head,
            prefix,
            captures,
            form,
        })
    }

    pub fn origin_ip(&self) -> IpAddr {
        self.sender.origin_ip
    }

    /// What a placeholder of the pattern stands for.
    pub fn capture(&self, index: usize) -> &str {
        self.captures.get(index).map_or("", String::as_str)
    }

    pub fn raw_query(&self) -> &str {
        self.head.uri.query().unwrap_or_default()
    }

    /// The last value of this name in the query.
    pub fn query(&self, name: &str) -> Option<String> {
        let named = parse(self.raw_query().as_bytes()).filter(|(key, _)| key == name);
        let value = named.last().map(|(_, value)| value.trim().to_owned());
        value.filter(|value| !value.is_empty())
    }

    /// The first value of this name in the form, without spaces around it.
    pub fn field(&self, name: &str) -> &str {
        let mut fields = self.form.iter();
        fields
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value.trim())
    }

    /// The words of all fields of this name.
    pub fn words(&self, name: &str) -> Vec<String> {
        let fields = self.form.iter().filter(|(key, _)| key == name);
        let words = fields.flat_map(|(_, value)| value.split([',', ' ', '\n', '\r', '\t']));
        words
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// All fields of this name, as they are.
    pub fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let fields = self.form.iter().filter(move |(key, _)| key == name);
        fields
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// A cookie; one that stands twice is none, because nobody can say which is ours.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let lines = self.head.headers.get_all(header::COOKIE).iter();
        let lines = lines.filter_map(|line| line.to_str().ok());
        let mut found = lines.flat_map(|line| line.split(';')).filter_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then_some(value)
        });
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }
}

fn pairs(bytes: &[u8]) -> Vec<(String, String)> {
    let pairs = parse(bytes).map(|(key, value)| (key.into_owned(), value.into_owned()));
    pairs.collect()
}

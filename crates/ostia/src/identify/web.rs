use bytes::Bytes;
use http::StatusCode;
use ostia_core::{BoxFuture, Secret};

use crate::catalog::HttpUrl;

/// How identity providers are reached. This room comes before the one that holds the HTTP client, so it says here what it
/// needs and `app` brings the two together.
///
/// Whoever implements it bounds the call: a time limit, a size limit of the answer, and no redirect is followed.
pub trait Web: Send + Sync + 'static {
    fn call(&self, request: WebRequest) -> BoxFuture<'_, Result<WebAnswer, WebFault>>;
}

/// A GET, or a POST of a form.
#[derive(Debug, Clone)]
pub struct WebRequest {
    pub url: HttpUrl,
    /// `application/x-www-form-urlencoded`; a token is in it.
    pub form: Option<Secret<String>>,
    /// The whole value of `Authorization`.
    pub authorization: Option<Secret<String>>,
}

#[derive(Debug, Clone)]
pub struct WebAnswer {
    pub status: StatusCode,
    /// As the provider wrote it, if it did.
    pub content_type: Option<String>,
    pub body: Bytes,
}

/// Why there is no usable answer. The texts are for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebFault {
    #[error("no answer in time")]
    Timeout,
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    #[error("the answer broke off: {0}")]
    Broken(String),
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
}

impl WebRequest {
    pub fn get(url: HttpUrl) -> Self {
        Self {
            url,
            form: None,
            authorization: None,
        }
    }

    /// Fields in the order given.
    pub fn post(url: HttpUrl, fields: &[(&str, &str)]) -> Self {
        let form: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", form_encode(value)))
            .collect();
        Self {
            url,
            form: Some(Secret::new(form.join("&"))),
            authorization: None,
        }
    }

    pub fn authorized(mut self, value: Secret<String>) -> Self {
        self.authorization = Some(value);
        self
    }
}

/// `application/x-www-form-urlencoded` (WHATWG URL section 5.2).
pub fn form_encode(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            // Writing to a String cannot fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

/// A URL one level below a base, whatever slash either brings.
pub(super) fn below(base: &HttpUrl, path: &str) -> HttpUrl {
    HttpUrl {
        path: format!("{}{path}", base.path.trim_end_matches('/')).into(),
        query: None,
        ..base.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::{WebRequest, below, form_encode};
    use crate::catalog::HttpUrl;

    #[test]
    fn forms_are_encoded() {
        assert_eq!(form_encode("a,b c&d=é~"), "a%2Cb+c%26d%3D%C3%A9%7E");
        let url = HttpUrl::parse("https://idp.example/base/").unwrap();
        assert_eq!(&*below(&url, "/v2/x").path, "/base/v2/x");
        let request = WebRequest::post(url, &[("token", "t+/="), ("include", "a,b")]);
        assert_eq!(
            request.form.as_ref().unwrap().expose(),
            "token=t%2B%2F%3D&include=a%2Cb"
        );
        assert!(!format!("{request:?}").contains("t%2B"));
    }
}

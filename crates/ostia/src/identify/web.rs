use bytes::Bytes;
use http::StatusCode;
use ostia_core::{BoxFuture, Secret};

use crate::catalog::HttpUrl;

/// How identity providers are reached. This room comes before the one that holds the HTTP client, so it says here what it
/// needs and `app` brings the two together.
///
/// Implementations limit the call: a time limit, a size limit for the answer, and no redirects.
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
    /// As the provider sent it, if it did.
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
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        Self {
            url,
            form: Some(Secret::new(form.finish())),
            authorization: None,
        }
    }

    pub fn authorized(mut self, value: Secret<String>) -> Self {
        self.authorization = Some(value);
        self
    }
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
    use super::{WebRequest, below};
    use crate::catalog::HttpUrl;

    #[test]
    fn forms_are_encoded() {
        let url = HttpUrl::parse("https://idp.example/base/").unwrap();
        assert_eq!(&*below(&url, "/v2/x").path, "/base/v2/x");
        let request = WebRequest::post(url, &[("token", "t+/="), ("include", "a,b c&d=é~")]);
        assert_eq!(
            request.form.as_ref().unwrap().expose(),
            "token=t%2B%2F%3D&include=a%2Cb+c%26d%3D%C3%A9%7E"
        );
        assert!(!format!("{request:?}").contains("t%2B"));
    }
}

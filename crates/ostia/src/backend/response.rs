use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, response};
use ostia_core::Identity;

use super::AdapterError;
use super::headers::may_be_shown;
use crate::catalog::Deployment;

/// The head of a backend's answer before anything of it is passed on, and whose it is.
pub struct ResponseContext<'a> {
    pub principal: &'a Identity,
    pub deployment: &'a Deployment,
    head: &'a mut response::Parts,
    shown: &'a mut HeaderMap,
}

impl<'a> ResponseContext<'a> {
    pub(super) fn new(
        principal: &'a Identity,
        deployment: &'a Deployment,
        head: &'a mut response::Parts,
        shown: &'a mut HeaderMap,
    ) -> Self {
        Self {
            principal,
            deployment,
            head,
            shown,
        }
    }

    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Another status in the place of the backend's, which the ledger keeps. It is read as if the backend had said it:
    /// a 429 is relayed as a refusal, a 500 is 502 to the client.
    pub fn set_status(&mut self, status: u16) -> Result<(), AdapterError> {
        match StatusCode::from_u16(status) {
            Ok(status) if (200..=599).contains(&status.as_u16()) => {
                self.head.status = status;
                Ok(())
            }
            _ => Err(AdapterError::Failed(format!(
                "{status} is no status of an answer"
            ))),
        }
    }

    /// A header that the client gets.
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<(), AdapterError> {
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .filter(may_be_shown)
            .zip(HeaderValue::from_str(value).ok());
        let Some((name, value)) = parsed else {
            let why = format!("the answer's header `{name}` may not be set to that");
            return Err(AdapterError::Failed(why));
        };
        // The gateway itself reads the one, the client gets the other.
        self.head.headers.insert(name.clone(), value.clone());
        self.shown.insert(name, value);
        Ok(())
    }

    /// The client does not get this header of the backend's.
    pub fn remove_header(&mut self, name: &str) {
        self.head.headers.remove(name);
        self.shown.remove(name);
    }
}

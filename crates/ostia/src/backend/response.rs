use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, response};
use ostia_core::Identity;

use super::AdapterError;
use super::headers::may_be_shown;
use crate::catalog::Deployment;

/// The head of a backend's response before any of it is sent to the client, and the endpoint it came from.
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

    /// Replaces the backend's status, which the ledger still records. The new status is treated as if the backend had
    /// sent it: a 429 is relayed as a refusal, a 500 becomes 502 for the client.
    pub fn set_status(&mut self, status: u16) -> Result<(), AdapterError> {
        match StatusCode::from_u16(status) {
            Ok(status) if (200..=599).contains(&status.as_u16()) => {
                self.head.status = status;
                Ok(())
            }
            _ => Err(AdapterError::Failed(format!(
                "{status} is not a valid response status"
            ))),
        }
    }

    /// Sets a header that the client gets.
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<(), AdapterError> {
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .filter(may_be_shown)
            .zip(HeaderValue::from_str(value).ok());
        let Some((name, value)) = parsed else {
            let why = format!("the response header `{name}` may not be set to this value");
            return Err(AdapterError::Failed(why));
        };
        // The gateway itself reads the first, the client gets the second.
        self.head.headers.insert(name.clone(), value.clone());
        self.shown.insert(name, value);
        Ok(())
    }

    /// Removes one of the backend's headers from the client's response.
    pub fn remove_header(&mut self, name: &str) {
        self.head.headers.remove(name);
        self.shown.remove(name);
    }
}

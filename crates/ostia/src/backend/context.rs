use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use ostia_core::{Identity, RequestId, Secret};
use serde_json::Value;

use super::AdapterError;
use super::draft::Draft;
use super::edits::{Edits, Original};
use super::headers::{is_never_forwarded, may_be_sent};
use super::hooked::Hooked;
use crate::cache::Cache;
use crate::catalog::{ApiUrl, Deployment};
use crate::fleet::ModelState;
use crate::read::Call;
use crate::upstream::{Http, Outgoing};

/// What an adapter sees of a request, and the request to the backend, which it may change.
pub struct RequestContext<'a> {
    pub principal: &'a Identity,
    pub deployment: &'a Arc<Deployment>,
    pub call: &'a Call,
    caller: Caller<'a>,
    http: &'a Http,
    cache: &'a Arc<Cache>,
    /// Starts as the request that the direct API would send.
    outgoing: Outgoing,
    /// The client's body, if it is JSON.
    original: Option<Original>,
    edits: Edits,
    /// What the gateway itself adds to the body.
    cache_salt: Option<String>,
    /// The first forbidden change. It ends the request even if the adapter ignores the error.
    fault: Option<AdapterError>,
}

const LONGEST_SILENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// The sender of a request, as far as adapters may know.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub principal: &'a Identity,
    pub id: RequestId,
    pub headers: &'a HeaderMap,
}

impl<'a> RequestContext<'a> {
    pub(super) fn new(
        caller: Caller<'a>,
        deployment: &'a Arc<Deployment>,
        call: &'a Call,
        hooked: &'a Hooked,
        outgoing: Outgoing,
        original: Option<Original>,
    ) -> Self {
        Self {
            principal: caller.principal,
            deployment,
            call,
            caller,
            http: &hooked.http,
            cache: &hooked.cache,
            outgoing,
            original,
            edits: Edits::default(),
            cache_salt: None,
            fault: None,
        }
    }

    pub(super) fn with_cache_salt(self, cache_salt: Option<String>) -> Self {
        Self { cache_salt, ..self }
    }

    /// The whole `config` of the endpoint's entry.
    pub fn config(&self) -> &'a Value {
        &self.deployment.config
    }

    /// The model's state as the cluster last reported it, without asking.
    pub fn model_state(&self) -> ModelState {
        self.deployment.state.model_state()
    }

    /// The gateway's id of the request. The backend gets it, and the ledger keeps it.
    pub fn request_id(&self) -> RequestId {
        self.caller.id
    }

    /// The caller's session id: the first of `routing.session_headers` that it sent.
    pub fn session(&self) -> Option<&'a str> {
        self.call.session.as_deref()
    }

    /// One of the caller's headers, if `forward_headers` may name it; never its credentials.
    pub fn header(&self, name: &str) -> Option<&'a HeaderValue> {
        visible(self.caller.headers, name)
    }

    /// All such headers.
    pub(super) fn visible_headers(&self) -> HeaderMap {
        let headers = self.caller.headers.iter();
        headers
            .filter(|(name, _)| !is_never_forwarded(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// The value of an environment variable that `config.secrets` lists.
    pub fn secret(&self, name: &str) -> Option<&'a Secret<String>> {
        self.deployment.secrets.get(name)
    }

    /// HTTP to the endpoint's own host and its `allowed_hosts`, with its TLS, proxy and timeouts. After
    /// `http().clone().with_key()` it sends the endpoint's key, too.
    pub fn http(&self) -> &'a Http {
        self.http
    }

    /// A small cache that all adapters share.
    pub fn cache(&self) -> &'a Arc<Cache> {
        self.cache
    }

    /// Writes a line to the gateway's log, with the endpoint's name.
    pub fn log(&self, text: &str) {
        tracing::info!(endpoint = &*self.deployment.slug, "{text}");
    }

    /// The body that the client sent or that was set since, without edits to its fields.
    pub fn body(&self) -> &[u8] {
        self.edits.body.as_ref().unwrap_or(&self.call.body)
    }

    /// A top-level field of a JSON body, including edits so far; `None` if absent.
    pub fn field(&self, name: &str) -> Option<Value> {
        self.edits.field(self.original.as_ref()?, name)
    }

    pub fn set_field(&mut self, name: &str, value: impl Into<Value>) {
        self.edits.set(name, Some(value.into()));
    }

    pub fn remove_field(&mut self, name: &str) {
        self.edits.set(name, None);
    }

    /// Replaces the client's body. A JSON body must stay JSON.
    pub fn set_body(&mut self, body: impl Into<Bytes>) {
        self.edits.body = Some(body.into());
    }

    /// The headers that the backend will get, including the endpoint's own key.
    pub fn headers(&self) -> &HeaderMap {
        &self.outgoing.headers
    }

    /// The body that the backend will get if nothing more is changed. Compute signatures over this.
    pub fn final_body(&self) -> Result<Bytes, AdapterError> {
        self.draft()
            .render(self.edits.clone())
            .map(|written| written.body())
    }

    pub fn set_header(&mut self, name: &str, value: &str) -> Result<(), AdapterError> {
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .filter(may_be_sent)
            .zip(HeaderValue::from_str(value).ok());
        let Some((name, mut value)) = parsed else {
            return self.fail(format!("the header `{name}` may not be set to this value"));
        };
        value.set_sensitive(name == http::header::AUTHORIZATION);
        self.outgoing.headers.insert(name, value);
        Ok(())
    }

    /// Removes a header from the request. The endpoint's own key is in `authorization`.
    pub fn remove_header(&mut self, name: &str) -> Result<(), AdapterError> {
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) if may_be_sent(&name) => {
                self.outgoing.headers.remove(name);
                Ok(())
            }
            _ => self.fail(format!("the header `{name}` may not be removed")),
        }
    }

    /// The longest silence of the backend, for this request only; at most a day. `total_timeout` still applies.
    pub fn set_timeout(&mut self, silence: Duration) {
        let silence = silence.min(LONGEST_SILENCE);
        self.outgoing.timeouts.response_header = Some(silence);
        self.outgoing.timeouts.stream_idle = Some(silence);
    }

    /// Uses another `api_url` for this request: on the endpoint's own host or one of its `allowed_hosts`, with the same
    /// scheme, never link-local. Anything else ends the request, even if the adapter ignores the error.
    pub fn set_api_url(&mut self, url: &str) -> Result<(), AdapterError> {
        let url = match ApiUrl::parse(url) {
            Ok(url) => url,
            Err(fault) => return self.fail(format!("set_api_url: the URL {fault}")),
        };
        if let Err(error) = crate::upstream::Reach::of(&self.deployment.target).check(&url.origin) {
            return self.fail(format!("set_api_url: {error}"));
        }
        let api = self.call.api.as_str();
        let mut path = match self.deployment.target.paths.get(api) {
            Some(path) => path.clone(),
            None => format!("{}/{api}", url.base_path),
        };
        if let Some(query) = &url.query {
            path = format!("{path}?{query}");
        }
        self.outgoing.path_and_query = path;
        self.outgoing.origin = Some(url.origin);
        Ok(())
    }

    fn fail(&mut self, why: String) -> Result<(), AdapterError> {
        let error = AdapterError::Failed(why);
        self.fault.get_or_insert_with(|| error.clone());
        Err(error)
    }

    /// The request that will be sent.
    pub(super) fn finish(mut self) -> Result<Outgoing, AdapterError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.edits.is_empty() {
            return Ok(self.outgoing);
        }
        let written = self.draft().render(std::mem::take(&mut self.edits))?;
        self.outgoing.stream = written.stream;
        self.outgoing.body = written.pieces;
        Ok(self.outgoing)
    }

    pub(super) fn draft(&self) -> Draft {
        Draft::of(
            self.call,
            self.original.as_ref(),
            self.deployment,
            &self.outgoing,
            self.cache_salt.clone(),
        )
    }
}

/// A header of the caller that adapters may see.
pub(super) fn visible<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a HeaderValue> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    headers.get(&name).filter(|_| !is_never_forwarded(&name))
}

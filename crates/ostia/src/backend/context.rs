use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use ostia_core::Identity;
use serde_json::{Value, json};

use super::AdapterError;
use super::edits::Edits;
use super::prepare::injects_usage;
use crate::cache::Cache;
use crate::catalog::{ApiUrl, Deployment};
use crate::fleet::ModelState;
use crate::read::{Call, Form};
use crate::upstream::{Http, Outgoing};

/// What an adapter sees of a request, and the request to the backend, which it may change.
pub struct RequestContext<'a> {
    pub principal: &'a Identity,
    pub deployment: &'a Arc<Deployment>,
    pub call: &'a Call,
    http: &'a Http,
    cache: &'a Arc<Cache>,
    /// As the direct API would send it.
    outgoing: Outgoing,
    edits: Edits,
    /// The first thing that was asked for and may not be: it stands even if the adapter ignores it.
    fault: Option<AdapterError>,
}

const LONGEST_SILENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// Headers that the gateway writes itself.
const OWN_HEADERS: [&str; 11] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "keep-alive",
    "accept-encoding",
    "x-request-id",
];

impl<'a> RequestContext<'a> {
    pub(super) fn new(
        principal: &'a Identity,
        deployment: &'a Arc<Deployment>,
        call: &'a Call,
        http: &'a Http,
        cache: &'a Arc<Cache>,
        outgoing: Outgoing,
    ) -> Self {
        Self {
            principal,
            deployment,
            call,
            http,
            cache,
            outgoing,
            edits: Edits::default(),
            fault: None,
        }
    }

    /// The `config` of the endpoint's entry, whole.
    pub fn config(&self) -> &'a Value {
        &self.deployment.config
    }

    /// What the cluster last said of the model; asks nobody.
    pub fn model_state(&self) -> ModelState {
        self.deployment.state.model_state()
    }

    /// HTTP to the endpoint's own host and its `allowed_hosts`, with its TLS, proxy and timeouts.
    pub fn http(&self) -> &'a Http {
        self.http
    }

    /// A small memory that all adapters share.
    pub fn cache(&self) -> &'a Arc<Cache> {
        self.cache
    }

    /// Writes a line to the gateway's log, with the endpoint's name.
    pub fn log(&self, text: &str) {
        tracing::info!(endpoint = &*self.deployment.slug, "{text}");
    }

    /// The body as the client sent it, or as it was set since; edited fields are not in it.
    pub fn body(&self) -> &[u8] {
        self.edits.body.as_ref().unwrap_or(&self.call.body)
    }

    /// A top-level field of a JSON body, with the edits so far. `None`: not there.
    pub fn field(&self, name: &str) -> Option<Value> {
        match self.call.form {
            Form::Json => self.edits.field(&self.call.body, name),
            Form::Multipart => None,
        }
    }

    pub fn set_field(&mut self, name: &str, value: impl Into<Value>) {
        self.edits.set(name, Some(value.into()));
    }

    pub fn remove_field(&mut self, name: &str) {
        self.edits.set(name, None);
    }

    /// Another body in the place of the client's. JSON stays JSON.
    pub fn set_body(&mut self, body: impl Into<Bytes>) {
        self.edits.body = Some(body.into());
    }

    /// The headers that the backend will get, the endpoint's own key among them.
    pub fn headers(&self) -> &HeaderMap {
        &self.outgoing.headers
    }

    pub fn set_header(&mut self, name: &str, value: &str) -> Result<(), AdapterError> {
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .filter(|name| !OWN_HEADERS.contains(&name.as_str()))
            .zip(HeaderValue::from_str(value).ok());
        let Some((name, mut value)) = parsed else {
            return self.fail(format!("the header `{name}` may not be set to that"));
        };
        value.set_sensitive(name == http::header::AUTHORIZATION);
        self.outgoing.headers.insert(name, value);
        Ok(())
    }

    /// The longest silence of the backend, for this request only; more than a day is a day. `total_timeout` holds still.
    pub fn set_timeout(&mut self, silence: Duration) {
        let silence = silence.min(LONGEST_SILENCE);
        self.outgoing.timeouts.response_header = Some(silence);
        self.outgoing.timeouts.stream_idle = Some(silence);
    }

    /// Another `api_url` for this request only: on the host of the endpoint's own, or on one of its `allowed_hosts`,
    /// with the same scheme, never link-local. Anything else ends the request, whether or not the adapter goes on.
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

    /// The request as it will be sent.
    pub(super) fn finish(mut self) -> Result<Outgoing, AdapterError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.edits.is_empty() {
            return Ok(self.outgoing);
        }
        let body = match self.call.form {
            Form::Json => self.edited_json()?,
            Form::Multipart if self.edits.fields.is_empty() => {
                self.edits.body.take().unwrap_or_default()
            }
            Form::Multipart => {
                let why = "the fields of a form cannot be changed one by one";
                return Err(AdapterError::Failed(why.to_owned()));
            }
        };
        self.outgoing.body = vec![body];
        Ok(self.outgoing)
    }

    fn edited_json(&mut self) -> Result<Bytes, AdapterError> {
        self.judge_stream()?;
        // Where the adapter left the client's model, the backend gets the name it knows.
        let named = self.field("model");
        if named.as_ref().and_then(Value::as_str) == Some(&*self.call.model) {
            self.set_field("model", &*self.deployment.upstream_model);
        }
        if self.outgoing.stream && injects_usage(self.deployment, self.call) {
            self.ask_for_usage();
        }
        if !self.outgoing.stream && self.call.stream {
            // Backends refuse these options on an answer that is no stream.
            self.remove_field("stream_options");
        }
        let text = self
            .edits
            .apply(&self.call.body)
            .map_err(AdapterError::Failed)?;
        Ok(text.into())
    }

    /// A client that asked for a stream may be given a whole answer; one that did not cannot be given a stream.
    fn judge_stream(&mut self) -> Result<(), AdapterError> {
        let stream = match self.field("stream") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(stream)) => stream,
            Some(_) => {
                let why = "the field `stream` was set to something that is no boolean";
                return Err(AdapterError::Failed(why.to_owned()));
            }
        };
        if stream && !self.call.stream {
            let why = "`stream` was turned on for a client that did not ask for it";
            return Err(AdapterError::Failed(why.to_owned()));
        }
        self.outgoing.stream = stream;
        Ok(())
    }

    fn ask_for_usage(&mut self) {
        let options = match self.field("stream_options") {
            Some(Value::Object(mut options)) => {
                options
                    .entry("include_usage")
                    .and_modify(|value| {
                        if value.is_null() || *value == Value::Bool(false) {
                            *value = Value::Bool(true);
                        }
                    })
                    .or_insert(Value::Bool(true));
                Value::Object(options)
            }
            None | Some(Value::Null) => json!({"include_usage": true}),
            Some(_) => return,
        };
        self.set_field("stream_options", options);
    }
}

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::AdapterError;
use super::edits::{Edits, Original};
use super::prepare::injects_usage;
use crate::catalog::Deployment;
use crate::dialect::CACHE_SALT;
use crate::read::Call;
use crate::upstream::Outgoing;

/// A body that is not written yet, and what is needed to write it.
#[derive(Clone)]
pub(super) struct Draft {
    /// The client's body, if it is JSON.
    original: Option<Original>,
    /// The model's name, as the client wrote it and as the backend knows it.
    model: Box<str>,
    upstream_model: Arc<str>,
    /// Whether the client asked for a stream.
    stream: bool,
    injects_usage: bool,
    cache_salt: Option<String>,
    /// What is sent if nothing is changed.
    pieces: Vec<Bytes>,
}

/// A body as the backend will get it.
pub(super) struct Written {
    pub pieces: Vec<Bytes>,
    /// Whether it asks for a stream.
    pub stream: bool,
}

impl Written {
    pub fn body(&self) -> Bytes {
        match self.pieces.as_slice() {
            [whole] => whole.clone(),
            pieces => pieces.concat().into(),
        }
    }
}

impl Draft {
    pub fn of(
        call: &Call,
        original: Option<&Original>,
        deployment: &Deployment,
        outgoing: &Outgoing,
        cache_salt: Option<String>,
    ) -> Self {
        Self {
            original: original.cloned(),
            model: call.model.clone(),
            upstream_model: Arc::clone(&deployment.upstream_model),
            stream: call.stream,
            injects_usage: injects_usage(deployment, call),
            cache_salt,
            pieces: outgoing.body.clone(),
        }
    }

    /// A top-level field of a JSON body, including edits so far; `None` if absent.
    pub fn field(&self, edits: &Edits, name: &str) -> Option<Value> {
        edits.field(self.original.as_ref()?, name)
    }

    pub fn render(&self, mut edits: Edits) -> Result<Written, AdapterError> {
        if edits.is_empty() {
            return Ok(Written {
                pieces: self.pieces.clone(),
                stream: self.stream,
            });
        }
        match &self.original {
            Some(original) => self.render_json(original, edits),
            None if edits.fields.is_empty() => Ok(Written {
                pieces: vec![edits.body.take().unwrap_or_default()],
                stream: self.stream,
            }),
            None => {
                let why = "the fields of a form cannot be changed one by one";
                Err(AdapterError::Failed(why.to_owned()))
            }
        }
    }

    fn render_json(&self, original: &Original, mut edits: Edits) -> Result<Written, AdapterError> {
        let stream = self.judge_stream(&edits)?;
        // If the adapter left the client's model alone, the backend gets the name that it knows.
        let named = self.field(&edits, "model");
        if named.as_ref().and_then(Value::as_str) == Some(&*self.model) {
            edits.set("model", Some(Value::from(&*self.upstream_model)));
        }
        if stream && self.injects_usage {
            self.ask_for_usage(&mut edits);
        }
        if let Some(salt) = &self.cache_salt {
            edits.set(CACHE_SALT.name(), Some(Value::from(salt.as_str())));
        }
        if !stream && self.stream {
            // Backends refuse these options unless they stream.
            edits.set("stream_options", None);
        }
        let pieces = edits.apply(original).map_err(AdapterError::Failed)?;
        Ok(Written { pieces, stream })
    }

    /// A client that asked for a stream can also be given a complete response. A client that did not ask cannot be
    /// given a stream.
    fn judge_stream(&self, edits: &Edits) -> Result<bool, AdapterError> {
        let stream = match self.field(edits, "stream") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(stream)) => stream,
            Some(_) => {
                let why = "the field `stream` was set to something that is not a boolean";
                return Err(AdapterError::Failed(why.to_owned()));
            }
        };
        if stream && !self.stream {
            let why = "the adapter turned `stream` on for a client that did not ask for it";
            return Err(AdapterError::Failed(why.to_owned()));
        }
        Ok(stream)
    }

    fn ask_for_usage(&self, edits: &mut Edits) {
        let options = match self.field(edits, "stream_options") {
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
        edits.set("stream_options", Some(options));
    }
}

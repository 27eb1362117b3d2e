use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method};

use super::Reserved;
use crate::dialect::{Api, StreamOptions};
use crate::scan::{FieldKey, Prints, Sightings};

/// A body that was read and scanned. Ranges are byte positions in `body`.
#[derive(Debug)]
pub struct Call {
    pub api: Api,
    /// The decoded value of `model`.
    pub model: Box<str>,
    pub stream: bool,
    /// The client's own cap on output tokens, summed over all choices; `None` if it gave none.
    pub output_cap: Option<u64>,
    /// Some engines would not obey that cap: another one says that there is no end.
    pub may_exceed_cap: bool,
    /// How many choices the model generates.
    pub tries: u64,
    /// How many of them are returned.
    pub choices: u64,
    /// Estimated prompt tokens (a quarter of the text's bytes; a token id counts as one).
    pub prompt_estimate: u64,
    /// Whether the client asked for a usage chunk itself (`stream_options.include_usage`).
    pub wants_usage: bool,
    /// The response that a `responses` call continues; only its maker may continue it.
    pub previous_response_id: Option<Box<str>>,
    /// Fields of the body that some endpoints reserve for the gateway.
    pub reserved_fields: Vec<FieldKey>,
    /// The caller's session, if a header names one.
    pub session: Option<Arc<str>>,
    /// Keyed hashes of the prompt, where they may decide who gets it.
    pub prints: Prints,
    /// What was seen in the body that endpoints may deny.
    pub sightings: Sightings,
    /// Set if the call has no body and asks for something stored.
    pub stored: Option<Stored>,
    pub body: Bytes,
    pub form: Form,
    /// What the backend is told of the body: the gateway's own words, so that it reads what was judged.
    pub content_type: HeaderValue,
    pub splices: Splices,
    /// This call's part of the body budget, returned when the call is dropped.
    pub reserved: Reserved,
}

/// How the body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    Multipart,
}

/// Something that a backend stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub method: Method,
    pub id: Box<str>,
}

/// Where the gateway may have to change the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splices {
    /// The value of `model`: including its quotes in JSON, the bare text in a form.
    pub model: Range<usize>,
    pub stream_options: StreamOptions,
    /// Where a member may be inserted as the first of a JSON body.
    pub first_member: usize,
    /// The block of a prompt in which Claude Code counts its requests.
    pub billing_block: Option<Range<usize>>,
}

/// What a call asks of a model, before anything is known of the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    pub api: Cow<'static, str>,
    /// Estimated prompt tokens.
    pub prompt: u64,
    /// The client's own cap on output tokens, summed over all choices.
    pub output_cap: Option<u64>,
    /// Some engines would not obey that cap.
    pub may_exceed_cap: bool,
    /// How many choices are generated; 0: none, as with embeddings.
    pub choices: u64,
}

impl Call {
    /// A call for something that a backend stores. `reserved`: no bytes.
    pub fn for_stored(api: &Api, stored: Stored, model: &str, reserved: Reserved) -> Self {
        Self {
            api: api.clone(),
            model: model.into(),
            stream: false,
            output_cap: Some(0),
            may_exceed_cap: false,
            tries: 0,
            choices: 0,
            prompt_estimate: 0,
            wants_usage: false,
            previous_response_id: Some(stored.id.clone()),
            reserved_fields: Vec::new(),
            session: None,
            prints: Prints::default(),
            sightings: Sightings::default(),
            stored: Some(stored),
            body: Bytes::new(),
            form: Form::Json,
            content_type: HeaderValue::from_static("application/json"),
            splices: Splices {
                model: 0..0,
                stream_options: StreamOptions::Foreign,
                first_member: 0,
                billing_block: None,
            },
            reserved,
        }
    }

    pub fn method(&self) -> Method {
        self.stored
            .as_ref()
            .map_or(Method::POST, |stored| stored.method.clone())
    }

    /// What it calls at the backend, below the base URL.
    pub fn path(&self) -> Cow<'_, str> {
        match &self.stored {
            Some(stored) => format!("responses/{}", stored.id).into(),
            None => self.api.as_str().into(),
        }
    }

    /// What a limit of tokens has to have room for. Nothing, where no model runs.
    pub fn demand(&self) -> Demand {
        if !self.api.runs_a_model() {
            return Demand::default();
        }
        Demand {
            api: self.api.name(),
            prompt: self.prompt_estimate,
            output_cap: self.output_cap,
            may_exceed_cap: self.may_exceed_cap,
            choices: self.tries,
        }
    }
}

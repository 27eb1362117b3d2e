use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use ostia_core::Cost;

use super::Reserved;
use crate::dialect::{Api, StreamOptions};
use crate::scan::Key;

/// A body that was read and scanned. Ranges are byte positions in `body`.
#[derive(Debug)]
pub struct Call {
    pub api: Api,
    /// The decoded value of `model`.
    pub model: Box<str>,
    pub stream: bool,
    /// The client's own cap on output tokens, of all answers together; `None` if it named none.
    pub output_cap: Option<u64>,
    /// How many answers are made.
    pub tries: u64,
    /// How many of them are given.
    pub choices: u64,
    /// Estimate of the prompt's tokens (a quarter of its text's bytes; a token id counts as one).
    pub prompt_estimate: u64,
    /// Whether the client asked for a usage chunk itself (`stream_options.include_usage`).
    pub wants_usage: bool,
    /// The response that a `responses` call continues; whoever made it must be the caller.
    pub previous_response_id: Option<Box<str>>,
    /// Fields of the body that some endpoints keep to themselves.
    pub reserved_fields: Vec<Key>,
    /// The caller's session, where its headers name one.
    pub session: Option<Arc<str>>,
    pub body: Bytes,
    pub form: Form,
    pub splices: Splices,
    /// The share of the global body budget; given back when the call is dropped.
    pub reserved: Reserved,
}

/// How the body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    Multipart,
}

/// Where the gateway may have to change the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splices {
    /// The value of `model`: with its quotes in JSON, the bare text of the part in a form.
    pub model: Range<usize>,
    pub stream_options: StreamOptions,
    /// Where a member may be inserted as the first of a JSON body.
    pub first_member: usize,
}

impl Call {
    /// What a limit of tokens a minute has to keep free for this call: the prompt's estimate and the most it may
    /// generate. `default_output` is the guess for each answer where the client named no cap.
    pub fn cost(&self, default_output: u64) -> Cost {
        if !self.api.runs_a_model() {
            return Cost::default();
        }
        let (cap, guessed) = match self.output_cap {
            Some(cap) => (cap, 0),
            None => (0, default_output.saturating_mul(self.tries)),
        };
        Cost {
            named: self.prompt_estimate.saturating_add(cap),
            guessed,
        }
    }
}

//! In: what the scan found in a body, a response's events as they pass, a refusal. Out: an [`Api`] and its [`Dialect`]:
//! the facts that the gateway acts on, the usage, errors in the client's format.
//! Here: everything the gateway knows of each API. Not here: sockets, backends, who may do what.
//!
//! To add a dialect:
//!
//! 1. Write `dialect/NAME.rs`: a unit struct that implements [`Dialect`]. `services` lists its APIs, `keys` what the
//!    scan looks for. The trait's defaults do whatever it shares with OpenAI; `messages.rs` shows one that shares
//!    nothing.
//! 2. Register it below: `mod NAME;` and a line in [`DIALECTS`], before `PassThrough`.
//! 3. Test it in its own file; a whole request belongs in `ostia-testkit/tests/it/dialects.rs`.
//! 4. Name its APIs in docs/guide.md. The OpenAPI document (accept its snapshot in `routes`), the page of routes and
//!    the endings that `api_url` may have follow by themselves.

mod answer;
mod api;
mod chat;
mod completions;
mod digest;
mod embeddings;
mod event;
mod facts;
mod invalid;
mod long_event;
mod messages;
mod meter;
mod number;
mod openai;
mod pass_through;
mod progress;
mod responses;
mod text;
mod usage;

use std::fmt::Debug;

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

pub use answer::{AnswerFacts, AnswerMembers, is_json, read_answer};
pub use api::{Answers, Api, Service, url_tail};
pub use digest::Digest;
pub use facts::{CACHE_SALT, MODEL, RequestFacts, StreamOptions};
pub use invalid::Invalid;
pub use meter::{Meter, Seen};
pub use progress::Progress;
pub use usage::Counters;

use crate::refusal::{AnswerFault, Refusal};
use crate::scan::{Fields, Keys};

/// Every dialect. The last one takes every API that no other lists.
pub static DIALECTS: [&dyn Dialect; 6] = [
    &chat::Chat,
    &completions::Completions,
    &embeddings::Embeddings,
    &responses::Responses,
    &messages::Messages,
    &pass_through::PassThrough,
];

/// The dialect for requests that are not inference.
pub static PLAIN: &dyn Dialect = &pass_through::PassThrough;

/// How a family of APIs speaks. The defaults are OpenAI's way.
pub trait Dialect: Debug + Send + Sync {
    /// The APIs that speak it.
    fn services(&self) -> &'static [Service];

    /// The control keys of a body: all that `read` asks for, and all that counts as prompt.
    fn keys(&self) -> &'static Keys;

    /// Checks a body and adds its facts to those that all bodies share, which `facts` already has.
    fn read(&self, fields: &Fields<'_>, facts: &mut RequestFacts) -> Result<(), Invalid>;

    /// Whether `stream_options.include_usage` asks for usage in a stream.
    fn takes_stream_options(&self) -> bool {
        false
    }

    /// Whether a complete stream ends with an event that says so.
    fn has_terminal_event(&self) -> bool {
        false
    }

    /// Reads an event of a stream: its data, an object, and the length of the data. For a very long event `data` is a
    /// [`Digest`].
    fn event(&self, data: &[u8], length: usize, progress: &mut Progress) -> Seen {
        openai::chunk(data, length, progress)
    }

    /// Reads a complete response.
    fn answer(&self, answer: &AnswerMembers<'_>) -> AnswerFacts {
        AnswerFacts::of(answer)
    }

    /// The member of a complete response that holds the generated text.
    fn text_member(&self) -> Option<&'static str> {
        None
    }

    /// Estimates the output tokens of a complete response that does not report them.
    fn count_text(&self, answer: &[u8]) -> u64 {
        let member = self.text_member();
        member.map_or(0, |member| text::count_tokens(answer, member))
    }

    /// The response of an API that counts a prompt's tokens, where the gateway estimates them.
    fn counted(&self, estimate: u64) -> Bytes {
        let body =
            json!({"object": "response.input_tokens", "input_tokens": estimate, "estimated": true});
        body.to_string().into()
    }

    /// The status that clients get for a backend's. 529 is Anthropic's word for overload, which no other client knows.
    fn status(&self, backend: StatusCode) -> StatusCode {
        match backend.as_u16() {
            529 => StatusCode::SERVICE_UNAVAILABLE,
            _ => backend,
        }
    }

    /// The body of an error response.
    fn error(&self, refusal: &Refusal) -> Bytes {
        let own = || openai::error(refusal).to_string().into();
        refusal.body.clone().unwrap_or_else(own)
    }

    /// The event that ends a stream of which nothing but the head was sent.
    fn refused_end(&self, refusal: &Refusal) -> Bytes {
        format!("data: {}\n\n", openai::refused(refusal)).into()
    }

    /// The event that ends a broken stream. `events`: how many came before it.
    fn broken_end(&self, fault: AnswerFault, _events: u64) -> Bytes {
        format!("data: {}\n\n", openai::fault(fault)).into()
    }
}

#[cfg(test)]
mod tests;

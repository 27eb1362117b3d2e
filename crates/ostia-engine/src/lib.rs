//! In: requests of OpenAI's and Anthropic's APIs over HTTP/1.1, or a parsed body and the answer's text.
//! Out: answers with the shapes, the pace and the token counts of a model server, and faults on request.
//! Not here: the gateway. Its demo, its tests and its benchmark depend on this crate, never the reverse.
//!
//! - [`Engine`] reads a request and answers as a model would: tools, schemas, `max_tokens`, a pace.
//! - [`Fixed`] gives answers that were rendered before, and reads no more of a request than it must.
//! - [`Turn`] renders one answer, plain or as events: the only code that knows what an answer looks like.
//! - [`Curve`] describes how an engine slows down under load; its `/metrics` show the load.
//! - [`serve`] is the HTTP server of both.

mod ask;
mod body;
mod engine;
mod fault;
mod fixed;
mod load;
mod output;
mod pace;
mod render;
mod schema;
mod server;
mod task;
#[cfg(test)]
mod tests;
mod usage;

pub use ask::Ask;
pub use body::AnswerBody;
pub use engine::{Engine, json_answer};
pub use fault::Fault;
pub use fixed::Fixed;
pub use load::Curve;
pub use output::{End, Output};
pub use pace::Pace;
use render::models;
pub use render::{Api, Event, Stamp, Turn};
pub use server::serve;
pub use usage::{Tokens, UsageShape};

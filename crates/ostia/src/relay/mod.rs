//! In: a [`crate::backend::Answer`] and the [`InFlight`] request that it answers. Out: the client's response, whose
//! body owns the receipt.
//! Here: what a response head means, whole SSE events, the usage meter, keep-alive comments, broken ends.
//! Not here: retries, limits, the texts of errors (`errors` has them). Bytes pass unchanged.

mod backend_error;
mod begin;
mod body;
mod bulk;
mod context;
mod context_error;
mod disclosure;
mod form;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod head;
mod in_flight;
mod indiscreet;
mod outbox;
mod sse;
mod stream;
mod timers;
mod told;

pub use backend_error::{BackendRefusal, RefusalText};
pub use begin::{RelayError, begin};
pub use body::ClientBody;
pub use context::Context;
pub use head::{is_events, stream_head};
pub use in_flight::InFlight;
pub use stream::KEEPALIVE;
pub use told::Told;

//! The one table from causes to answers: status, public code, message, blame, log level.
//!
//! Rooms have small error enums; [`Refusal`] is what becomes of them. Private detail is logged once with the request id
//! ([`Refusal::detail`]) and never sent.

mod codes;
mod fault;
mod limit_headers;
mod refusal;
mod render;
mod table;
#[cfg(test)]
mod tests;

pub use codes::{ERROR_CODES, ErrorCode};
pub use fault::Fault;
pub use limit_headers::limit_headers;
pub use refusal::{Blame, Refusal};
pub use render::broken_stream_event;

//! In: the small error of any room. Out: [`crate::refusal::Refusal`] (status, public code, message, blame), and its
//! bytes.
//! Here: the one table from causes to responses. Private detail is logged once with the request id and never sent.
//! Not here: what went wrong and why; each room knows its own causes.

mod denied;
mod limit_headers;
mod render;
mod table;
#[cfg(test)]
mod tests;

pub use limit_headers::{limit_headers, queue_header, served_header};

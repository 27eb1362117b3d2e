//! In: an [`crate::listen::Inbound`] whose caller is known, and the api that its path names.
//! Out: [`Call`]: the body's bytes and the few facts the gateway acts on, found in one scan.
//! Not here: whether the model exists, who may use it, what it costs.

mod api;
mod budget;
mod call;
pub mod scan;

pub use api::{Api, Dialect};
pub use budget::{Budget, Reserved};
pub use call::{Call, Form, Splices, StreamOptions};

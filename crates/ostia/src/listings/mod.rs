//! In: a [`crate::identify::Principal`] and a catalog. Out: JSON lists of what this caller may see: whoami, endpoints,
//! models.
//! Here: the format of lists. Not here: rules of their own; `authorize` filters everything.

mod anthropic;
mod cluster_models;
mod codex;
mod described;
mod jobs;
mod limits;
mod list_endpoints;
mod me;
mod offers;
mod openai;
mod state;
mod status;
mod whoami;

pub use anthropic::Paging;
pub use cluster_models::cluster_models;
pub use jobs::Audience;
pub use limits::{limits, measure_word};
pub use list_endpoints::list_endpoints;
pub use me::me;
pub use offers::{Offer, offers};
pub use openai::Models;
pub use status::status;
pub use whoami::whoami;

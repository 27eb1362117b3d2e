//! In: requests on the admin listener. Out: health, metrics, and what operators may change.
//! Here: the handlers of the admin listener's routes (`routes::ADMIN_ROUTES`), and the client with which commands call
//! them. The listener is of the same kind as the public one, with small limits of its own. Not here: anything that
//! users call.

mod asked;
mod call;
mod caller;
mod clusters;
mod configuration;
mod drain;
mod endpoints;
mod hosts;
mod limits;
mod maintenance;
mod metrics;
mod page;
mod people;
mod process;
mod ready;
mod reload;
mod server;
mod status;
mod token;
mod upgrade;

pub use call::{AdminAnswer, CallError, call};
pub use drain::endpoint as drain_endpoint;
pub use endpoints::{EndpointReport, reports};
pub use hosts::Hosts;
pub use limits::waiting_of;
pub use metrics::{Family, FamilyKind, families, metrics_text};
pub use page::Page;
pub use server::{Admin, serve};
pub use token::{Token, published};

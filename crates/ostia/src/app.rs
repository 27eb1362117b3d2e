//! Puts the parts together: what a running gateway is made of, and how it starts and stops.

mod gateway;
mod identity_web;
mod parts;
mod running;
mod snapshot;

pub use gateway::Gateway;
pub use identity_web::IdentityWeb;
pub use parts::{Parts, StartError};
pub use running::Running;
pub use snapshot::{Notices, Snapshot};

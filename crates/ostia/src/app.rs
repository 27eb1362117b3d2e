//! Puts the parts together: what a running gateway is made of, and how it starts and stops.

mod gateway;
mod identity_web;
mod maintenance;
mod pages;
mod parts;
mod registry;
mod running;
mod snapshot;
mod workbench;

pub use gateway::Gateway;
pub(crate) use gateway::{NO_ROUTE, begin_access, logged};
pub use identity_web::IdentityWeb;
pub use maintenance::{LiveNotices, Notices, clear_notice, read_notices, set_notice};
pub(crate) use pages::json_answer;
pub use parts::{Parts, StartError};
pub use registry::{BuildError, Builder, Registry};
pub use running::Running;
pub use snapshot::Snapshot;
pub use workbench::Workbench;

//! In: one reading of the files, and what outlives it ([`Workbench`]). Out: [`Snapshot`]: everything that a reload can
//! change, as one value that is swapped whole.
//! Here: building it, and keeping what is equal. Not here: requests, sockets, reading of files.

mod identity_web;
mod notices;
mod snapshot;
mod workbench;

pub use identity_web::IdentityWeb;
pub use notices::{LiveNotices, Notices, clear_notice, client_of, read_notices, set_notice};
pub use snapshot::Snapshot;
pub use workbench::{Registry, Workbench};

//! In: one reading of the files, and what outlives it ([`Workbench`]). Out: [`Live`]: everything that a reload can
//! change, as one value that is swapped as a whole.
//! Here: building it, and taking over what is equal: connections, what is known of callers and of clusters.
//! Not here: requests, sockets, reading of files.

mod identity_web;
#[expect(
    clippy::module_inception,
    reason = "the room is named after its one type"
)]
mod live;
mod notices;
mod providers;
mod workbench;

pub use identity_web::IdentityWeb;
pub use live::{Live, Unusable};
pub use notices::{LiveNotices, Notices, clear_notice, read_notices, set_notice};
pub use workbench::{Registry, Workbench};

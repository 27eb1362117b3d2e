//! In: one reading of the files, and what outlives it ([`Workbench`]). Out: [`Live`]: everything that a reload can
//! change, as one value that is swapped as a whole.
//! Here: building it, and taking over what is equal: connections, what is known of callers and of clusters; which files
//! it came from, and what differs between two readings of them. Not here: requests, sockets, what files mean.

mod difference;
mod files;
mod identity_web;
#[expect(
    clippy::module_inception,
    reason = "the room is named after its one type"
)]
mod live;
mod notices;
mod providers;
mod workbench;

pub use difference::{ChangedEntry, ChangedSetting, Difference, Entries};
pub(crate) use files::Known;
pub use files::{Files, ReadFiles};
pub use identity_web::IdentityWeb;
pub use live::{Live, Unusable};
pub use notices::{LiveNotices, Notices, move_former_notices};
pub use workbench::{Registry, Workbench};

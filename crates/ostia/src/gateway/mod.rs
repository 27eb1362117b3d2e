//! In: the parts that `boot` made. Out: [`Gateway`], which every request uses.
//! Here: the parts side by side. Not here: what uses them (`pipeline`, `admin`), how they are made (`boot`).

mod access;
mod answers;
#[expect(
    clippy::module_inception,
    reason = "the room is named after its one type"
)]
mod gateway;
mod limits;
mod reload;
mod usage;
mod wishes;

pub(crate) use access::{NO_ROUTE, begin_access, logged};
pub(crate) use answers::{empty_answer, json_answer, page_answer};
pub use gateway::Gateway;
pub use reload::{ReloadRefused, Reloaded, Reloads};
pub(crate) use wishes::Wishes;
pub use wishes::{UpgradeError, UpgradeWish};

//! In: a [`crate::identify::Principal`] and a [`crate::resolve::Pool`]. Out: [`Permit`]: the allowed deployments, never none.
//! Here: the one rule of groups and domains, for every route, and the order in which refusals are told.
//! Not here: load, limits, and I/O but for the audit log.

mod denials;
mod fields;
mod permit;
mod rule;

pub use denials::{Denials, Wanted};
pub use fields::Reserved;
pub use permit::{Denied, Notices, Permit, authorize};
pub use rule::{Broken, broken, entry_group, may_see, may_use, permits};

//! In: a [`crate::identify::Principal`] and a [`crate::resolve::Pool`]. Out: [`Permit`]: the allowed deployments, at
//! least one.
//! Here: the one rule of groups and domains, for every route, and the order in which refusals are reported.
//! Not here: load, limits, and any I/O except the audit log.

mod denials;
mod explained;
mod fallbacks;
mod fields;
mod nearest;
mod permit;
mod rule;

pub use denials::{Denials, Wanted};
pub use explained::Explained;
pub use fields::Reserved;
pub use nearest::Nearest;
pub use permit::{Denied, NoticeLookup, Permit, authorize};
pub use rule::{Broken, broken, entry_group, hint_for, may_see, may_use, permits};

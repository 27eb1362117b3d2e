//! In: a [`crate::authorize::Permit`]. Out: [`Ranked`]: the allowed endpoints that accept requests, best first.
//! Here: readiness, priority, load; reads `fleet`. Pure: reserves nothing. Not here: limits, permissions.

mod order;

pub use order::{NoCandidate, NotServing, Ranked, fault_of, rank};

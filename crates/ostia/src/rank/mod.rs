//! In: a [`crate::authorize::Permit`], and what endpoints may know the request by ([`Trail`]). Out: [`Ranked`]: the allowed
//! endpoints that accept requests, best first.
//! Here: readiness, priority, work in flight, who has seen the prompt; reads `fleet`. Reserves nothing.
//! Not here: limits, permissions.

mod choice;
mod order;
mod trail;

pub use choice::{Home, Number, RUNNING, Readiness, Signals, likely_uncached};
pub use order::{NoCandidate, NotServing, Ranked, fault_of, rank, signals};
pub use trail::Trail;

//! In: a [`crate::authorize::Permit`], and by what its request may be known ([`Trail`]). Out: [`Ranked`]: the allowed
//! endpoints that accept requests, best first.
//! Here: readiness, priority, work in flight, who has the beginning of the prompt; reads `fleet`. Reserves nothing.
//! Not here: limits, permissions.

mod choice;
mod order;
mod trail;

pub use choice::{Home, Number, RUNNING, Readiness, Signals, likely_uncached};
pub use order::{NoCandidate, NotServing, Ranked, fault_of, rank, signals};
pub use trail::Trail;

//! In: a [`crate::rank::Ranked`] and the call's cost. Out: an [`Admission`] (the user's share of every limit, and a
//! place on one endpoint), and with its receipt an [`Attempt`], which the request keeps to its end.
//! Here: the [`Admitter`], the only way in, on a retry and out; the queues of pools; limits as a table ([`limits`]).
//! Not here: who may use what, which endpoint is better, sockets.
//!
//! `limits.rs` says how to add a limit.

mod admission;
mod admitter;
mod attempt;
mod blocks;
mod class;
mod cost;
mod fair;
mod limits;
mod local;
mod promises;
mod queue;
mod refused;
mod retry_budget;
mod shared;
#[cfg(test)]
mod simulation;
mod window;

pub use admission::Admission;
pub use admitter::{Admitter, Entry};
pub(crate) use attempt::place_of;
pub use attempt::{Attempt, Unanswered};
pub use blocks::{BlockList, Blocks};
pub use class::class_of;
pub use limits::{Applied, applied, own_limits, whose};
pub use local::{Change, Counters, LocalLimiter};
pub use queue::Waits;
pub use refused::{Refused, Shortage};
pub use retry_budget::RetryBudget;
pub use shared::{Heard, SharedError, SharedLimiter};

//! In: a [`crate::rank::Ranked`] and what the call will cost. Out: an [`Admission`]: the user's part and a [`Lease`] on one endpoint.
//! Here: one all-or-nothing reservation of every limit, and moving on to the next endpoint after a failure.
//! Not here: who may use what, which endpoint is better, sockets.

mod admission;
mod local;
mod retry_budget;
mod window;

pub use admission::{Admission, Lease, Refused, admit};
pub use local::LocalLimiter;
pub use retry_budget::RetryBudget;

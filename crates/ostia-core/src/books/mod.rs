//! In: who called, what they asked, where it went. Out: one row of the ledger, whatever happens.
//! Here: the guard that writes it, and the traits behind which rows are kept.
//! Not here: files and databases (the gateway's `account` room), what an answer cost (its `relay` room).

mod opening;
mod page;
mod receipt;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::{Clock, LedgerRow};

pub use opening::{Arrival, Opening};
pub use page::Place;
pub use receipt::{Receipt, Sending};

/// The journal has no room for a request's final record, so the request may not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal is full or cannot be written")]
pub struct JournalFull;

/// Where receipts are written before anything is in a database. None of its calls waits.
pub trait Journal: Send + Sync + 'static {
    /// Writes down that a request is about to reach a backend, and keeps room for its final record.
    fn started(&self, row: &LedgerRow<'_>) -> Result<Arc<dyn Slot>, JournalFull>;

    /// Writes a row that reached no backend. Rows may be folded (`count`) or, when there is no room, only counted.
    fn rejected(&self, row: &LedgerRow<'_>);
}

/// The room that `Journal::started` kept.
pub trait Slot: Send + Sync + 'static {
    /// Writes the final record. Called exactly once for each `started`.
    fn finished(&self, row: &LedgerRow<'_>);
}

/// Told about every receipt that closes, for metrics and the endpoint's health. Must not wait.
pub trait Observer: Send + Sync + 'static {
    fn closed(&self, row: &LedgerRow<'_>);
}

/// What every request needs to be written down.
#[derive(Clone)]
pub struct Books {
    pub journal: Arc<dyn Journal>,
    pub clock: Arc<dyn Clock>,
    /// Set when the process gives up on what still runs: a request that nobody closed is then `interrupted`.
    pub shutting_down: Arc<AtomicBool>,
}

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
use std::task::{Context, Poll};

use crate::{Clock, LedgerRow};

pub use opening::{Arrival, HeadSent, Opening};
pub use page::Place;
pub use receipt::{Receipt, Sending};

/// The journal has no room for a request's final record, or its disk does not answer: the request may not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal is full or cannot be written")]
pub struct JournalFull;

/// Takes down what happens to requests. Its calls hand a record in and return: they never wait for a disk.
pub trait Recorder: Send + Sync + 'static {
    /// Hands in the record of a request that is about to reach a backend. The request may go on once
    /// [`Slot::poll_written`] says that the record is written and that there is room for the final one.
    fn started(&self, row: &LedgerRow<'_>) -> Box<dyn Slot>;

    /// Hands in a row that reached no backend. Rows may be folded (`count`) or, when there is no room, only counted.
    fn rejected(&self, row: &LedgerRow<'_>);
}

/// The place of one request in the journal. A request that is not finished when its slot is dropped is `interrupted`.
pub trait Slot: Send + Sync + 'static {
    /// Hands in the final record; only the first call counts. If the `started` record was not written, this row takes
    /// the way of [`Recorder::rejected`].
    fn finished(&self, row: &LedgerRow<'_>);

    /// Ready once the record that was handed in last is written. A disk that hangs is waited for only so long: then a
    /// `started` record gives an error, and a final one is kept in memory and counts as written.
    fn poll_written(&self, task: &mut Context<'_>) -> Poll<Result<(), JournalFull>>;
}

/// Told about every receipt that closes, for metrics and the endpoint's health. Must not wait.
pub trait Observer: Send + Sync + 'static {
    fn closed(&self, row: &LedgerRow<'_>);
}

/// What every request needs to be written down.
#[derive(Clone)]
pub struct Books {
    pub recorder: Arc<dyn Recorder>,
    /// Told of every row.
    pub witness: Arc<dyn Observer>,
    pub clock: Arc<dyn Clock>,
    /// Set when the process gives up on what still runs: a request that nobody closed is then `interrupted`.
    pub shutting_down: Arc<AtomicBool>,
    /// Set when the caller's account was disabled in the middle of the request.
    pub dismissed: Arc<AtomicBool>,
}

//! In: who called, what they asked, where it went. Out: one row of the ledger, whatever happens.
//! Here: the guard that writes it, and the traits for whatever keeps the rows.
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

pub use opening::{HeadSent, Opening, Outlasting};
pub use page::{Arrival, Place};
pub use receipt::{Receipt, Sending};

/// The journal has no room for the request's final record, or its disk does not answer. The request must not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal is full or cannot be written")]
pub struct JournalFull;

/// Records what happens to requests. Its methods hand a record over and return; they never wait for a disk.
pub trait Recorder: Send + Sync + 'static {
    /// Hands over the record of a request that is about to reach a backend. The request may go on once
    /// [`Slot::poll_written`] says that the record is written; room for the final record is then reserved.
    fn started(&self, row: &LedgerRow<'_>) -> Box<dyn Slot>;

    /// Hands over the row of a request that reached no backend. Such rows may be folded into one (`count`); if there is
    /// no room, they are only counted.
    fn rejected(&self, row: &LedgerRow<'_>);
}

/// A request's place in the journal. If it is dropped before the request is finished, the request counts as
/// `interrupted`.
pub trait Slot: Send + Sync + 'static {
    /// Hands over the final record; only the first call counts. If the `started` record was not written, the row is
    /// treated as by [`Recorder::rejected`].
    fn finished(&self, row: &LedgerRow<'_>);

    /// Ready once the last record is written. The wait for a disk that hangs is limited: after it, a `started` record
    /// gives an error, and a final one is kept in memory and counts as written.
    fn poll_written(&self, task: &mut Context<'_>) -> Poll<Result<(), JournalFull>>;
}

/// Is told about every receipt that closes, for metrics and the endpoint's health. Must not block.
pub trait Observer: Send + Sync + 'static {
    fn closed(&self, row: &LedgerRow<'_>);
}

/// What every request needs for its record.
#[derive(Clone)]
pub struct Books {
    pub recorder: Arc<dyn Recorder>,
    /// Told of every row.
    pub witness: Arc<dyn Observer>,
    /// Told of this request's row: its event in the log, where one is kept.
    pub access: Option<Arc<dyn Observer>>,
    pub clock: Arc<dyn Clock>,
    /// Set when the process gives up on requests that still run. Those that nobody closed then become `interrupted`.
    pub shutting_down: Arc<AtomicBool>,
    /// Set if the caller's account is disabled during the request.
    pub dismissed: Arc<AtomicBool>,
}

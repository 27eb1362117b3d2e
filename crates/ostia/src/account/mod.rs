//! In: `started`, final and `rejected` rows. Out: every one of them in the store, exactly once, whatever dies.
//! Here: the journal on disk, the writer that carries it to the store, recovery at start.
//! Not here: SQL (that is `ostia-store`), deciding what a request cost (that is `relay`).
//!
//! ```text
//! Ledger --started, finished--> journal --records--> segment files
//!        --rejected--> folds -------^                     |
//!                                        carrier <--tails-+--> Store, usage events
//! ```
//!
//! The path of a request only appends to a file: SIGKILL leaves what was written in the page cache. One thread reads the
//! same files back. Recovery is no special case: what an earlier process left behind are files that are read to their end.

mod carrier;
mod fields;
mod fold;
mod journal;
mod ledger;
mod options;
mod record;
mod segment;
mod slot;
mod tail;
mod usage_event;
mod visit;

#[cfg(test)]
mod tests;

pub use ledger::{Ledger, Stats};
pub use options::{LedgerError, Options};
pub use ostia_core::Books;
pub use visit::Visit;

//! In: `started`, final and `rejected` rows. Out: every one of them in the store, exactly once, whatever dies.
//! Here: the journal on disk, the writer that carries it to the store, recovery at start.
//! Not here: SQL (that is `ostia-store`), deciding what a request cost (that is `relay`).
//!
//! ```text
//! Ledger --started, finished--> queue --batches--> writer --records--> segment files
//!        --rejected--> folds -----^                                        |
//!                                       Store, usage events <-- carrier <--+ tails
//! ```
//!
//! A request hands records in and waits until they are written: SIGKILL leaves what is in the page cache. Only the ledger's
//! own threads touch files, so that a disk that hangs holds up nothing else. One thread writes, and one reads the same files
//! back. Recovery is no special case: what an earlier process left behind are files that are read to their end.

mod carrier;
mod disk;
mod fields;
mod fold;
mod folder;
mod journal;
mod ledger;
mod options;
mod queue;
mod record;
mod segment;
mod slot;
mod tail;
mod threads;
mod usage_event;
mod visit;
mod writer;

#[cfg(test)]
mod tests;

pub use disk::{Disk, LocalDisk};
pub use ledger::{Ledger, Stats};
pub use options::{LedgerError, Options};
pub use ostia_core::Books;
pub use visit::Visit;

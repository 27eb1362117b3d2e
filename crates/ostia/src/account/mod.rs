//! In: `started`, final and `rejected` rows. Out: every one of them in the store, exactly once, whatever dies.
//! Here: the journal on disk, the carrier that brings it to the store, recovery at start.
//! Not here: SQL (that is `ostia-store`), deciding what a request cost (that is `relay`).
//!
//! ```text
//! Ledger --started, finished--> queue --batches--> writer --records--> segment files
//!        --rejected--> folds -----^                                        |
//!                                       Store, usage events <-- carrier <--+ tails
//! ```
//!
//! A request hands in a record and waits until it is written to the file, where a SIGKILL does not lose it. Only the
//! ledger's own threads touch files, so a disk that hangs stalls nobody else. One thread writes the files, another reads
//! them back. Recovery is not a special case: files of an earlier process are read to their end like any others.

mod carrier;
mod disk;
mod fields;
mod fold;
mod folder;
mod folders;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod journal;
mod ledger;
mod options;
mod queue;
mod record;
mod recover;
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
pub use folders::{adopt_journals, journal_folder};
pub use ledger::{Ledger, Stats};
pub use options::{LedgerError, Options};
pub use ostia_core::Books;
pub use recover::recover;
pub use visit::Visit;

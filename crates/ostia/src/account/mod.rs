//! In: `started`, final and `rejected` rows. Out: every one of them in the store, exactly once, whatever dies.
//! Here: the journal on disk, the writer that carries it to the store, recovery at start.
//! Not here: SQL (that is `ostia-store`), deciding what a request cost (that is `relay`).

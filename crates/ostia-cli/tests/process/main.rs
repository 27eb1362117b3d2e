//! The binary under load, and its ledger after it was killed or its disk was full.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here fails a test, helpers of tests included"
)]

mod artefact;
mod bad_config;
mod books;
mod descriptors;
mod full_disk;
mod idle;
mod kill;
mod postgres;
mod private;
mod second;
mod shared;
mod soak;
mod stop;
mod upgrade;

use std::path::Path;

use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::gate::Gate;

/// The binary that these tests were built with.
fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ostia"))
}

/// From now on the backend sends one event, and the others once the gate opens. Each stream needs a gate of its own.
fn hold_after_first_event(backend: &FakeBackend) -> Gate {
    let gate = Gate::closed();
    gate.release(1);
    backend.otherwise(Script::completion().gate_events(&gate));
    gate
}

//! The binary under load, and what is in its books when it was killed, or when its disk was full.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here fails a test, helpers of tests included"
)]

mod bad_config;
mod books;
mod descriptors;
mod full_disk;
mod kill;
mod postgres;
mod private;
mod second;
mod shared;
mod stop;
mod upgrade;

use std::path::Path;

/// The binary that these tests were built with.
fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ostia"))
}

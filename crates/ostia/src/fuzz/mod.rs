//! In: any bytes. Out: nothing; a panic is a finding.
//! Here: every reader of foreign bytes as a plain function, with what must hold whatever it reads. The tests run them over
//! kept inputs and their mutations; `fuzz/` hands the same functions to cargo-fuzz.
//! Not here: the readers; each room has its own `fuzz.rs`.
//!
//! To add one: a function in a room's `fuzz.rs`, its line in [`TARGETS`], a folder of inputs in `fuzz/corpus`, and a file in
//! `fuzz/fuzz_targets`.

use crate::account;
use crate::cluster;
use crate::codings;
use crate::config;
use crate::identify;
use crate::listen;
use crate::read;
use crate::relay;

/// A reader by its name.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 12] = [
    ("bodies", read::fuzz::bodies),
    ("forms", read::fuzz::forms),
    ("compressed", codings::fuzz::compressed),
    ("streams", relay::fuzz::streams),
    ("refusals", relay::fuzz::refusals),
    ("heads", listen::fuzz::heads),
    ("fixtures", config::fuzz::fixtures),
    ("python_literals", config::fuzz::python_literals),
    ("dotenv_files", config::fuzz::dotenv_files),
    ("listings", cluster::fuzz::listings),
    ("journal_records", account::fuzz::journal_records),
    ("tokens", identify::fuzz::tokens),
];

#[cfg(test)]
mod tests;

//! Whole-gateway tests: a real gateway between a raw client and scripted backends.
#![expect(
    clippy::unwrap_used,
    reason = "test code: what goes wrong must stop the test at once"
)]

mod baseline;
mod before_start;
mod broken_ends;
mod common;
mod event_streams;
mod fidelity;
mod hang_ups;
mod headers;
mod http2;
mod interim;
mod pace;
mod pressure;
mod refusals;
mod reuse;
mod usage;
mod volume;

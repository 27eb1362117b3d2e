//! Whole-gateway tests: a real gateway between a raw client and scripted backends.
#![expect(
    clippy::unwrap_used,
    reason = "test code: what goes wrong must stop the test at once"
)]

mod adapters;
mod admission;
mod affinity;
mod alerts;
mod azure;
mod backends;
mod baseline;
mod before_start;
mod bodies;
mod broken_ends;
mod checks;
mod claude;
mod common;
mod compressed;
mod concurrency;
mod desync;
mod dialects;
mod disabled;
mod early_heads;
mod echoes;
mod event_streams;
mod fidelity;
mod first;
mod front_ends;
mod hang_ups;
mod hanging_disk;
mod headers;
mod heads;
mod hostile;
mod http2;
mod identity;
mod interim;
mod ledger;
mod metering;
mod metrics;
mod models;
mod moving_on;
mod names;
mod operating;
mod origin;
mod pace;
mod pages;
mod policy_matrix;
mod pressure;
mod rate;
mod recorded;
mod refusals;
mod reload;
mod replicas;
mod reuse;
mod routes;
mod shared;
mod sign_in;
mod store_faults;
mod store_postgres;
mod stored;
mod tokens;
mod usage;
mod usage_api;
mod volume;
mod waiting;
mod web;

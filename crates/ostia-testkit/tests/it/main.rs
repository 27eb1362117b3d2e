//! Whole-gateway tests: a real gateway between a raw client and scripted backends.

mod baseline;
mod bodies;
mod checks;
mod concurrency;
mod desync;
mod dialects;
mod disabled;
mod heads;
mod ledger;
mod metering;
mod names;
mod origin;
mod pages;
mod rate;
mod routes;
mod sign_in;
mod tokens;

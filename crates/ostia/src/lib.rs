//! Ostia: an inference gateway for OpenAI-compatible backends.
//!
//! # Layout
//!
//! A request goes one way, and [`pipeline`] is the one place that sees all of it:
//!
//! ```text
//! listen -> identify -> read -> resolve -> authorize -> rank -> admit -> backend -> relay -> account
//! ```
//!
//! Beside the path: [`catalog`] (what is served), [`fleet`] (how it is doing), [`cluster`] (what schedulers say),
//! [`config`], [`listings`] (lists for users), [`admin`], [`telemetry`], [`otlp`]. [`boot`] puts the parts together.

pub mod account;
pub mod admin;
pub mod admit;
pub mod alerts;
pub mod authorize;
pub mod backend;
pub mod boot;
pub mod cache;
pub mod catalog;
pub mod cluster;
pub mod codings;
pub mod config;
pub mod demo;
pub mod dialect;
pub mod errors;
pub mod fleet;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod gateway;
mod habits;
pub mod identify;
pub mod listen;
pub mod listings;
pub mod live;
pub mod otlp;
pub mod ownership;
pub mod people;
pub mod pipeline;
pub mod rank;
pub mod read;
pub mod refusal;
pub mod register;
pub mod relay;
pub mod resolve;
pub mod routes;
pub mod runtime;
pub mod scan;
pub mod script;
pub mod settings;
pub mod telemetry;
pub mod upstream;
pub mod web;

//! Ostia: an inference gateway for OpenAI-compatible backends.
//!
//! # Layout
//!
//! A request goes one way, and [`pipeline`] is the one place that sees all of it:
//!
//! ```text
//! listen -> identify -> read -> resolve -> authorize -> rank -> admit -> endpoint -> upstream -> relay -> account
//! ```
//!
//! Beside the path: [`catalog`] (what is served), [`fleet`] (how it is doing), [`cluster`] (what schedulers say),
//! [`config`], [`models`] (lists for users), [`admin`], [`telemetry`]. [`app`] puts the parts together.

pub mod account;
pub mod admin;
pub mod admit;
pub mod app;
pub mod authorize;
pub mod catalog;
pub mod cluster;
pub mod config;
pub mod demo;
pub mod endpoint;
pub mod error;
pub mod fleet;
pub mod identify;
pub mod listen;
pub mod models;
pub mod pipeline;
pub mod rank;
pub mod read;
pub mod relay;
pub mod resolve;
pub mod routes;
pub mod runtime;
pub mod script;
pub mod telemetry;
pub mod upstream;

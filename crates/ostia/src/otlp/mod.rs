//! In: the gateway's figures, and traced requests that are over. Out: what a collector of OpenTelemetry gets, by
//! OTLP over HTTP in protobuf.
//! Here: names of the GenAI conventions (v0.1.0), batches, retries. Not here: which requests are traced, and counting
//! (both `telemetry`).

mod exporter;
mod metrics;
mod names;
pub mod proto;
mod resource;
mod spans;

pub use exporter::Exporter;
pub use prost::Message;

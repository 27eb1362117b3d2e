//! A site's own adapters, about thirty lines each. `main.rs` serves them; the same as scripts, for which nothing has to
//! be compiled, are in `examples/scripts`.

mod cluster;
mod endpoint;

pub use cluster::CustomCluster;
pub use endpoint::CustomEndpoint;

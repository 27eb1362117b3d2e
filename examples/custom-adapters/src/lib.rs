//! A site's own adapters, about thirty lines each. `main.rs` serves them; the hooks as scripts, for which nothing has to
//! be compiled, are in `examples/scripts`.

mod backend;
mod cluster;
mod endpoint;

pub use backend::Greeter;
pub use cluster::CustomCluster;
pub use endpoint::CustomEndpoint;

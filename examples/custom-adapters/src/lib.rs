//! A site's own adapters, about thirty lines each. `main.rs` gives them their names. The same hooks as scripts, which need
//! no compiler, are in `examples/scripts`.

mod backend;
mod cluster;
mod endpoint;

pub use backend::Greeter;
pub use cluster::CustomCluster;
pub use endpoint::CustomEndpoint;

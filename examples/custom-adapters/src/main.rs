//! The whole command line of `ostia` (serve, check, key, ...), with this site's adapters in it.

use std::process::ExitCode;

use custom_adapters::{CustomCluster, CustomEndpoint, Greeter};
use ostia::gateway::Gateway;

fn main() -> ExitCode {
    let adapters = Gateway::builder()
        .endpoint_adapter("my_site.adapters.CustomEndpoint", CustomEndpoint)
        .backend::<Greeter>("my_site.backends.Greeter")
        .cluster_adapter("my_site.adapters.CustomCluster", CustomCluster);
    ostia_cli::run(adapters)
}

//! A gateway with this site's adapters. Reads what `ostia serve` reads.

use custom_adapters::{CustomCluster, CustomEndpoint, Greeter};
use ostia::config::{Environment, Sources};
use ostia::gateway::Gateway;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let sources = Sources {
        environment: Environment::of_process(),
        ..Sources::default()
    };
    let running = Gateway::builder()
        .endpoint_adapter("my_site.adapters.CustomEndpoint", CustomEndpoint)
        .backend::<Greeter>("my_site.backends.Greeter")
        .cluster_adapter("my_site.adapters.CustomCluster", CustomCluster)
        .start(&sources, async |url| ostia_store::open(&url).await)
        .await?;
    tokio::signal::ctrl_c().await?;
    running.shut_down(std::future::pending()).await;
    Ok(())
}

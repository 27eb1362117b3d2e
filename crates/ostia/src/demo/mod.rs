//! In: requests of a gateway on a loopback port of its own. Out: answers of a simulated engine, and faults on request
//! ([`MODELS`]). Here: the models of `ostia serve --demo`, and the files of an installation around them. Not here: the
//! engine (`ostia-engine`), anything a real installation uses.

mod models;
mod site;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ostia_core::Clock;
use ostia_engine::Engine;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::runtime::spawn;

pub use models::MODELS;
pub use ostia_engine::Pace;
pub use site::write_site;

/// The model that does nothing odd.
pub const MODEL: &str = "demo";

/// The simulated backend, at work until it is dropped.
pub struct Demo {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Demo {
    /// Listens on a free loopback port.
    pub async fn start(pace: Pace, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let models = MODELS.map(|model| (model.name, model.fault));
        let engine = Engine::new(models, pace, clock);
        Ok(Self {
            address,
            serving: spawn(engine.serve(listener)),
        })
    }

    /// The base URL of its API.
    pub fn api_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

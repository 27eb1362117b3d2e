//! In: requests of a gateway on a loopback port of its own. Out: answers with the shapes, the pace and the token counts of
//! a model server, and faults on request ([`MODELS`]). Here: the simulated backend of `ostia serve --demo`, and the files
//! of an installation around it. Not here: anything a real installation uses.

mod ask;
mod body;
mod chat;
mod completions;
mod embeddings;
mod faults;
mod messages;
mod output;
mod responses;
mod schema;
mod server;
mod site;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ostia_core::Clock;
use tokio::task::JoinHandle;

use crate::listen::{self, Drain, Listener};
use crate::runtime::spawn;
use crate::settings::ListenAddress;
use server::Server;

pub use faults::MODELS;
pub use site::write_site;

/// The model that does nothing odd.
pub const MODEL: &str = "demo";

/// How fast the simulated model writes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub first_token: Duration,
    pub between_tokens: Duration,
}

impl Pace {
    /// As a good reader reads.
    pub const HUMAN: Self = Self {
        first_token: Duration::from_millis(150),
        between_tokens: Duration::from_millis(40),
    };
    /// Without waiting, for tests.
    pub const NONE: Self = Self {
        first_token: Duration::ZERO,
        between_tokens: Duration::ZERO,
    };

    /// So many tokens a second; 0 is without waiting.
    pub fn tokens_per_second(rate: u32) -> Self {
        match rate {
            0 => Self::NONE,
            rate => Self {
                between_tokens: Duration::from_secs(1) / rate,
                ..Self::HUMAN
            },
        }
    }
}

/// The simulated backend, at work until it is dropped.
pub struct Demo {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Demo {
    /// Listens on a free loopback port.
    pub async fn start(pace: Pace, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Listener::bind(&ListenAddress::Tcp(free)).await?;
        let address = listener
            .local_address()
            .ok_or_else(|| io::Error::other("the listener has no address"))?;
        let server = Arc::new(Server::new(pace, Arc::clone(&clock)));
        let serving = listen::serve(listener, options().swappable(), server, Drain::new(), clock);
        Ok(Self {
            address,
            serving: spawn(serving),
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

fn options() -> listen::Options {
    listen::Options {
        max_connections: 10_000,
        header_timeout: Duration::from_secs(60),
        write_idle_timeout: Duration::from_secs(60),
        give_up_grace: Duration::ZERO,
        trusted_proxies: Vec::new(),
        tls: None,
        connections: Arc::default(),
    }
}

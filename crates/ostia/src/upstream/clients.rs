use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use ostia_core::Clock;
use parking_lot::Mutex;

use super::client::{Client, ClientError};
use super::resolver::Resolver;
use crate::catalog::{Origin, Target};
use crate::listen::Tunnelled;

/// Makes every client of the process, over one resolver, and closes connections that stay idle: a backend that is
/// called once an hour must not hold a socket for that hour.
pub struct Clients {
    resolver: Arc<Resolver>,
    clock: Arc<dyn Clock>,
    made: Mutex<HashMap<Origin, Vec<Made>>>,
    /// Clients of connections that engines opened, by lease.
    turned: Mutex<HashMap<Arc<str>, Arc<Client>>>,
}

/// A client, kept for as long as someone uses it.
struct Made {
    target: Target,
    /// Modification time and size of its certificate files, to notice that they were replaced.
    files: Vec<Option<(SystemTime, u64)>>,
    client: Weak<Client>,
}

impl Clients {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            resolver: Arc::new(Resolver::new(Arc::clone(&clock))),
            clock,
            made: Mutex::default(),
            turned: Mutex::default(),
        }
    }

    /// The client for a target. Equal targets share one, with its connections.
    pub fn client(&self, target: &Target) -> Result<Arc<Client>, ClientError> {
        let files = stamps(target);
        let mut made = self.made.lock();
        let made = made.entry(target.origin.clone()).or_default();
        let equal = made
            .iter()
            .find(|made| made.target == *target && made.files == files);
        if let Some(client) = equal.and_then(|made| made.client.upgrade()) {
            return Ok(client);
        }
        let (resolver, clock) = (Arc::clone(&self.resolver), Arc::clone(&self.clock));
        let client = Arc::new(Client::new(target, resolver, clock)?);
        made.push(Made {
            target: target.clone(),
            files,
            client: Arc::downgrade(&client),
        });
        Ok(client)
    }

    /// Takes over a connection that an engine opened, and speaks HTTP/2 on it.
    ///
    /// # Errors
    ///
    /// The other side does not speak HTTP/2.
    pub async fn turn(
        &self,
        lease: &Arc<str>,
        target: &Target,
        tunnelled: Tunnelled,
    ) -> Result<(), ClientError> {
        let (resolver, clock) = (Arc::clone(&self.resolver), Arc::clone(&self.clock));
        let client = Client::turned(target, resolver, clock, tunnelled).await?;
        self.turned
            .lock()
            .insert(Arc::clone(lease), Arc::new(client));
        Ok(())
    }

    /// The client of the engine that opened a tunnel for this lease; `None` if the tunnel is closed.
    pub fn turned(&self, lease: &str) -> Option<Arc<Client>> {
        self.turned.lock().get(lease).cloned()
    }

    /// Closes the tunnel of a lease at once. Requests on it end as when it breaks.
    pub fn hang_up(&self, lease: &str) {
        let client = self.turned.lock().remove(lease);
        if let Some(client) = client {
            client.cut();
        }
    }

    /// The leases with open tunnels. Forgets the closed ones.
    pub fn tunnels(&self) -> Vec<Arc<str>> {
        let mut turned = self.turned.lock();
        turned.retain(|_, client| client.has_tunnel());
        turned.keys().cloned().collect()
    }

    /// The addresses that a host's name resolves to now. An IP address resolves to itself. The error says why there are
    /// none.
    pub async fn addresses(&self, host: &str) -> Result<Arc<[IpAddr]>, String> {
        let found = self.resolver.resolve(host).await;
        found.map_err(|error| error.to_string())
    }

    /// Closes connections that were idle too long or that the peer has closed.
    pub fn sweep(&self) {
        let mut living = Vec::new();
        self.made.lock().retain(|_, made| {
            made.retain(|made| {
                let client = made.client.upgrade();
                let lives = client.is_some();
                living.extend(client);
                lives
            });
            !made.is_empty()
        });
        living.iter().for_each(|client| client.sweep());
    }
}

fn stamps(target: &Target) -> Vec<Option<(SystemTime, u64)>> {
    let tls = &target.tls;
    let files = [
        &tls.ca_cert_path,
        &tls.client_cert_path,
        &tls.client_key_path,
    ];
    let stamp = |path: &PathBuf| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    let named = files.into_iter().flatten();
    named.map(stamp).collect()
}

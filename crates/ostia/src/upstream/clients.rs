use std::sync::{Arc, Weak};

use ostia_core::Clock;
use parking_lot::Mutex;

use super::client::{Client, ClientError};
use super::resolver::Resolver;
use crate::catalog::Target;

/// Makes every client of a process, over one resolver, and keeps their idle connections few: whoever is called once an
/// hour must not hold a socket for that hour.
pub struct Clients {
    resolver: Arc<Resolver>,
    clock: Arc<dyn Clock>,
    made: Mutex<Vec<Weak<Client>>>,
}

impl Clients {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            resolver: Arc::new(Resolver::new(Arc::clone(&clock))),
            clock,
            made: Mutex::default(),
        }
    }

    pub fn client(&self, target: &Target) -> Result<Arc<Client>, ClientError> {
        let (resolver, clock) = (Arc::clone(&self.resolver), Arc::clone(&self.clock));
        let client = Arc::new(Client::new(target, resolver, clock)?);
        self.made.lock().push(Arc::downgrade(&client));
        Ok(client)
    }

    /// Closes connections that were idle for too long, or that their peers closed.
    pub fn sweep(&self) {
        let mut living = Vec::new();
        self.made.lock().retain(|client| {
            let client = client.upgrade();
            let lives = client.is_some();
            living.extend(client);
            lives
        });
        living.iter().for_each(|client| client.sweep());
    }
}

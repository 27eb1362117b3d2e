use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ostia::runtime::spawn;
use ostia::upstream::{OpenTunnel, Tunnel, TunnelFault};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::output::note;

/// How often an address is asked for another replica behind it, while replicas come and go, and when they are settled.
const SOON: Duration = Duration::from_secs(1);
const SETTLED: Duration = Duration::from_secs(5);
/// Replicas are settled after this long without a change. A load balancer takes many tries to show each of them once.
const UNSETTLED: Duration = Duration::from_secs(60);

/// The open tunnels, by the replica at the other end of each.
#[derive(Clone)]
pub(super) struct Held {
    replicas: Arc<watch::Sender<BTreeSet<Arc<str>>>>,
    /// Tells all tunnels that it is time to end.
    end: Arc<watch::Sender<bool>>,
}

/// Looks for replicas of a gateway at one address, and opens a tunnel to each that has none.
pub(super) struct Seeker {
    tunnel: Tunnel,
    /// What people call the address.
    name: String,
    held: Held,
    /// The last fault that was printed, so that it is not repeated.
    told: String,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            replicas: Arc::new(watch::Sender::new(BTreeSet::new())),
            end: Arc::new(watch::Sender::new(false)),
        }
    }
}

impl Held {
    pub fn end(&self) {
        self.end.send_replace(true);
    }

    pub async fn all_closed(&self) {
        let mut replicas = self.replicas.subscribe();
        // The sender lives as long as this.
        let _ = replicas.wait_for(BTreeSet::is_empty).await;
    }

    fn all(&self) -> Vec<Arc<str>> {
        self.replicas.borrow().iter().cloned().collect()
    }

    /// Serves a tunnel in the background. `false`: another one to its replica was faster.
    fn take(&self, open: OpenTunnel, name: &str) -> bool {
        let replica = Arc::clone(&open.replica);
        let is_new = self
            .replicas
            .send_if_modified(|all| all.insert(Arc::clone(&replica)));
        if !is_new {
            return false;
        }
        let (held, name) = (self.clone(), name.to_owned());
        spawn(async move {
            let mut end = held.end.subscribe();
            let ends = async move {
                // The sender lives as long as this.
                let _ = end.wait_for(|ends| *ends).await;
            };
            let replicas = Arc::clone(&held.replicas);
            let look_again = move || replicas.send_modify(|_| ());
            match open.serve(ends, look_again).await {
                Ok(()) => note(&format!("the tunnel to {name} is closed")),
                Err(fault) => note(&format!("{name}: {fault}")),
            }
            held.replicas.send_if_modified(|all| all.remove(&replica));
        });
        true
    }
}

impl Seeker {
    pub const fn new(tunnel: Tunnel, name: String, held: Held) -> Self {
        Self {
            tunnel,
            name,
            held,
            told: String::new(),
        }
    }

    /// Ends only if the gateway will never accept a tunnel, with what it said.
    pub async fn run(mut self) -> String {
        let mut changes = self.held.replicas.subscribe();
        let mut changed = Instant::now();
        loop {
            let asked = Instant::now();
            match self.tunnel.open(&self.held.all()).await {
                Ok(open) => {
                    if self.held.take(open, &self.name) {
                        self.told.clear();
                        note(&format!("the tunnel to {} is open", self.name));
                    }
                }
                Err(TunnelFault::Held) => {}
                Err(TunnelFault::Refused(status @ (400 | 401 | 403 | 404), said)) => {
                    return format!("{} answered {status}: {said}", self.name);
                }
                Err(fault) => self.tell(&fault.to_string()),
            }
            if changes.has_changed().unwrap_or(false) {
                changes.mark_unchanged();
                changed = Instant::now();
            }
            let is_settled = changed.elapsed() > UNSETTLED && !self.held.all().is_empty();
            let pause = if is_settled { SETTLED } else { SOON };
            tokio::select! {
                () = sleep_until(asked + pause) => {}
                _ = changes.changed() => {
                    changed = Instant::now();
                    // A replica that has just ended may be back at once, but is not asked in a loop.
                    sleep_until(asked + SOON).await;
                }
            }
        }
    }

    fn tell(&mut self, why: &str) {
        if self.told != why {
            note(&format!("{}: {why}", self.name));
            why.clone_into(&mut self.told);
        }
    }
}

use std::time::{Duration, Instant};

use super::damper::Damper;
use super::disk::Disk;
use super::outbox::Outbox;
use super::report::report;
use super::window::Window;
use super::{Severity, Trouble, look};
use crate::gateway::Gateway;
use crate::live::Live;
use crate::runtime::spawn_blocking;

/// How often disks and certificates are checked.
const DISK: Duration = Duration::from_secs(60);

/// Checks the gateway periodically, and reports problems to the configured targets.
#[derive(Default)]
pub struct Alerts {
    damper: Damper,
    window: Window,
    outbox: Outbox,
    /// The last result from the file system, and its time.
    disk: Vec<Trouble>,
    disk_at: Option<Instant>,
    /// Sign-ins that failed because their provider was unreachable.
    unavailable: u64,
    reported: Option<Instant>,
}

impl Alerts {
    /// How often [`Alerts::look`] should be called.
    pub const EVERY: Duration = Duration::from_secs(5);

    /// One check. It waits for each target, at most a few seconds.
    pub async fn look(&mut self, gateway: &Gateway) {
        let live = gateway.live();
        let to = &live.settings.alerts;
        if !to.is_wanted() {
            return;
        }
        let clock = gateway.clock();
        let now = (clock.now(), clock.unix_micros());
        let mut troubles = look::endpoints(&live);
        troubles.extend(look::gateway(gateway, &live));
        troubles.extend(self.window.look(&gateway.fleet().all(), now.0));
        troubles.extend(self.identity(&live));
        self.look_at_disk(&live, now).await;
        troubles.extend(self.disk.iter().cloned());
        let changes = self.damper.look(troubles, now.0, now.1);
        let firing = self.damper.firing();
        if let Some(every) = to.report.filter(|_| to.webhook.is_some()) {
            let last = *self.reported.get_or_insert(now.0);
            if now.0.saturating_duration_since(last) >= every {
                self.reported = Some(now.0);
                self.outbox.put(report(gateway, &firing, now.1));
            }
        }
        let clients = gateway.clients();
        self.outbox.send(to, changes, &firing, clients, now).await;
    }

    fn identity(&mut self, live: &Live) -> Option<Trouble> {
        let mut failures = live.identify.failures();
        let count = failures.find(|(reason, _)| *reason == "identity_unavailable");
        let count = count.map_or(0, |(_, count)| count);
        let before = std::mem::replace(&mut self.unavailable, count);
        (count > before).then(|| Trouble {
            name: "identity_provider",
            subject: String::new(),
            severity: Severity::Critical,
            summary: "Sign-ins fail because an identity provider does not answer.".to_owned(),
        })
    }

    async fn look_at_disk(&mut self, live: &Live, (now, wall): (Instant, i64)) {
        let is_due = |at: Instant| now.saturating_duration_since(at) >= DISK;
        if !self.disk_at.is_none_or(is_due) {
            return;
        }
        self.disk_at = Some(now);
        let server = &live.settings.server;
        let backends = live.catalog.deployments().iter();
        let own = backends.filter_map(|one| one.target.tls.client_cert_path.clone());
        let mut certificates: Vec<_> = server.tls_cert.iter().cloned().chain(own).collect();
        certificates.sort_unstable();
        certificates.dedup();
        let disk = Disk {
            state_dir: server.state_dir.clone(),
            certificates,
            now: wall / 1_000_000,
        };
        // A panic in it was logged where it happened.
        if let Ok(troubles) = spawn_blocking(move || disk.look()).await {
            self.disk = troubles;
        }
    }
}

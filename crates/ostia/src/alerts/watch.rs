use std::time::{Duration, Instant};

use super::damper::Damper;
use super::disk::Disk;
use super::mail::Mail;
use super::outbox::Outbox;
use super::report::report;
use super::share::Share;
use super::window::Window;
use super::{Change, Severity, Trouble, keys, look};
use crate::gateway::Gateway;
use crate::live::Live;
use crate::runtime::spawn_blocking;

/// How often disks and certificates are checked.
const DISK: Duration = Duration::from_secs(60);

/// How often it is looked for keys that end.
const KEYS: Duration = Duration::from_secs(600);

/// Looks at the gateway again and again, and tells those who want to know what is wrong.
#[derive(Default)]
pub struct Alerts {
    damper: Damper,
    window: Window,
    share: Share,
    outbox: Outbox,
    keys_at: Option<Instant>,
    /// What the file system said last, and when.
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
        let clock = gateway.clock();
        let now = (clock.now(), clock.unix_micros());
        self.look_at_keys(gateway, now).await;
        if !to.is_wanted() {
            return;
        }
        let mut troubles = look::endpoints(&live);
        troubles.extend(look::gateway(gateway, &live));
        troubles.extend(self.window.look(&gateway.fleet().all(), now.0));
        troubles.extend(self.identity(&live));
        self.look_at_disk(&live, now).await;
        troubles.extend(self.disk.iter().cloned());
        let changes = self.damper.look(troubles, now.0, now.1);
        let firing = self.damper.firing();
        if let Some(every) = to.report {
            self.report(gateway, &firing, every, now).await;
        }
        let mine = self.share.take(changes, firing, &**gateway.store(), now.1);
        let mine = mine.await;
        self.outbox.send(to, mine, gateway.clients(), now).await;
    }

    async fn report(
        &mut self,
        gateway: &Gateway,
        firing: &[Change],
        every: Duration,
        (now, wall): (Instant, i64),
    ) {
        let last = *self.reported.get_or_insert(now);
        if now.saturating_duration_since(last) < every {
            return;
        }
        self.reported = Some(now);
        // Processes do not begin at one moment, so that the next one of this holder may be due a little before its time.
        let half = i64::try_from(every.as_micros() / 2).unwrap_or(i64::MAX);
        let until = (wall, wall.saturating_add(half));
        if self
            .share
            .is_mine("report", &**gateway.store(), until)
            .await
        {
            let report = report(gateway, firing, wall);
            self.outbox.mail(Mail {
                to: None,
                subject: "[ostia] report".to_owned(),
                text: format!("{report:#}\n"),
            });
            self.outbox.put(report);
        }
    }

    /// Owners are told of the end of their keys whether or not operators want alerts.
    async fn look_at_keys(&mut self, gateway: &Gateway, (now, wall): (Instant, i64)) {
        let is_due = |at: Instant| now.saturating_duration_since(at) >= KEYS;
        if !self.keys_at.is_none_or(is_due) {
            return;
        }
        self.keys_at = Some(now);
        for ending in keys::ending(gateway).await {
            self.outbox.tell_of_key(&ending, wall);
        }
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
        let backends = live.catalog.deployments().iter();
        let keys = backends.filter_map(|one| Some((one.slug.to_string(), one.target.key.clone()?)));
        let disk = Disk {
            keys: keys.collect(),
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

//! What a gateway tells its log and systemd about itself. Without systemd, the calls do nothing.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::Duration;

use ostia::boot::Running;
use ostia::catalog::Serving;
use ostia::runtime::spawn;
use ostia::settings::{ListenAddress, Settings};
use sd_notify::NotifyState;

/// Time after the drain to cut off the remaining requests and to store the last rows.
const AFTER_DRAIN: Duration = Duration::from_secs(30);

pub(super) fn ready(running: &Running) {
    let live = running.gateway().live();
    let server = &live.settings.server;
    let deployments = live.catalog.deployments();
    let served = |deployment: &&std::sync::Arc<ostia::catalog::Deployment>| {
        deployment.serving == Serving::Yes && deployment.framework_listed()
    };
    tracing::info!(
        listen = shown(&server.listen, running.address()),
        admin = shown(&server.admin_listen, running.admin_address()),
        pages = pages(&live.settings),
        endpoints = deployments.iter().filter(served).count(),
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        "ostia listens"
    );
    // This process may have taken over from the one that systemd knows.
    notify(vec![
        NotifyState::MainPid(std::process::id()),
        NotifyState::Ready,
    ]);
}

/// Sends keep-alives to systemd, if it asks for them.
pub(super) fn keep_watched() {
    let wanted = std::env::var("WATCHDOG_USEC").ok();
    let Some(limit) = wanted.and_then(|micros| micros.parse().ok()) else {
        return;
    };
    let interval = Duration::from_micros(limit) / 2;
    spawn(async move {
        loop {
            notify(vec![NotifyState::Watchdog]);
            tokio::time::sleep(interval).await;
        }
    });
}

pub(super) fn taken_over(pid: u32) {
    tracing::info!(
        pid,
        "another process has taken over: running requests are answered here, then this one ends"
    );
}

/// The address of the pages; `None`: there are no pages.
fn pages(settings: &Settings) -> Option<String> {
    let url = &settings.server.public_url;
    match (settings.web.enabled, url.is_empty()) {
        (false, _) => None,
        (true, true) => Some("/ui".to_owned()),
        (true, false) => Some(format!("{url}/ui")),
    }
}

/// systemd needs the monotonic time at which a reload began.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(vec![NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "systemd was not told"),
    }
}

pub(super) fn reloaded() {
    notify(vec![NotifyState::Ready]);
}

pub(super) fn stopping(running: &Running, signal: &str, grace: Duration) {
    let limit = running.gateway().live().settings.server.drain.limit;
    let longest = u32::try_from((grace + limit + AFTER_DRAIN).as_micros()).unwrap_or(u32::MAX);
    tracing::info!(
        signal,
        grace_seconds = grace.as_secs(),
        limit_seconds = limit.as_secs(),
        "stopping: not ready, then nothing new is accepted, running requests are answered; a second signal cuts them off"
    );
    notify(vec![
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(longest),
    ]);
}

fn shown(configured: &ListenAddress, bound: Option<SocketAddr>) -> String {
    match (configured, bound) {
        (_, Some(address)) => address.to_string(),
        (ListenAddress::Tcp(address), None) => address.to_string(),
        (ListenAddress::Unix(path), None) => format!("unix:{}", path.display()),
    }
}

/// Messages that wait for systemd. Beyond these, keep-alives are worth nothing anyway.
const MOST_UNTOLD: usize = 64;

/// Sends from a thread of its own: while systemd is busy and its socket is full, sending blocks.
static NOTIFIER: LazyLock<SyncSender<Vec<NotifyState<'static>>>> = LazyLock::new(|| {
    let (told, to_tell) = mpsc::sync_channel::<Vec<NotifyState<'static>>>(MOST_UNTOLD);
    let tell = move || {
        for state in to_tell {
            if let Err(error) = sd_notify::notify(&state) {
                tracing::debug!(%error, "systemd was not told");
            }
        }
    };
    // Without the thread, systemd is told nothing, as if it had not started this process.
    let _ = thread::Builder::new().name("notify".to_owned()).spawn(tell);
    told
});

fn notify(state: Vec<NotifyState<'static>>) {
    if NOTIFIER.try_send(state).is_err() {
        tracing::debug!("systemd does not read what it is told");
    }
}

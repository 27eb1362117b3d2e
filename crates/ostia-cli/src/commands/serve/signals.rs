use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals of a service. Once they are listened for, none of them ends the process by itself. SIGPIPE does not
/// either, because every Rust program ignores it.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    ends_on_hangup: bool,
    /// How many of the next signals to end are ignored.
    skipped: usize,
    upgrade: Signal,
    /// This signal means nothing to a gateway, but would kill it by default.
    _idle: Signal,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// To end; with the signal's name.
    Stop(&'static str),
    Reload,
    Upgrade,
}

impl Signals {
    /// `ends_on_hangup`: SIGHUP means to end, like SIGTERM.
    pub fn listen(ends_on_hangup: bool) -> io::Result<Self> {
        Ok(Self {
            ends_on_hangup,
            skipped: 0,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
            _idle: signal(SignalKind::user_defined1())?,
        })
    }

    /// The next signal that matters. Cancel-safe.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Wish::Stop("SIGINT"),
            _ = self.hangup.recv() => match self.ends_on_hangup {
                true => Wish::Stop("SIGHUP"),
                false => Wish::Reload,
            },
            _ = self.upgrade.recv() => Wish::Upgrade,
        }
    }

    /// The process is ending already: the next signal to end is meant for another process.
    pub fn skip_one_stop(&mut self) {
        self.skipped = 1;
    }

    /// Waits for the next signal to end and returns its name, while there is nothing to reload.
    pub async fn stop(&mut self) -> &'static str {
        loop {
            match self.next().await {
                Wish::Stop(_) if self.skipped > 0 => self.skipped -= 1,
                Wish::Stop(signal) => return signal,
                Wish::Upgrade => {
                    tracing::info!("SIGUSR2: this process is not serving, nobody takes over")
                }
                Wish::Reload => {
                    tracing::info!("SIGHUP: this process is not serving, nothing is reloaded")
                }
            }
        }
    }
}

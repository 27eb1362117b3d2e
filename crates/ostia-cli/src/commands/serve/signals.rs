use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals of a service. Once they are listened for, none of them ends the process by itself. SIGPIPE does not either:
/// every Rust program ignores it.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    ends_on_hangup: bool,
    /// They mean nothing to a gateway, but by default they would kill it.
    _idle: [Signal; 2],
}

impl Signals {
    /// `ends_on_hangup`: SIGHUP asks for the end, as SIGTERM does.
    pub fn listen(ends_on_hangup: bool) -> io::Result<Self> {
        Ok(Self {
            ends_on_hangup,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            _idle: [
                signal(SignalKind::user_defined1())?,
                signal(SignalKind::user_defined2())?,
            ],
        })
    }

    /// Waits for the next signal that asks for the end, and names it.
    pub async fn stop(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => {
                    if self.ends_on_hangup {
                        return "SIGHUP";
                    }
                    tracing::warn!("SIGHUP: reload is not served yet; restart to read the files again");
                }
            }
        }
    }
}

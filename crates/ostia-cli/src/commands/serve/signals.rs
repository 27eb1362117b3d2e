use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals of a service. Once they are listened for, none of them ends the process by itself; SIGPIPE does not
/// either, as in every Rust program.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// They mean nothing to a gateway, and their default would kill it.
    _idle: [Signal; 2],
}

impl Signals {
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
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
                    tracing::warn!("SIGHUP: reload is not served yet; restart to read the files again");
                }
            }
        }
    }
}

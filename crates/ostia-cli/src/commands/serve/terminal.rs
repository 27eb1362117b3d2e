use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::oneshot;

/// The terminal in which a temporary gateway was started. When it closes, the gateway ends too.
pub(super) struct Terminal {
    closed: Option<oneshot::Receiver<()>>,
}

impl Terminal {
    /// Watches the first of stdin, stdout and stderr that is a terminal. A process that ignores SIGHUP is meant to
    /// outlive its terminal (`nohup`).
    pub fn watch() -> Self {
        let terminal = match ignores_hangups() {
            true => None,
            false => first_terminal(),
        };
        Self {
            closed: terminal.map(|terminal| {
                let (sender, closed) = oneshot::channel();
                // A thread of its own, which ends with the process; nothing waits for it.
                std::thread::spawn(move || {
                    wait_for_hangup(&terminal);
                    let _ = sender.send(());
                });
                closed
            }),
        }
    }

    /// Whether SIGHUP ends the process. It does not if it was ignored from the start.
    pub fn ends_on_hangup() -> bool {
        !ignores_hangups()
    }

    /// Resolves once the terminal has closed; never if there is none.
    pub async fn closed(&mut self) {
        match &mut self.closed {
            Some(closed) => {
                let _ = closed.await;
                self.closed = None;
            }
            None => std::future::pending().await,
        }
    }
}

fn first_terminal() -> Option<OwnedFd> {
    fn own(stream: &(impl IsTerminal + AsFd)) -> Option<OwnedFd> {
        let terminal = stream.is_terminal();
        terminal
            .then(|| stream.as_fd().try_clone_to_owned().ok())
            .flatten()
    }
    own(&io::stdin())
        .or_else(|| own(&io::stdout()))
        .or_else(|| own(&io::stderr()))
}

/// Reads nothing, because a background process that reads its terminal is stopped.
fn wait_for_hangup(terminal: &OwnedFd) {
    loop {
        // No event is requested, but a hang-up is always reported.
        let mut watched = [PollFd::new(terminal, PollFlags::empty())];
        match poll(&mut watched, None::<&Timespec>) {
            Ok(_) => return,
            Err(rustix::io::Errno::INTR) => {}
            // It cannot be watched, so only SIGHUP ends the process.
            Err(_) => loop {
                std::thread::park();
            },
        }
    }
}

/// Linux shows it in the process's status. Elsewhere it is unknown, and the terminal is watched.
fn ignores_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Bit 0 is signal 1.
    mask.is_some_and(|mask| mask & 1 == 1)
}

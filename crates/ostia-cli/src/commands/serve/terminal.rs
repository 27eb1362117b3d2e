use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::oneshot;

/// The terminal that a temporary gateway was started in: when it closes, the gateway ends too.
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
                // A thread of its own, which ends with the process: nothing waits for it.
                std::thread::spawn(move || {
                    wait_for_hangup(&terminal);
                    let _ = sender.send(());
                });
                closed
            }),
        }
    }

    /// Whether SIGHUP ends the process: not where it was ignored from the start.
    pub fn ends_on_hangup() -> bool {
        !ignores_hangups()
    }

    /// Resolves once it has closed; never, where there is none.
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

/// Reads nothing: a process in the background that reads its terminal is stopped.
fn wait_for_hangup(terminal: &OwnedFd) {
    loop {
        // No event is asked for; the end of the other side is told all the same.
        let mut watched = [PollFd::new(terminal, PollFlags::empty())];
        match poll(&mut watched, None::<&Timespec>) {
            Ok(_) => return,
            Err(rustix::io::Errno::INTR) => {}
            // It cannot be watched: SIGHUP alone has to do.
            Err(_) => loop {
                std::thread::park();
            },
        }
    }
}

/// Linux says it in the process's status; elsewhere nothing is known, and the terminal counts.
fn ignores_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Bit 0 is signal 1.
    mask.is_some_and(|mask| mask & 1 == 1)
}

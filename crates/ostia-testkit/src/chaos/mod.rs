//! In: connections meant for a dependency (a backend, a database, an identity provider).
//! Out: the same bytes to and from it, or whichever fault is switched on; faults can change while connections are open.
//! Not here: protocols; it sees bytes only.

mod connection;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use crate::gate::Gate;
use crate::patience::within;
use crate::ports::loopback;

/// What happens to bytes from now on, on open connections too.
#[derive(Debug, Clone, Default)]
pub enum Mode {
    /// Passes everything.
    #[default]
    Pass,
    /// Each read waits for a release of this gate before it is passed on: latency under the test's control.
    Hold(Gate),
    /// Takes bytes and drops them; nothing comes back and nothing closes.
    BlackHole,
    /// Resets open connections, and new ones as soon as they are accepted.
    Reset,
    /// Closes new connections at once in an orderly way; open ones pass.
    TurnAway,
    /// Passes in writes of this many bytes.
    Slice(usize),
    /// Tells the client that the server has finished (FIN), while the client's bytes still pass.
    HalfClose,
}

/// A TCP proxy before one address.
pub struct ChaosProxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    counts: watch::Sender<Counts>,
    task: JoinHandle<()>,
}

/// Connections of a proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub accepted: usize,
    pub open: usize,
    pub bytes_to_server: u64,
    pub bytes_to_client: u64,
}

impl ChaosProxy {
    /// Listens on a free loopback port and passes everything to `server`.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(loopback(0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode = watch::Sender::new(Mode::Pass);
        let counts = watch::Sender::new(Counts::default());
        let accepting = accept(listener, server, mode.clone(), counts.clone());
        let task = ostia::runtime::spawn(accepting);
        Self {
            address,
            mode,
            counts,
            task,
        }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn switch(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until the counts are as `wanted` says.
    pub async fn until(&self, awaited: &str, wanted: impl FnMut(&Counts) -> bool) -> Counts {
        let mut counts = self.counts.subscribe();
        let describe = || format!("{awaited}; now {:?}", self.counts());
        *within(describe, counts.wait_for(wanted)).await.unwrap()
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connections end with the accept loop.
#[derive(Default)]
struct Connections(Vec<AbortHandle>);

impl Drop for Connections {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    mode: watch::Sender<Mode>,
    counts: watch::Sender<Counts>,
) {
    let mut connections = Connections::default();
    let counts = Arc::new(counts);
    loop {
        let (client, _) = listener.accept().await.unwrap();
        counts.send_modify(|counts| {
            counts.accepted += 1;
            counts.open += 1;
        });
        let open = connection::Open(Arc::clone(&counts));
        let work = connection::carry(client, server, mode.subscribe(), open);
        connections.0.retain(|connection| !connection.is_finished());
        connections
            .0
            .push(ostia::runtime::spawn(work).abort_handle());
    }
}

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};

use super::connection::serve;
use super::shared::Shared;
use crate::ports::loopback;

/// The accept loop, and the way to stop and start it.
pub(super) struct Listener {
    orders: mpsc::UnboundedSender<(Order, oneshot::Sender<()>)>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Refuse,
    Accept,
}

/// A bound socket that does not listen keeps the port and refuses connections.
enum Door {
    Open(TcpListener),
    Closed {
        _bound: TcpSocket,
    },
    /// Between the two.
    Gone,
}

struct AcceptLoop {
    address: SocketAddr,
    door: Door,
    shared: Arc<Shared>,
    connections: Vec<AbortHandle>,
}

impl Listener {
    pub async fn start(shared: Arc<Shared>) -> (SocketAddr, Self) {
        let door = TcpListener::bind(loopback(0)).await.unwrap();
        let address = door.local_addr().unwrap();
        let (orders, inbox) = mpsc::unbounded_channel();
        let accepting = AcceptLoop {
            address,
            door: Door::Open(door),
            shared,
            connections: Vec::new(),
        };
        let task = ostia::runtime::spawn(accepting.run(inbox));
        (address, Self { orders, task })
    }

    pub async fn refuse(&self) {
        self.order(Order::Refuse).await;
    }

    pub async fn accept(&self) {
        self.order(Order::Accept).await;
    }

    async fn order(&self, order: Order) {
        let (done, obeyed) = oneshot::channel();
        self.orders.send((order, done)).unwrap();
        obeyed.await.unwrap();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl AcceptLoop {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<(Order, oneshot::Sender<()>)>) {
        loop {
            let order = match &self.door {
                Door::Open(listener) => tokio::select! {
                    order = inbox.recv() => order,
                    accepted = listener.accept() => {
                        let (stream, _) = accepted.unwrap();
                        self.welcome(stream);
                        continue;
                    }
                },
                Door::Closed { .. } | Door::Gone => inbox.recv().await,
            };
            let Some((order, done)) = order else { return };
            self.obey(order);
            done.send(()).ok();
        }
    }

    fn welcome(&mut self, stream: tokio::net::TcpStream) {
        let number = self.shared.change(|state| {
            state.counts.connections += 1;
            state.counts.open_connections += 1;
            state.counts.connections - 1
        });
        let work = serve(Arc::clone(&self.shared), stream, number);
        self.connections
            .retain(|connection| !connection.is_finished());
        self.connections
            .push(ostia::runtime::spawn(work).abort_handle());
    }

    fn obey(&mut self, order: Order) {
        // The old socket must be gone before the port can be bound again.
        self.door = Door::Gone;
        let socket = bound(self.address);
        self.door = match order {
            Order::Refuse => Door::Closed { _bound: socket },
            Order::Accept => Door::Open(socket.listen(1024).unwrap()),
        };
    }
}

impl Drop for AcceptLoop {
    fn drop(&mut self) {
        for connection in &self.connections {
            connection.abort();
        }
    }
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    // Earlier connections may still linger on the port.
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

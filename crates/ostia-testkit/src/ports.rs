//! Addresses that nobody answers at, held for as long as the value lives so that no other test gets them.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections are refused.
#[derive(Debug)]
pub struct ClosedPort {
    address: SocketAddr,
    _bound: TcpSocket,
}

/// Connections are neither accepted nor refused: the handshake hangs until the caller gives up.
#[derive(Debug)]
pub struct DeafPort {
    address: SocketAddr,
    _full: TcpListener,
    _fillers: Vec<TcpStream>,
}

impl ClosedPort {
    pub fn bind() -> Self {
        let bound = TcpSocket::new_v4().unwrap();
        bound.bind(loopback(0)).unwrap();
        Self {
            address: bound.local_addr().unwrap(),
            _bound: bound,
        }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl DeafPort {
    /// Fills the accept queue of a listener that never accepts; Linux then drops what else knocks.
    pub async fn bind() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(loopback(0)).unwrap();
        let full = socket.listen(0).unwrap();
        let address = full.local_addr().unwrap();
        // A backlog of 0 holds one connection.
        let filler = TcpStream::connect(address).await.unwrap();
        Self {
            address,
            _full: full,
            _fillers: vec![filler],
        }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

pub(crate) const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_closed_port_refuses() {
        let port = ClosedPort::bind();
        let error = TcpStream::connect(port.address()).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_deaf_port_lets_the_handshake_hang() {
        let port = DeafPort::bind().await;
        // Were it a closed or a serving port, this would be decided within microseconds.
        let knock = TcpStream::connect(port.address());
        let waited = tokio::time::timeout(Duration::from_millis(50), knock).await;
        assert!(waited.is_err(), "{waited:?}");
    }
}

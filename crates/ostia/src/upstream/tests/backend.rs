use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A listener on loopback that plays a script for each connection. It stops when dropped.
pub(super) struct Backend {
    pub(super) port: u16,
    accepted: Arc<AtomicUsize>,
    acceptor: JoinHandle<()>,
}

/// The far end of one connection.
pub(super) struct Peer<S = TcpStream> {
    pub(super) socket: S,
    unread: Vec<u8>,
}

pub(super) struct Received {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Backend {
    /// `script` plays each connection; it gets the connection's number, from 0.
    pub(super) async fn start<F>(script: impl Fn(usize, Peer) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_on("127.0.0.1:0", script).await
    }

    pub(super) async fn start_on<F>(
        address: &str,
        script: impl Fn(usize, Peer) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&accepted);
        let acceptor = crate::runtime::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst);
                drop(crate::runtime::spawn(script(number, Peer::new(socket))));
            }
        });
        Self {
            port,
            accepted,
            acceptor,
        }
    }

    /// Answers every request on every connection with the same bytes.
    pub(super) async fn answering(answer: &'static str) -> Self {
        Self::start(move |_, mut peer| async move {
            while peer.request().await.is_some() {
                peer.send(answer).await;
            }
        })
        .await
    }

    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(super) fn new(socket: S) -> Self {
        Self {
            socket,
            unread: Vec::new(),
        }
    }

    /// The next head, as text.
    pub(super) async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.unread, b"\r\n\r\n") {
                let head: Vec<u8> = self.unread.drain(..end + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            self.more().await?;
        }
    }

    /// The next request, complete; `None` once the gateway has closed.
    pub(super) async fn request(&mut self) -> Option<Received> {
        let head = self.head().await?;
        let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < length {
            self.more().await?;
        }
        let body = self.unread.drain(..length).collect();
        Some(Received { head, body })
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The gateway may be gone; the test asserts what matters.
        let _ = self.socket.write_all(bytes.as_ref()).await;
        let _ = self.socket.flush().await;
    }

    /// Waits until the gateway has closed.
    pub(super) async fn gone(&mut self) {
        while self.more().await.is_some() {}
    }

    async fn more(&mut self) -> Option<()> {
        match self.socket.read_buf(&mut self.unread).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }
}

pub(super) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

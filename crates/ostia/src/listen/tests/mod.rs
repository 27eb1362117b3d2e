//! Raw sockets against [`serve`], with handlers that are closures.

mod broken;
mod caps;
mod desync;
mod drain;
mod exhaustion;
mod heads;
mod http2;
mod timers;
mod tls;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use ostia_core::SystemClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{
    BodyBroken, Connections, Drain, Handler, Inbound, Listener, Options, Rejection, serve,
};
use crate::runtime;
use crate::settings::ListenAddress;

/// How long a test waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(60);

type Polled = Poll<Option<Result<Frame<Bytes>, BodyBroken>>>;

struct TestBody {
    poll: Box<dyn FnMut(&mut Context<'_>) -> Polled + Send>,
    length: Option<u64>,
    /// Notified when the body is dropped.
    dropped: Option<Guard>,
}

/// Sends a message when it is dropped.
struct Guard(mpsc::UnboundedSender<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.send(()).ok();
    }
}

impl TestBody {
    fn new(poll: impl FnMut(&mut Context<'_>) -> Polled + Send + 'static) -> Self {
        Self {
            poll: Box::new(poll),
            length: None,
            dropped: None,
        }
    }

    fn full(text: impl Into<Bytes>) -> Self {
        let mut text = Some(text.into());
        let length = text.as_ref().map(|text| text.len() as u64);
        Self {
            length,
            ..Self::new(move |_| {
                let text = text.take().filter(|text| !text.is_empty());
                Poll::Ready(text.map(|text| Ok(Frame::data(text))))
            })
        }
    }

    /// Repeats the same frame forever.
    fn endless(frame: Bytes) -> Self {
        Self::new(move |_| Poll::Ready(Some(Ok(Frame::data(frame.clone())))))
    }

    fn silent() -> Self {
        Self::new(|_| Poll::Pending)
    }

    fn telling(mut self, dropped: mpsc::UnboundedSender<()>) -> Self {
        self.dropped = Some(Guard(dropped));
        self
    }
}

impl Body for TestBody {
    type Data = Bytes;
    type Error = BodyBroken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        (self.poll)(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

struct Acting<F>(F);

impl<F, A> Handler for Acting<F>
where
    F: Fn(Inbound) -> A + Send + Sync + 'static,
    A: Future<Output = Response<TestBody>> + Send,
{
    type Body = TestBody;

    async fn handle(self: Arc<Self>, inbound: Inbound) -> Response<TestBody> {
        (self.0)(inbound).await
    }

    fn reject(&self, _: Inbound, rejection: Rejection) -> Response<TestBody> {
        let status = match rejection {
            Rejection::UriTooLong(_) => 414,
            Rejection::MethodNotAllowed => 405,
            Rejection::ExpectationFailed => 417,
            Rejection::TooMany { .. } => 429,
            Rejection::BadHost | Rejection::BadTarget | Rejection::BadFraming => 400,
        };
        let mut response = Response::new(TestBody::full(format!("{rejection:?}")));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    }
}

fn answer(status: u16, text: impl Into<Bytes>) -> Response<TestBody> {
    let mut response = Response::new(TestBody::full(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// Reads the whole body and responds with its length.
async fn echo(inbound: Inbound) -> Response<TestBody> {
    let path = inbound.head.uri.path().to_owned();
    match inbound.body.collect().await {
        Ok(body) => answer(200, format!("{path} {}", body.to_bytes().len())),
        Err(_) => answer(400, "broken body"),
    }
}

fn options() -> Options {
    Options {
        max_connections: 1000,
        connections_per_address: 1000,
        header_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        announced_idle: Duration::ZERO,
        write_idle_timeout: PATIENCE,
        give_up_grace: PATIENCE,
        trusted_proxies: Vec::new(),
        tls: None,
        connections: Arc::default(),
    }
}

struct Gateway {
    address: SocketAddr,
    drain: Drain,
    connections: Arc<Connections>,
    served: JoinHandle<()>,
}

impl Gateway {
    async fn start<F, A>(options: Options, act: F) -> Self
    where
        F: Fn(Inbound) -> A + Send + Sync + 'static,
        A: Future<Output = Response<TestBody>> + Send + 'static,
    {
        let address = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
        let listener = Listener::bind(&address).await.unwrap();
        let (drain, connections) = (Drain::new(), Arc::clone(&options.connections));
        Self {
            address: listener.local_address().unwrap(),
            drain: drain.clone(),
            connections,
            served: runtime::spawn(serve(
                listener,
                options.swappable(),
                Arc::new(Acting(act)),
                drain,
                Arc::new(SystemClock),
            )),
        }
    }

    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    /// A whole connection: sends everything, then reads to the end.
    async fn talk(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let mut client = self.connect().await;
        client.send(bytes).await;
        client.read_all().await
    }

    async fn ended(self) {
        timeout(PATIENCE, self.served).await.unwrap().unwrap();
    }

    async fn until_none_is_open(&self) {
        timeout(PATIENCE, self.connections.none_left())
            .await
            .unwrap();
    }
}

struct Client(TcpStream);

impl Client {
    /// The peer may have closed already; what it sent can still be read.
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.ok();
    }

    async fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"))
            .await;
    }

    /// To the end of the connection, however it ends.
    async fn read_all(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        timeout(PATIENCE, self.0.read_to_end(&mut bytes))
            .await
            .expect("the connection ends")
            .ok();
        bytes
    }

    async fn read_until(&mut self, wanted: &str) -> String {
        let mut bytes = Vec::new();
        let reading = async {
            while !text(&bytes).contains(wanted) {
                let read = self.0.read_buf(&mut bytes).await.unwrap();
                assert_ne!(read, 0, "no {wanted:?} in {:?}", text(&bytes));
            }
        };
        timeout(PATIENCE, reading).await.expect("the bytes come");
        text(&bytes)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn count_answers(bytes: &[u8]) -> usize {
    text(bytes).matches("HTTP/1.1 ").count()
}

fn status(bytes: &[u8]) -> u16 {
    text(bytes)
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0)
}

async fn next<T>(events: &mut mpsc::UnboundedReceiver<T>) -> T {
    timeout(PATIENCE, events.recv()).await.unwrap().unwrap()
}

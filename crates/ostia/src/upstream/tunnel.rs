use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderName, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ostia_core::{Clock, Secret};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client::within;
use super::connect::Connector;
use super::resolver::Resolver;
use super::socket::Socket;
use super::{BodyError, Client, ClientError, Outgoing};
use crate::catalog::{Target, Timeouts};
use crate::habits::{Stepping, broken_off, refused};
use crate::listen::{LOOK_AGAIN, REPLICA};

/// The most concurrent requests. The gateway sends fewer if the lease limits them.
const STREAMS: u32 = 1024;
/// How much of a request is buffered here for the engine.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;
/// How much of an answer is buffered here for the gateway.
const SEND_BUFFER: usize = 256 * 1024;
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the gateway may take to accept the connection and to answer the request for a tunnel.
const PATIENCE: Duration = Duration::from_secs(15);
const LONGEST_HEAD: usize = 16 * 1024;
/// Larger than any gateway accepts.
const LONGEST_BODY: usize = 1 << 30;
/// Headers that apply to one connection only (RFC 9110 section 7.6.1).
const OF_CONNECTIONS: [HeaderName; 4] = [
    CONNECTION,
    TRANSFER_ENCODING,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The engine's side of a tunnel: opens a connection to a gateway, and answers the requests on it by asking the engine.
pub struct Tunnel {
    connector: Connector,
    gateway: Target,
    path_and_query: String,
    /// The request line's end and the fields.
    head: Secret<String>,
    engine: Arc<Engine>,
}

/// A tunnel that a gateway accepted.
pub struct OpenTunnel {
    /// The replica of the gateway at the other end.
    pub replica: Arc<str>,
    socket: Socket,
    engine: Arc<Engine>,
}

struct Engine {
    client: Arc<Client>,
    /// Until it is set, no request reaches the engine.
    is_ready: Arc<AtomicBool>,
}

/// Why a tunnel is closed.
#[derive(Debug, thiserror::Error)]
pub enum TunnelFault {
    #[error("{0}")]
    Unreachable(String),
    /// The replica that answered has a tunnel from here already.
    #[error("this replica has a tunnel already")]
    Held,
    /// The status and the text of the gateway's answer.
    #[error("the gateway answered {0}: {1}")]
    Refused(u16, String),
    #[error("the tunnel broke: {0}")]
    Broken(String),
}

impl Tunnel {
    /// `path_and_query`: of the request to the gateway; `key`: the registrar's API key; `is_ready`: whether requests may
    /// reach the engine. Others are refused, and the gateway may send them to another engine.
    ///
    /// # Errors
    ///
    /// The TLS files or the proxy of the gateway's target cannot be used.
    pub fn new(
        gateway: Target,
        path_and_query: &str,
        key: &Secret<String>,
        (client, is_ready): (Arc<Client>, Arc<AtomicBool>),
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ClientError> {
        let head = format!(
            " HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\nconnection: upgrade\r\nupgrade: ostia-tunnel\r\n\r\n",
            gateway.origin.authority(),
            key.expose(),
        );
        let resolver = Arc::new(Resolver::new(clock));
        Ok(Self {
            connector: Connector::new(&gateway, resolver)?.for_tunnels(),
            gateway,
            path_and_query: path_and_query.to_owned(),
            head: Secret::new(head),
            engine: Arc::new(Engine { client, is_ready }),
        })
    }

    /// Opens a connection. `held`: the replicas that have a tunnel from here, so that the one that answers can say so.
    ///
    /// # Errors
    ///
    /// No gateway accepted it.
    pub async fn open(&self, held: &[Arc<str>]) -> Result<OpenTunnel, TunnelFault> {
        let late = || TunnelFault::Unreachable("the gateway does not answer in time".to_owned());
        let opened = within(Some(PATIENCE), self.ask(held)).await;
        let (replica, socket) = opened.ok_or_else(late)??;
        let engine = Arc::clone(&self.engine);
        Ok(OpenTunnel {
            replica,
            socket,
            engine,
        })
    }

    async fn ask(&self, held: &[Arc<str>]) -> Result<(Arc<str>, Socket), TunnelFault> {
        let unreachable = |why: String| TunnelFault::Unreachable(why);
        let connected = self.connector.connect(&self.gateway.origin).await;
        let mut socket = connected.map_err(|error| unreachable(error.detail))?.socket;
        let mark = if self.path_and_query.contains('?') {
            '&'
        } else {
            '?'
        };
        let (path, head) = (&self.path_and_query, self.head.expose());
        let request = Secret::new(format!("GET {path}{mark}held={}{head}", held.join(",")));
        let written = socket.write_all(request.expose().as_bytes()).await;
        written.map_err(|error| unreachable(error.to_string()))?;
        let mut head = Vec::new();
        // Read byte by byte, because what follows the head is no longer HTTP/1.1.
        while !head.ends_with(b"\r\n\r\n") {
            let byte = socket.read_u8().await;
            head.push(byte.map_err(|error| unreachable(error.to_string()))?);
            if head.len() > LONGEST_HEAD {
                return Err(unreachable("the gateway's answer has no end".to_owned()));
            }
        }
        let head = String::from_utf8_lossy(&head);
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
        match (status, replica(&head)) {
            (Some(101), Some(replica)) => Ok((replica, socket)),
            (Some(409), Some(_)) => Err(TunnelFault::Held),
            (status, _) => {
                let mut body = [0; 2048];
                let read = socket.read(&mut body).await.unwrap_or(0);
                let said = body.get(..read).unwrap_or_default();
                let said = String::from_utf8_lossy(said).into_owned();
                Err(TunnelFault::Refused(status.unwrap_or(0), said))
            }
        }
    }
}

impl OpenTunnel {
    /// Answers requests until the tunnel closes. Once `end` resolves, the gateway sends no new ones, and running ones
    /// end. Calls `look_again` when another process answers at the gateway's address.
    ///
    /// # Errors
    ///
    /// It broke.
    pub async fn serve(
        self,
        end: impl Future<Output = ()>,
        look_again: impl Fn() + Send,
    ) -> Result<(), TunnelFault> {
        let engine = self.engine;
        let service = service_fn(move |request: Request<Incoming>| {
            let is_for_us = request.uri().path() == LOOK_AGAIN;
            if is_for_us {
                look_again();
            }
            let engine = Arc::clone(&engine);
            async move {
                match is_for_us {
                    true => Ok(told()),
                    false => forward(engine, request).await,
                }
            }
        });
        let connection = http2::Builder::new(Stepping::default())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(TokioIo::new(self.socket), service);
        let (mut connection, mut end) = (pin!(connection), pin!(end));
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = &mut end => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        ended.map_err(|error| TunnelFault::Broken(error.to_string()))
    }
}

/// The replica that an answer's head names.
fn replica(head: &str) -> Option<Arc<str>> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let named = fields.find(|(name, _)| name.eq_ignore_ascii_case(REPLICA))?;
    Some(named.1.trim().into())
}

type Answered = UnsyncBoxBody<Bytes, BodyError>;

/// Sends a request to the engine, and passes its bytes on as they arrive. If the gateway hangs up, this is dropped,
/// which closes the connection to the engine. Where the engine has surely done no work, the stream is refused, so that the
/// gateway may send the request to another engine.
async fn forward(
    engine: Arc<Engine>,
    request: Request<Incoming>,
) -> Result<Response<Answered>, h2::Error> {
    if !engine.is_ready.load(Ordering::Relaxed) {
        return Err(refused());
    }
    let (mut head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, LONGEST_BODY).collect().await else {
        return Err(refused());
    };
    for name in [HOST, CONTENT_LENGTH].iter().chain(&OF_CONNECTIONS) {
        head.headers.remove(name);
    }
    let path = head.uri.path_and_query();
    let outgoing = Outgoing {
        method: head.method,
        origin: None,
        path_and_query: path.map_or_else(|| "/".to_owned(), ToString::to_string),
        headers: head.headers,
        body: vec![body.to_bytes()],
        // The gateway enforces the timeouts.
        timeouts: Timeouts::default(),
        stream: false,
    };
    let answer = match engine.client.send(outgoing, &mut |_| {}).await {
        Ok(answer) => answer,
        Err(failure) if failure.retry_safe => return Err(refused()),
        Err(_) => return Err(broken_off()),
    };
    let mut response = Response::new(answer.body.boxed_unsync());
    *response.status_mut() = answer.head.status;
    *response.headers_mut() = answer.head.headers;
    for name in &OF_CONNECTIONS {
        response.headers_mut().remove(name);
    }
    Ok(response)
}

/// The answer to a message that is not for the engine.
fn told() -> Response<Answered> {
    let body = Empty::new().map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

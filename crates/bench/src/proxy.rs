//! The floor: the least that a proxy made of hyper can do. One header compared, pooled connections, bodies passed on as
//! they come. What Ostia costs beyond it is what Ostia does.

use crate::Result;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::net::{TcpListener, TcpStream};

#[derive(clap::Args)]
pub struct Args {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    upstream: SocketAddr,
    /// What `Authorization: Bearer` must hold
    #[arg(long)]
    key: String,
}

struct Proxy {
    upstream: SocketAddr,
    host: HeaderValue,
    admitted: HeaderValue,
    idle: RefCell<Vec<SendRequest<Incoming>>>,
}

pub async fn run(args: Args) -> Result<()> {
    let listener = TcpListener::bind(args.listen).await?;
    let proxy = Rc::new(Proxy {
        upstream: args.upstream,
        host: HeaderValue::try_from(args.upstream.to_string())?,
        admitted: HeaderValue::try_from(format!("Bearer {}", args.key))?,
        idle: RefCell::default(),
    });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let proxy = Rc::clone(&proxy);
        tokio::task::spawn_local(async move {
            let answer = service_fn(|request| Rc::clone(&proxy).answer(request));
            let server = hyper::server::conn::http1::Builder::new();
            // A client that leaves is not a failure.
            let _ = server.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

impl Proxy {
    async fn answer(
        self: Rc<Self>,
        mut request: Request<Incoming>,
    ) -> hyper::Result<Response<Relayed>> {
        if request.headers().get(AUTHORIZATION) != Some(&self.admitted) {
            return Ok(empty(StatusCode::UNAUTHORIZED));
        }
        request.headers_mut().insert(HOST, self.host.clone());
        request.headers_mut().remove(AUTHORIZATION);
        let Some(mut connection) = self.connection().await else {
            return Ok(empty(StatusCode::BAD_GATEWAY));
        };
        let response = connection.send_request(request).await?;
        Ok(response.map(|body| Relayed(Some((body, connection, self)))))
    }

    async fn connection(&self) -> Option<SendRequest<Incoming>> {
        while let Some(connection) = self.idle.borrow_mut().pop() {
            if connection.is_ready() {
                return Some(connection);
            }
        }
        let stream = TcpStream::connect(self.upstream).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (connection, driver) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::task::spawn_local(driver);
        Some(connection)
    }
}

fn empty(status: StatusCode) -> Response<Relayed> {
    let mut response = Response::new(Relayed(None));
    *response.status_mut() = status;
    response
}

/// An answer's body, with the connection that it comes on: read to its end, the connection is used again.
struct Relayed(Option<(Incoming, SendRequest<Incoming>, Rc<Proxy>)>);

impl Relayed {
    fn give_back(&mut self) {
        if let Some((_, connection, proxy)) = self.0.take() {
            proxy.idle.borrow_mut().push(connection);
        }
    }
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Some((body, ..)) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        if polled.is_ready() && body.is_end_stream() {
            self.give_back();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|(body, ..)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Some((body, ..)) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

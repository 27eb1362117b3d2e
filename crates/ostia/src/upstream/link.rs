use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep};

use super::FailureKind;
use super::message::OutBody;
use super::pool::Open;
use super::socket::{Socket, Traffic};
use super::trouble::{Trouble, chain, kind_of};
use crate::habits::Driven;

/// An HTTP/1.1 connection without a task of its own: whoever holds it drives it by polling. Dropping it closes the
/// socket, so the backend notices at once when a request is given up.
///
/// This only works because of how hyper's parts hand over to each other; [`Driven`] lists what it relies on.
pub(super) struct Link {
    driven: Driven<TokioIo<Socket>, OutBody>,
    traffic: Arc<Traffic>,
    _open: Open,
}

impl Link {
    pub(super) async fn open(socket: Socket, open: Open) -> Result<Box<Self>, hyper::Error> {
        let traffic = socket.traffic();
        Ok(Box::new(Self {
            driven: Driven::open(TokioIo::new(socket)).await?,
            traffic,
            _open: open,
        }))
    }

    /// Sends a request and waits for the response head. `patience` counts from the last byte of the request that was
    /// sent; `begun` is called when the first one has been.
    ///
    /// Before anything is written, it reads what the peer sent while the connection was idle, mostly its close. That is
    /// what makes reuse safe without a check when the connection is taken from the pool.
    pub(super) async fn exchange(
        &mut self,
        request: Request<OutBody>,
        patience: Option<Duration>,
        begun: &mut (dyn FnMut() + Send),
    ) -> Result<Response<Incoming>, Trouble> {
        self.traffic.head_awaited();
        let (read, written) = (self.traffic.read(), self.traffic.written());
        let mut reply = pin!(self.driven.send(request));
        let mut stall = pin!(Stall::new(patience, written));
        let mut told = false;
        let outcome = std::future::poll_fn(|cx| {
            if let Poll::Ready(reply) = self.driven.poll_with(cx, |cx| reply.as_mut().poll(cx)) {
                return Poll::Ready(Some(reply));
            }
            // Only a poll of the connection shows what has left the socket. Report it at once: if this future is
            // dropped, the row must say how far the request came.
            let now_written = self.traffic.written();
            if now_written != written && !told {
                told = true;
                begun();
            }
            stall.as_mut().poll(cx, now_written).map(|()| None)
        })
        .await;
        // The request can leave and the response arrive within a single poll, before the check above runs.
        let written = self.traffic.written() != written;
        if written && !told {
            begun();
        }
        // A connection that dies without a byte of response ("silent") was most likely already closed by the backend,
        // so the caller may retry on a new connection. A byte means that the backend saw the request.
        let answered = self.traffic.read() != read;
        let (kind, detail) = match outcome {
            Some(Ok(answer)) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => (
                FailureKind::Invalid,
                "a 101 that nobody asked for".to_owned(),
            ),
            Some(Ok(answer)) => {
                self.traffic.head_came();
                return Ok(answer);
            }
            Some(Err(refused)) => (kind_of(refused.error()), chain(refused.error())),
            None => (FailureKind::Timeout, "no response head in time".to_owned()),
        };
        Err(Trouble {
            silent: kind == FailureKind::Closed && !answered,
            kind,
            detail,
            written,
            refused: false,
        })
    }

    /// The next frame of the response body on this connection.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Incoming,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut body = Pin::new(body);
        self.driven.poll_with(cx, |cx| body.as_mut().poll_frame(cx))
    }

    /// Whether another request can be sent: both messages were complete and neither side wants to close.
    pub(super) fn is_idle(&mut self) -> bool {
        self.driven.is_idle()
    }

    /// Checks whether the peer has closed an idle connection.
    pub(super) fn is_alive(&mut self) -> bool {
        self.driven.is_alive()
    }

    /// To be called before the connection goes to the pool: its waker must not keep the last request's task alive.
    pub(super) fn rest(&self) {
        self.driven.rest();
    }
}

pin_project_lite::pin_project! {
    /// Fires when nothing has been written for `patience`.
    struct Stall {
        patience: Option<Duration>,
        written: u64,
        #[pin]
        timer: Option<Sleep>,
    }
}

impl Stall {
    fn new(patience: Option<Duration>, written: u64) -> Self {
        Self {
            patience,
            written,
            timer: None,
        }
    }

    /// Armed once for a request that leaves in one write, and reset only while a long one is still being written.
    /// Arming it in every poll would touch the timer wheel each time.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>, written: u64) -> Poll<()> {
        let mut this = self.project();
        let Some(patience) = *this.patience else {
            return Poll::Pending;
        };
        let moved = *this.written != written;
        *this.written = written;
        match this.timer.as_mut().as_pin_mut() {
            None => this.timer.set(Some(tokio::time::sleep(patience))),
            Some(timer) if moved => timer.reset(Instant::now() + patience),
            Some(_) => {}
        }
        match this.timer.as_pin_mut() {
            Some(timer) => timer.poll(cx),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::task::Waker;

    use http::{HeaderMap, Method};
    use http_body_util::BodyExt;

    use super::super::message::{Message, OriginParts};
    use super::super::pool::Gauges;
    use super::super::socket::Stream;
    use super::*;
    use crate::catalog::{Origin, Scheme};

    /// The runtime reports a socket readable only after it has polled the reactor; until then a write may already fail.
    #[tokio::test]
    async fn an_answer_that_waits_is_read_though_the_request_cannot_be_written() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        // Nothing is awaited here, so the runtime does not poll the reactor.
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"HTTP/1.1 413 Too Big\r\ncontent-length: 3\r\n\r\nbig")
            .unwrap();
        socket2::SockRef::from(&peer)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(peer);

        let origin = Origin {
            scheme: Scheme::Http,
            host: "127.0.0.1".into(),
            port: address.port(),
        };
        let body = vec![Bytes::from(vec![b'x'; 100_000])];
        let request = Message::new(Method::POST, "/".to_owned(), HeaderMap::new(), body)
            .unwrap()
            .into_http1(&OriginParts::new(&origin, None).unwrap())
            .unwrap();
        let open = Arc::<Gauges>::default().opened();
        let mut link = Link::open(Socket::new(Stream::Plain(stream)), open)
            .await
            .unwrap();
        let answer = link
            .exchange(request, Some(Duration::from_secs(20)), &mut || {})
            .await;
        let answer = answer.map_err(|trouble| trouble.detail).unwrap();
        assert_eq!(answer.status(), 413);
        let mut body = answer.into_body();
        let frame = std::future::poll_fn(|cx| link.poll_body(cx, &mut body)).await;
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), "big");
        assert!(body.is_end_stream() || body.frame().await.is_none());
        assert!(!link.is_idle());
    }

    /// Write and response may happen within one poll: with a peer this close and a body this long they sometimes do.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn an_answer_at_once_tells_that_the_request_had_begun() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for peer in listener.incoming() {
                let mut peer = peer.unwrap();
                peer.read_exact(&mut [0]).unwrap();
                peer.write_all(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")
                    .unwrap();
                let _ = std::io::copy(&mut peer, &mut std::io::sink());
            }
        });
        let origin = Origin {
            scheme: Scheme::Http,
            host: "127.0.0.1".into(),
            port: address.port(),
        };
        let body = Bytes::from(vec![b'x'; 200_000]);
        for _ in 0..200 {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let open = Arc::<Gauges>::default().opened();
            let mut link = Link::open(Socket::new(Stream::Plain(stream)), open)
                .await
                .unwrap();
            let body = vec![body.clone()];
            let request = Message::new(Method::POST, "/".to_owned(), HeaderMap::new(), body)
                .unwrap()
                .into_http1(&OriginParts::new(&origin, None).unwrap())
                .unwrap();
            let mut told = 0;
            let answer = link.exchange(request, None, &mut || told += 1).await;
            let answer = answer.map_err(|trouble| trouble.detail).unwrap();
            assert_eq!((answer.status().as_u16(), told), (500, 1));
        }
    }

    fn deadline(stall: &mut Pin<&mut Stall>, written: u64) -> Option<Instant> {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(stall.as_mut().poll(&mut cx, written).is_pending());
        let timer = stall.as_mut().project().timer;
        timer.as_ref().as_pin_ref().map(|timer| timer.deadline())
    }

    fn next_instant() {
        let now = Instant::now();
        while Instant::now() == now {}
    }

    #[tokio::test]
    async fn the_wait_for_the_head_begins_with_the_last_byte_written() {
        let mut stall = pin!(Stall::new(Some(Duration::from_secs(60)), 0));
        let first = deadline(&mut stall, 100);
        next_instant();
        assert_eq!(deadline(&mut stall, 100), first);
        let moved = deadline(&mut stall, 101);
        assert!(moved > first);
        next_instant();
        assert_eq!(deadline(&mut stall, 101), moved);

        let mut endless = pin!(Stall::new(None, 0));
        assert_eq!(deadline(&mut endless, 100), None);
    }
}

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper::rt::{Read, Write};

use super::gate::Gate;

/// The longest response head. hyper reads ahead at most twice this much of a response.
///
/// If a buffer of this size holds no complete head, the connection ends (`proto/h1/io.rs`, `parse`: `max_buf_size`).
/// The buffer doubles as it grows, and one read may fill it (`poll_read_from_io`). While a body is relayed, hyper holds
/// that buffer and one frame that nobody has taken yet (`body/chan.rs`). Interim responses (1xx) are removed from the
/// buffer one by one and counted nowhere.
pub const HEAD_LIMIT: usize = 128 * 1024;

/// What a socket returns to a write that finds the peer gone, so that the read side decides what happened to the
/// connection.
///
/// On a write error hyper gives up, even with an unread response. A pending write does not keep it from reading, which
/// it does first in every poll (`proto/h1/dispatch.rs`, `poll_loop`).
pub fn defer_to_reading<T>() -> Poll<T> {
    Poll::Pending
}

/// An HTTP/1.1 connection to a backend without a task of its own: the request that uses it polls it. Dropping it closes
/// the socket.
///
/// This relies on how hyper's three parts (connection, reply, body) hand over to each other (`client/dispatch.rs`,
/// `body/chan.rs`):
///
/// - A reply or a body receives things only during a poll of the connection, or from its drop. So it is enough to poll
///   the connection and then them, with a waker that nobody calls.
/// - They ask for more through the waker of the connection's last poll. So a connection whose waker was called in the
///   meantime has more to give.
/// - A poll reads first. The peer's close of an idle connection is seen before the next request is taken from the
///   queue, and the request comes back unsent.
/// - The poll that takes a request from the queue writes all of it, body included, if the socket takes it.
/// - A connection that is ready for the next request may report it one poll late, because the end of the message waits
///   in its buffer. It never reports it before both messages are complete, nor with bytes left after the response.
/// - Dropping an ended connection ends a reply or a body with an error, never as if it were complete.
pub struct Driven<T, B>
where
    T: Read + Write,
    B: Body + 'static,
{
    sender: http1::SendRequest<B>,
    /// `None` once it has ended.
    connection: Option<http1::Connection<T, B>>,
    gate: Arc<Gate>,
    waker: Waker,
}

impl<T, B> Driven<T, B>
where
    T: Read + Write + Unpin,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: std::error::Error + Send + Sync,
{
    pub async fn open(io: T) -> Result<Self, hyper::Error> {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_LIMIT)
            .handshake(io)
            .await?;
        let gate = Arc::<Gate>::default();
        Ok(Self {
            sender,
            connection: Some(connection),
            waker: gate.waker(),
            gate,
        })
    }

    /// Queues a request. Poll the reply within [`Driven::poll_with`].
    ///
    /// It must not be subject to tokio's budget, as its channel is: nobody would wake it.
    pub fn send(
        &mut self,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<B>>>> + use<T, B>
    {
        tokio::task::unconstrained(self.sender.try_send_request(request))
    }

    /// Polls the connection, then what it feeds: a reply, or the body of a response.
    pub fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut fed: impl FnMut(&mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        // The second round is for what the two had to tell each other. More rounds could spin: once this task's budget
        // is spent, tokio's sockets wake at once and stay pending.
        for _ in 0..2 {
            self.gate.shut(cx);
            self.drive();
            let polled = fed(&mut Context::from_waker(Waker::noop()));
            let woken = self.gate.open();
            if polled.is_ready() || !woken {
                return polled;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether another request can be sent: both messages were complete and neither side wants to close.
    pub fn is_idle(&mut self) -> bool {
        if !self.sender.is_ready() {
            self.drive();
        }
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Checks whether the peer has closed an idle connection.
    pub fn is_alive(&mut self) -> bool {
        self.drive();
        self.connection.is_some()
    }

    /// Releases the task that used the connection last.
    pub fn rest(&self) {
        self.gate.forget();
    }

    /// Drops an ended connection at once: only that tells the other ends of its channels.
    fn drive(&mut self) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection)
                .poll(&mut Context::from_waker(&self.waker))
                .is_ready()
        {
            self.connection = None;
        }
    }
}

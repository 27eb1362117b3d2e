use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper::rt::{Read, Write};

use super::gate::Gate;

/// How long an answer's head may be; twice this is how much of an answer hyper reads ahead of its reader.
///
/// A buffer that holds so much without a whole head ends the connection (`proto/h1/io.rs`, `parse`: `max_buf_size`). The
/// buffer grows by doubling, and one read fills all of it (`poll_read_from_io`). Of a body hyper holds that buffer and one
/// frame that nobody has taken yet (`body/chan.rs`). Interim answers (1xx) are taken out of the buffer one by one and
/// counted nowhere.
pub const HEAD_LIMIT: usize = 128 * 1024;

/// What a socket says to a write that finds the peer gone, so that reading decides what became of the connection.
///
/// hyper gives up on a write's error, with an answer still unread; a write that stays pending does not keep it from
/// reading, which is the first thing it does whenever it is polled (`proto/h1/dispatch.rs`, `poll_loop`).
pub fn defer_to_reading<T>() -> Poll<T> {
    Poll::Pending
}

/// An HTTP/1.1 connection to a backend without a task of its own: polled by the request that it serves. Dropped, it closes its
/// socket.
///
/// This leans on how hyper's three parts hand over to each other (`client/dispatch.rs`, `body/chan.rs`):
///
/// - All that a reply or a body ever gets it gets within a poll of the connection, or from its drop. So it is enough to poll
///   the connection and then them, with a waker that nobody calls.
/// - They ask for more through the waker of the connection's last poll, so a connection whose waker was called meanwhile has
///   something more to give.
/// - A poll reads first. A peer's end on an idle connection is seen before the next request is taken from its queue, and
///   the request comes back unsent.
/// - A request and its whole body, if the socket takes them, are written by the poll that takes it from the queue.
/// - A connection that is ready for the next request may say so only one poll later, because the end of the message waits in
///   its buffer. It never says so before both messages are whole, or with bytes behind the answer.
/// - An ended connection, once dropped, ends a reply and a body with an error: never as if they were whole.
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

    /// Queues a request. The reply is to be polled within [`Driven::poll_with`].
    ///
    /// It must not be held back by tokio's budget, as its channel is: nobody would wake it.
    pub fn send(
        &mut self,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<B>>>> + use<T, B>
    {
        tokio::task::unconstrained(self.sender.try_send_request(request))
    }

    /// Polls the connection and then what it feeds: a reply, or the body of an answer.
    pub fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut fed: impl FnMut(&mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        // A second round is for what the two had to say to each other. More could spin: with this task's budget spent,
        // tokio's sockets wake at once and stay pending.
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

    /// Whether another request can be sent: both messages were whole and neither side wants to close.
    pub fn is_idle(&mut self) -> bool {
        if !self.sender.is_ready() {
            self.drive();
        }
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Looks whether the peer has closed an idle connection.
    pub fn is_alive(&mut self) -> bool {
        self.drive();
        self.connection.is_some()
    }

    /// Lets go of the task that used the connection last.
    pub fn rest(&self) {
        self.gate.forget();
    }

    /// An ended connection is dropped at once, which tells the other ends of its channels.
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

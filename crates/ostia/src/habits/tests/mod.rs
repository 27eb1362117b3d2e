//! Each habit, observed on hyper itself: tests poll connections by hand over a socket that does what the test says and
//! records what hyper does with it. Nothing here waits for time or another thread.

mod both;
mod driven;
mod http1;
mod http2;

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One end of a socket; clones share it.
#[derive(Clone, Default)]
struct Socket(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    incoming: VecDeque<io::Result<Vec<u8>>>,
    has_ended: bool,
    /// How many bytes a write takes before the socket is full; `None` means no limit.
    room: Option<usize>,
    write_error: Option<io::ErrorKind>,
    read: usize,
    written: Vec<u8>,
    calls: Vec<Call>,
    reader: Option<Waker>,
}

/// What happened, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    Read(usize),
    /// How many slices were offered, and what was taken.
    Write(usize, Vec<u8>),
    /// With the number of bytes written until then.
    Flush(usize),
    Shutdown,
    Dropped,
    /// A note by the test itself.
    Note(&'static str),
}

impl Socket {
    fn io(&self) -> TokioIo<End> {
        TokioIo::new(End(self.clone()))
    }

    /// What the next reads return, one piece each.
    fn say(&self, bytes: impl AsRef<[u8]>) {
        self.say_result(Ok(bytes.as_ref().to_vec()));
    }

    fn say_result(&self, result: io::Result<Vec<u8>>) {
        let mut state = self.0.lock();
        state.incoming.push_back(result);
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    fn end(&self) {
        self.0.lock().has_ended = true;
    }

    fn set_room(&self, room: Option<usize>) {
        self.0.lock().room = room;
    }

    fn fail_writes(&self, kind: io::ErrorKind) {
        self.0.lock().write_error = Some(kind);
    }

    fn note(&self, what: &'static str) {
        self.0.lock().calls.push(Call::Note(what));
    }

    fn written(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().written).into_owned()
    }

    fn written_bytes(&self) -> usize {
        self.0.lock().written.len()
    }

    fn read_bytes(&self) -> usize {
        self.0.lock().read
    }

    fn calls(&self) -> Vec<Call> {
        self.0.lock().calls.clone()
    }

    fn writes(&self) -> Vec<Vec<u8>> {
        let calls = self.calls().into_iter();
        calls
            .filter_map(|call| match call {
                Call::Write(_, bytes) => Some(bytes),
                _ => None,
            })
            .collect()
    }
}

/// The end that hyper holds.
struct End(Socket);

impl Drop for End {
    fn drop(&mut self) {
        self.0.0.lock().calls.push(Call::Dropped);
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let state = &mut *self.0.0.lock();
        match state.incoming.pop_front() {
            Some(Ok(mut bytes)) => {
                let rest = bytes.split_off(bytes.len().min(buf.remaining()));
                buf.put_slice(&bytes);
                state.read += bytes.len();
                state.calls.push(Call::Read(bytes.len()));
                if !rest.is_empty() {
                    state.incoming.push_front(Ok(rest));
                }
                Poll::Ready(Ok(()))
            }
            Some(Err(error)) => Poll::Ready(Err(error)),
            None if state.has_ended => {
                state.calls.push(Call::Read(0));
                Poll::Ready(Ok(()))
            }
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.0.0.lock();
        if let Some(kind) = state.write_error {
            return Poll::Ready(Err(kind.into()));
        }
        let mut bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        bytes.truncate(state.room.unwrap_or(usize::MAX));
        if bytes.is_empty() {
            return Poll::Pending;
        }
        state.room = state.room.map(|room| room - bytes.len());
        state.written.extend_from_slice(&bytes);
        let taken = bytes.len();
        state.calls.push(Call::Write(bufs.len(), bytes));
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.0.0.lock();
        state.calls.push(Call::Flush(state.written.len()));
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.0.lock().calls.push(Call::Shutdown);
        Poll::Ready(Ok(()))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("broken")]
struct Broken;

type Polled = Poll<Option<Result<Frame<Bytes>, Broken>>>;

/// A body that is a closure.
struct Script<F> {
    poll: F,
    length: Option<u64>,
}

fn script<F: FnMut() -> Polled>(poll: F) -> Script<F> {
    Script { poll, length: None }
}

impl<F: FnMut() -> Polled + Unpin> Body for Script<F> {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Polled {
        (self.poll)()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

fn data(bytes: impl Into<Bytes>) -> Polled {
    Poll::Ready(Some(Ok(Frame::data(bytes.into()))))
}

/// Counts how often it is called.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}

/// One poll by hand.
fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

type Framed<B> = Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>;

/// The next frame of a body, if it is there.
fn frame<B: Body + Unpin>(body: &mut B) -> Poll<Framed<B>> {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}
